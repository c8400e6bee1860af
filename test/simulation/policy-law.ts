/**
 * What the rules of the buffer promise for each message, judged by what the gateway received, what it reports as dropped (its dead
 * letters), and what it sends. The time is that of the world, for any clock of the gateway.
 */
import type { BufferPolicy } from "../../src/core/options.ts";
import type { Change, LetterRecord } from "../../src/core/record.ts";
import type { Publication } from "../../src/core/types.ts";
import { numberOf } from "./texts.ts";
import { Violation } from "./violation.ts";

interface Handed {
  readonly qos: number;
  readonly topicName: string;
  readonly first: number;
  last: number;
  /** More than once: what is dropped may be an earlier copy of the last. */
  again: boolean;
}

/** Between the decision to send and the sending: a commit. */
const slackMs = 5_000;

export class PolicyLaw {
  readonly #copiesMin: number;
  readonly #now: () => number;
  readonly #policyOf: (clientId: string, topicName: string) => BufferPolicy;
  /** The gateway's clock was right all the time, so that age over a restart counts. */
  readonly #clockIsRight: boolean;
  /** Each client has its own deliveries, which the broker keeps for it; from a shared connection all are accepted at once. */
  readonly #brokerKeeps: boolean;
  /** Is it of a kind that this client can take? */
  readonly #canTake: ((clientId: string, publication: Publication) => boolean) | undefined;
  readonly #handed = new Map<string, Handed>();
  /** The last message handed over, by client and topic; and by client and rule. */
  readonly #last = new Map<string, string>();
  readonly #lastOfRule = new Map<string, string>();
  /** Dropped, and said so. */
  readonly #dropped = new Set<string>();
  /** How often each reason was seen: a rule that never acts proves nothing. */
  readonly seen = new Map<string, number>();

  constructor(init: {
    now: () => number;
    policyOf: (clientId: string, topicName: string) => BufferPolicy;
    clockIsRight: boolean;
    brokerKeeps: boolean;
    /** Copies without an answer before a message may be given up. */
    copiesMin: number;
    canTake?: ((clientId: string, publication: Publication) => boolean) | undefined;
  }) {
    this.#canTake = init.canTake;
    this.#copiesMin = init.copiesMin;
    this.#now = init.now;
    this.#policyOf = init.policyOf;
    this.#brokerKeeps = init.brokerKeeps;
    this.#clockIsRight = init.clockIsRight;
  }

  /** The broker's packet reached the gateway. */
  handed(clientId: string, publication: Publication): void {
    const { topicName } = publication;
    const key = keyOf(clientId, publication);
    const before = this.#handed.get(key);
    if (before) Object.assign(before, { last: this.#now(), again: true });
    else
      this.#handed.set(key, { topicName, qos: publication.qos, first: this.#now(), last: this.#now(), again: false });
    this.#last.set(`${clientId} ${topicName}`, key);
    this.#lastOfRule.set(`${clientId} ${ruleOf(topicName)}`, key);
  }

  /** A commit was asked for, in the turn in which it was decided. */
  decided(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.of === "letter" && change.record?.direction === "down") this.#letter(change.clientId, change.record);
    }
  }

  /** It may have been for this client too: this cannot be known from outside. */
  mayHaveBeenHanded(clientId: string, { topicName }: Publication): void {
    this.#last.set(`${clientId} ${topicName}`, unknown);
    this.#lastOfRule.set(`${clientId} ${ruleOf(topicName)}`, unknown);
  }

  wasHanded(clientId: string, payload: string): boolean {
    return this.#handed.has(`${clientId} ${payload}`);
  }

  /** Dropped and said so, or of a kind that this client cannot take. */
  isDropped(clientId: string, payload: string): boolean {
    return this.#dropped.has(`${clientId} ${payload}`) || this.#isBeyond(clientId, payload);
  }

  /** This message of the topic, or a later one: who is owed either is not owed it any more. */
  isDroppedSince(clientId: string, topicName: string, payload: string): boolean {
    if (this.isDropped(clientId, payload)) return true;
    const start = `${clientId} ${topicName}|`;
    for (const key of this.#dropped)
      if (key.startsWith(start) && numberOf(key.slice(clientId.length + 1)) >= numberOf(payload)) return true;
    return false;
  }

  /** Payloads begin with the topic's name. */
  #isBeyond(clientId: string, payload: string): boolean {
    const [topicName = ""] = payload.split("|");
    return this.#canTake?.(clientId, { topicName, payload: Buffer.from(payload), qos: 1, retain: false }) === false;
  }

  /** A PUBLISH to the client, for whichever time. */
  copied(clientId: string, payload: string): void {
    const key = `${clientId} ${payload}`;
    if (this.#handed.has(key)) this.#copies.set(key, (this.#copies.get(key) ?? 0) + 1);
  }
  readonly #copies = new Map<string, number>();

  /** A REGISTER of this name to the client, for whichever time: what has the name waits for its answer. */
  registered(clientId: string, topicName: string): void {
    const key = `${clientId} ${topicName}`;
    this.#registers.set(key, (this.#registers.get(key) ?? 0) + 1);
  }
  readonly #registers = new Map<string, number>();

  /** The gateway stood still until now: what it had decided before leaves late. */
  goesOn(): void {
    this.#wentOnAt = this.#now();
  }
  #wentOnAt = Number.NEGATIVE_INFINITY;

  /** A PUBLISH to the client, for the first time. */
  sent(clientId: string, payload: string): void {
    const handed = this.#handed.get(`${clientId} ${payload}`);
    if (!handed) return;
    const { timeToLiveSeconds } = this.#policyOf(clientId, handed.topicName);
    if (this.#now() === this.#wentOnAt) return;
    const age = this.#now() - handed.last;
    if (this.#clockIsRight && timeToLiveSeconds > 0 && age > timeToLiveSeconds * 1_000 + slackMs)
      throw new Violation(`"${payload}" goes to ${clientId} ${Math.round(age)} ms old, past its time to live`);
  }

  /** Is there one of this rule that the client has certainly not seen? A buffer may be full of what other rules keep. */
  #hasOlder(clientId: string, rule: number, than: string): boolean {
    for (const [key, { topicName, qos }] of this.#handed) {
      // What is dropped at QoS 0 leaves no letter.
      if (key === than || qos === 0 || !key.startsWith(`${clientId} `) || ruleOf(topicName) !== rule) continue;
      if (!this.#dropped.has(key) && !this.#copies.has(key)) return true;
    }
    return false;
  }

  #letter(clientId: string, { reason, publication }: LetterRecord): void {
    const key = keyOf(clientId, publication);
    const handed = this.#handed.get(key);
    this.#dropped.add(key);
    this.seen.set(reason, (this.seen.get(reason) ?? 0) + 1);
    // So many copies may all be lost, or their answers, on a bad line: a few in a million are.
    const registers = this.#registers.get(`${clientId} ${publication.topicName}`) ?? 0;
    const isProven = (this.#copies.get(key) ?? 0) + registers >= this.#copiesMin;
    if (reason === "unanswered" && !isProven && this.#canTake?.(clientId, publication) !== false)
      throw new Violation(`${key} was dropped (unanswered), and its client could have taken it`);
    if (!handed) return;
    const policy = this.#policyOf(clientId, handed.topicName);
    const isLast = !handed.again && this.#last.get(`${clientId} ${handed.topicName}`) === key;
    const lastOfRule = handed.again ? unknown : this.#lastOfRule.get(`${clientId} ${ruleOf(handed.topicName)}`);
    const say = (what: string) => new Violation(`${key} was dropped (${reason}): ${what}`);
    if (reason === "expired") {
      const age = this.#now() - handed.first;
      const { timeToLiveSeconds } = policy;
      if (timeToLiveSeconds === 0 || age < timeToLiveSeconds * 1_000 - 1)
        throw say(`it was ${Math.round(age)} ms old, and may be ${timeToLiveSeconds} s`);
    }
    if (reason === "superseded" && (policy.keep !== "latest" || isLast)) throw say("no later one replaced it");
    if (reason !== "buffer-full") return;
    if (policy.atLimit === "leave" && this.#brokerKeeps) throw say("the broker would have kept it");
    if (policy.atLimit === "oldest" && lastOfRule === key && this.#hasOlder(clientId, ruleOf(handed.topicName), key))
      throw say("the newest went, not the oldest");
    if (policy.atLimit === "newest" && lastOfRule !== key && lastOfRule !== unknown)
      throw say("an older one went, not the newest");
  }
}

const unknown = "";

/** There are four rules, by the last digit of a topic name, over all topics. */
function ruleOf(topicName: string): number {
  return Number(topicName.at(-1)) % 4;
}

function keyOf(clientId: string, { payload }: Publication): string {
  return `${clientId} ${Buffer.from(payload).toString()}`;
}
