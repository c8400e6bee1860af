/**
 * Between the transports and the driver, if declarations have scripts. A message for a script waits here for the answer, and so do all
 * later messages of the same device, or of the broker under the same topic over the same connection. All other messages continue. The core
 * gets the message together with the answer, as one input. So it decides, stores and acknowledges once, when the payload is known. A crash
 * before that loses nothing, because nothing was acknowledged.
 *
 * What waits has limits. At a limit the oldest message of the queue continues without its script, so nothing is dropped here. If a device
 * repeats a message that waits, the copy waits behind it, and the core recognizes it as a repetition.
 */
import type { GatewayCore } from "../core/gateway-core.ts";
import type { Input } from "../core/input.ts";
import type { PayloadPolicy, Unfit } from "../core/payloads.ts";
import type { LinkId, PeerId } from "../core/types.ts";
import type { Answer, Question, ScriptEntries, ScriptEntry } from "../script/question.ts";
import type { ScriptRunner } from "../script/runner.ts";
import type { ScriptValues } from "../script/values.ts";
import type { StoredLetter } from "../storage/store.ts";

type Datagram = Extract<Input, { kind: "datagram" }>;
type Delivery = Extract<Input, { kind: "delivered" }>;
type Held = Datagram | Delivery;

/** What waits at all stages that share this object. `StageLimits` for all messages are limits for it. */
export interface Waiting {
  messages: number;
  bytes: number;
  /** Lines of senders without a session. */
  strangers: number;
}

export interface StageParts {
  readonly core: Pick<GatewayCore, "publicationIn" | "deliveryFor">;
  readonly handle: (input: Input) => void;
  readonly scripts: Pick<ScriptRunner, "ask" | "can">;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  readonly limits?: StageLimits;
  /** Undefined: this stage is the only one. */
  readonly waiting?: Waiting;
  /** Called with the results of scripts for accepted messages. */
  readonly values?: Pick<ScriptValues, "note">;
}

export interface StageLimits {
  /** Messages that wait for scripts, for one device or for one topic of a connection. */
  readonly lineMax: number;
  readonly lineBytesMax: number;
  /** Messages that wait, in total, at all stages with the same `Waiting`. */
  readonly allMax: number;
  readonly allBytesMax: number;
  /** Lines of senders without a session, at all stages with the same `Waiting`. */
  readonly strangersMax: number;
}

const usualLimits: StageLimits = {
  lineMax: 64,
  lineBytesMax: 128 * 1_024,
  allMax: 10_000,
  allBytesMax: 16 * 2 ** 20,
  strangersMax: 100,
};

/** A message that waits for its script, and those behind it. */
interface Line {
  readonly items: Held[];
  bytes: number;
  /** The first message is from a sender without a session. */
  isOfStranger: boolean;
  /** Cancels the question of the first message. */
  cancel: () => void;
  readonly close: () => void;
}

/** The answer, or a function that cancels the question. */
type Wish = { readonly payloads: PayloadPolicy | undefined } | { readonly cancel: () => void };

type Answers = ReadonlyMap<ScriptEntry, Answer>;

export class ScriptStage {
  readonly #parts: StageParts;
  readonly #limits: StageLimits;
  #entries: ScriptEntries | undefined;
  readonly #ofPeers = new Map<PeerId, Line>();
  readonly #ofLinks = new Map<LinkId, Map<string, Line>>();
  readonly #all: Waiting;
  /** Each ends the wait of dead letters for their script. */
  readonly #ofLetters = new Set<() => void>();
  #isEnded = false;

  constructor(parts: StageParts, entries: ScriptEntries | undefined) {
    this.#parts = parts;
    this.#limits = parts.limits ?? usualLimits;
    this.#all = parts.waiting ?? { messages: 0, bytes: 0, strangers: 0 };
    this.#entries = entries;
  }

  /** Messages that wait, here and at the stages with the same `Waiting`. */
  get waiting(): number {
    return this.#all.messages;
  }

  /** Uses these declarations for messages from now on. Questions that were already asked use the earlier ones. */
  reload(entries: ScriptEntries | undefined): void {
    if (!this.#isEnded) this.#entries = entries;
  }

  /**
   * Nothing waits here any more, and no script is asked. No waiting message was acknowledged, so devices and broker
   * send them again.
   */
  end(): void {
    this.#isEnded = true;
    this.#entries = undefined;
    const ofLinks = [...this.#ofLinks.values()].flatMap((lines) => [...lines.values()]);
    for (const line of [...this.#ofPeers.values(), ...ofLinks]) {
      line.cancel();
      while (this.#leave(line));
      line.close();
    }
    for (const giveUp of [...this.#ofLetters]) giveUp();
  }

  /** Hands an input on, now or when its script has answered. */
  take(input: Input): void {
    switch (input.kind) {
      case "datagram":
        return this.#takeDatagram(input);
      case "delivered":
        return this.#takeDelivery(input);
      case "linkDown":
        this.#endDeliveries(input.linkId);
        return this.#parts.handle(input);
      case "shutdown":
        this.end();
        return this.#parts.handle(input);
      default:
        return this.#parts.handle(input);
    }
  }

  /** Runs the current scripts for dead letters that have no octets yet. Undefined: no script applies. */
  async answersFor(letters: readonly StoredLetter[]): Promise<PayloadPolicy | undefined> {
    const entries = this.#entries;
    if (!entries) return undefined;
    const made = new Map<string, Answer>();
    for (const { clientId, record } of letters) {
      const { topicName, payload } = record.publication;
      const entry = entries.down(clientId, topicName);
      if (record.reason !== "payload-unfit" || !entry || !entries.isCommand(payload)) continue;
      const answer = await this.#askForLetter(entry, clientId, topicName, payload);
      if (answer) made.set(keyOfLetter(clientId, topicName, payload), answer);
    }
    const { policy } = entries;
    return {
      up: policy.up,
      down: (clientId, topicName, payload) => {
        const answer = made.get(keyOfLetter(clientId, topicName, payload));
        return answer ? encodedBy(answer) : policy.down(clientId, topicName, payload);
      },
    };
  }

  #askForLetter(
    entry: ScriptEntry,
    clientId: string,
    topicName: string,
    payload: Uint8Array,
  ): Promise<Answer | undefined> {
    const givenUp: Answer = { is: "unfit", why: `${entry.file} was not asked: the gateway ends` };
    if (this.#isEnded) return Promise.resolve(givenUp);
    return new Promise((resolve) => {
      const questions = [[entry, this.#question(entry, "down", { clientId, topicName, payload })] as const];
      let giveUp = () => {};
      const wish = this.#inquire(questions, `letters ${topicName}`, (answers) => {
        this.#ofLetters.delete(giveUp);
        resolve(answers.get(entry));
      });
      if (wish instanceof Map) return resolve(wish.get(entry));
      giveUp = () => {
        this.#ofLetters.delete(giveUp);
        wish();
        resolve(givenUp);
      };
      this.#ofLetters.add(giveUp);
    });
  }

  #takeDatagram(input: Datagram): void {
    if (!this.#entries && this.#ofPeers.size === 0) return this.#parts.handle(input);
    const { peer } = this.#parts.core.publicationIn(input.from, input.bytes);
    this.#enter(input, this.#ofPeers, peer, () => this.#ofPeers.delete(peer));
  }

  #takeDelivery(input: Delivery): void {
    const { linkId, publication } = input;
    const ofLink = this.#ofLinks.get(linkId);
    if (!this.#entries && !ofLink) return this.#parts.handle(input);
    const lines = ofLink ?? new Map<string, Line>();
    this.#enter(input, lines, publication.topicName, () => {
      lines.delete(publication.topicName);
      if (lines.size === 0) this.#ofLinks.delete(linkId);
    });
    if (lines.size > 0) this.#ofLinks.set(linkId, lines);
  }

  /** Adds the message to its line, if there is one or the message must wait. */
  #enter<Key>(input: Held, lines: Map<Key, Line>, key: Key, close: () => void): void {
    let line = lines.get(key);
    if (line) {
      this.#append(line, input);
      return this.#trim(line);
    }
    line = { items: [], bytes: 0, isOfStranger: false, cancel: () => {}, close };
    const wish = this.#ask(input, line);
    if ("payloads" in wish) return this.#handOn(input, wish.payloads);
    line.cancel = wish.cancel;
    lines.set(key, line);
    this.#append(line, input);
    this.#trim(line);
  }

  #append(line: Line, input: Held): void {
    const octets = octetsOf(input);
    line.items.push(input);
    line.bytes += octets;
    this.#all.messages++;
    this.#all.bytes += octets;
  }

  /** Removes the first message from the line, and returns it. */
  #leave(line: Line): Held | undefined {
    const first = line.items.shift();
    if (!first) return undefined;
    const octets = octetsOf(first);
    line.bytes -= octets;
    this.#all.messages--;
    this.#all.bytes -= octets;
    if (line.isOfStranger) this.#all.strangers--;
    line.isOfStranger = false;
    return first;
  }

  #isTooMuch(line: Line): boolean {
    const { lineMax, lineBytesMax, allMax, allBytesMax } = this.#limits;
    if (line.items.length > lineMax || line.bytes > lineBytesMax) return true;
    return line.items.length > 0 && (this.#all.messages > allMax || this.#all.bytes > allBytesMax);
  }

  #trim(line: Line): void {
    while (this.#isTooMuch(line)) {
      line.cancel();
      this.#goOnWithout(line, "too many messages wait behind it");
      this.#advance(line);
    }
  }

  /** The first message continues without its script. */
  #goOnWithout(line: Line, why: string): void {
    const first = this.#leave(line);
    if (first) this.#handOn(first, this.#unanswered(first, why));
  }

  /** Hands on messages that need not wait, up to the first one that must. */
  #advance(line: Line): void {
    for (let first = line.items[0]; first; first = line.items[0]) {
      const wish = this.#ask(first, line);
      if ("cancel" in wish) {
        line.cancel = wish.cancel;
        return;
      }
      this.#leave(line);
      this.#handOn(first, wish.payloads);
    }
    line.close();
  }

  #answered(line: Line, payloads: PayloadPolicy): void {
    const first = this.#leave(line);
    if (first) this.#handOn(first, payloads);
    this.#advance(line);
  }

  #handOn(input: Held, payloads: PayloadPolicy | undefined): void {
    this.#parts.handle(payloads ? { ...input, payloads } : input);
  }

  #ask(input: Held, line: Line): Wish {
    return input.kind === "datagram" ? this.#askUp(input, line) : this.#askDown(input, line);
  }

  #askUp(input: Datagram, line: Line): Wish {
    const entries = this.#entries;
    const { publication } = this.#parts.core.publicationIn(input.from, input.bytes);
    const entry = publication && entries?.up(publication.clientId, publication.topicName);
    if (!entries || !publication || !entry) return { payloads: undefined };
    const { clientId, topicName } = publication;
    const policyFor = (answers: Answers) => withUp(entries, topicName, entry, answers.get(entry), this.#parts.values);
    const isOfStranger = clientId === undefined;
    if (isOfStranger && this.#all.strangers >= this.#limits.strangersMax)
      return { payloads: policyFor(new Map([[entry, tooManyStrangers]])) };
    const questions = [[entry, this.#question(entry, "up", publication)] as const];
    const wish = this.#inquire(questions, clientId ?? everyStranger, (answers) =>
      this.#answered(line, policyFor(answers)),
    );
    if (wish instanceof Map) return { payloads: policyFor(wish) };
    line.isOfStranger = isOfStranger;
    if (isOfStranger) this.#all.strangers++;
    return { cancel: wish };
  }

  #askDown(input: Delivery, line: Line): Wish {
    const entries = this.#entries;
    const { payload } = input.publication;
    const target = this.#parts.core.deliveryFor(input.linkId, input.publication.topicName);
    if (!entries || !target) return { payloads: undefined };
    const { clientId, topicName } = target;
    const asked = clientId === undefined ? entries.downFor(topicName) : (entries.down(clientId, topicName) ?? []);
    const wanted = [asked].flat();
    if (wanted.length === 0 || !entries.isCommand(payload)) return { payloads: undefined };
    const questions = wanted.map(
      (entry) => [entry, this.#question(entry, "down", { clientId, topicName, payload })] as const,
    );
    const wish = this.#inquire(questions, `broker ${topicName}`, (answers) =>
      this.#answered(line, withDown(entries, topicName, answers, this.#parts.values)),
    );
    if (!(wish instanceof Map)) return { cancel: wish };
    return { payloads: withDown(entries, topicName, wish, this.#parts.values) };
  }

  /** Asks all questions at once. If no script is asked, returns the answers, and does not call `done`. */
  #inquire(
    questions: readonly (readonly [ScriptEntry, Question])[],
    sender: string,
    done: (answers: Answers) => void,
  ): Map<ScriptEntry, Answer> | (() => void) {
    const answers = new Map<ScriptEntry, Answer>();
    const cancels: (() => void)[] = [];
    for (const [entry, question] of questions) {
      const asked = this.#parts.scripts.can(entry.file, question.is)
        ? this.#parts.scripts.ask(question, sender, (answer) => {
            answers.set(entry, answer);
            if (answers.size === questions.length) done(answers);
          })
        : ({ is: "asItIs" } as const);
      if (typeof asked === "function") cancels.push(asked);
      else answers.set(entry, asked);
    }
    if (cancels.length === 0) return answers;
    return () => {
      for (const cancel of cancels) cancel();
    };
  }

  #question(
    { file, fPort }: ScriptEntry,
    is: Question["is"],
    of: { readonly clientId: string | undefined; readonly topicName: string; readonly payload: Uint8Array },
  ): Question {
    const { clientId, topicName: topic, payload } = of;
    const variables = { topic, ...(clientId !== undefined && { client: clientId }) };
    return { file, is, payload, fPort, recvTime: this.#parts.wallClock(), variables };
  }

  /**
   * The policy with an answer for each script that was not waited for: the message is unfit, and `why` is the cause.
   */
  #unanswered(input: Held, why: string): PayloadPolicy | undefined {
    const entries = this.#entries;
    if (!entries) return undefined;
    const unfit = (file: string): Unfit => ({ is: "unfit", why: `the gateway did not wait for ${file}: ${why}` });
    if (input.kind === "datagram") {
      const { publication } = this.#parts.core.publicationIn(input.from, input.bytes);
      const entry = publication && entries.up(publication.clientId, publication.topicName);
      return entry && withUp(entries, publication.topicName, entry, unfit(entry.file));
    }
    const target = this.#parts.core.deliveryFor(input.linkId, input.publication.topicName);
    if (!target || !entries.isCommand(input.publication.payload)) return undefined;
    const { topicName } = target;
    const all = entries.downFor(topicName).map((entry) => [entry, unfit(entry.file)] as const);
    return withDown(entries, topicName, new Map(all));
  }

  /**
   * These messages arrived over a connection that has ended. The broker sends QoS 1 and 2 again, because it has no
   * acknowledgement; over the next connection their packet ids may mean other messages. Messages at QoS 0 are not sent
   * again.
   */
  #endDeliveries(linkId: LinkId): void {
    for (const line of [...(this.#ofLinks.get(linkId)?.values() ?? [])]) {
      line.cancel();
      for (let first = line.items[0]; first; first = line.items[0]) {
        if (first.kind === "delivered" && first.publication.qos === 0)
          this.#goOnWithout(line, "the connection to the broker ended");
        else this.#leave(line);
      }
      line.close();
    }
  }
}

/**
 * All senders without a session share one account, because an attacker can use many addresses. No client id is empty.
 */
const everyStranger = "";

const tooManyStrangers: Answer = {
  is: "unfit",
  why: "its script was not asked: too many senders without a session wait",
};

function octetsOf(input: Held): number {
  return input.kind === "datagram" ? input.bytes.byteLength : input.publication.payload.byteLength;
}

function withUp(
  { up, policy }: ScriptEntries,
  asked: string,
  entry: ScriptEntry,
  answer: Answer | undefined,
  values?: Pick<ScriptValues, "note">,
): PayloadPolicy {
  return {
    up: (clientId, topicName, payload, origin) => {
      if (!answer || topicName !== asked || up(clientId, topicName) !== entry)
        return policy.up(clientId, topicName, payload, origin);
      if (answer.is === "asItIs") return undefined;
      if (answer.is === "made") values?.note("in", clientId, topicName, payload, answer.payload);
      return answer.is === "unfit" ? answer : entry.made(clientId, topicName, answer.payload, origin);
    },
    down: policy.down,
  };
}

function withDown(
  { down, policy }: ScriptEntries,
  asked: string,
  answers: Answers,
  values?: Pick<ScriptValues, "note">,
): PayloadPolicy {
  return {
    up: policy.up,
    down: (clientId, topicName, payload) => {
      const entry = topicName === asked ? down(clientId, topicName) : undefined;
      const answer = entry && answers.get(entry);
      if (answer?.is === "made") values?.note("out", clientId, topicName, answer.payload, payload);
      return answer ? encodedBy(answer) : policy.down(clientId, topicName, payload);
    },
  };
}

function encodedBy(answer: Answer): ReturnType<PayloadPolicy["down"]> {
  if (answer.is === "asItIs") return undefined;
  return answer.is === "unfit" ? answer : { is: "made", payload: answer.payload };
}

function keyOfLetter(clientId: string, topicName: string, payload: Uint8Array): string {
  return `${clientId}\0${topicName}\0${Buffer.from(payload).toString("latin1")}`;
}
