/**
 * A gateway with one client, a broker that answers everything and a store that keeps everything, in which every effect is
 * judged: nothing may leave that the rules of that moment do not allow. The judge knows nothing of the gateway's.
 */
import { createAccessPolicy } from "../../src/config/access.ts";
import { accessOptions } from "../../src/config/access-options.ts";
import type { AccessPolicy } from "../../src/core/access.ts";
import type { Effect } from "../../src/core/effect.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import type { GatewayCore } from "../../src/core/gateway-core.ts";
import type { Input } from "../../src/core/input.ts";
import { type LinkId, noLimits, type PeerId, type Publication } from "../../src/core/types.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import { encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { testOptions } from "../simulation/options.ts";
import { asRead, here, octets } from "./bench.ts";
import { CheckedCore } from "./checked-core.ts";

export type Mode = "transparent" | "aggregating";
export const client = "c1";
/** What the client may publish, subscribe to and be sent, where there are rules. */
const mine = ["dev/{clientId}/#", "ok"];

/** Every name that a test uses: of each kind one that is allowed, and one that is not. */
export const topics = {
  name: ["dev/c1/temp", "dev/c2/temp"],
  predefined: ["dev/c1/pre", "all/pre"],
  short: ["ok", "no"],
} as const;
export type Kind = keyof typeof topics;
const universe = Object.values(topics).flat();

// The judge. "dev/{clientId}/#" and "ok" in other words; a filter is judged by the names that it matches.
const isMine = (topic: string) => topic === "ok" || topic === "dev/c1" || topic.startsWith("dev/c1/");
function reaches(filter: string, topic: string): boolean {
  const pattern = filter
    .replace(/^\$share\/[^/]+\//, "")
    .split("/")
    .map((level) => (level === "+" ? "[^/]*" : level === "#" ? ".*" : level));
  return new RegExp(`^${pattern.join("/").replace(/\/\.\*$/, "(/.*)?")}$`).test(topic);
}
const isMineAltogether = (filter: string) =>
  [...universe, "dev/x/y", "x/c1/temp", "dev"].every((topic) => !reaches(filter, topic) || isMine(topic));

export function policy(isLimited: boolean): AccessPolicy {
  const rules = isLimited ? [{ allow: "c*", publish: mine, subscribe: mine }] : [];
  const qosMinusOne = isLimited ? { publish: ["dev/c1/#", "ok"], from: ["0.0.0.0/0"] } : { from: ["0.0.0.0/0"] };
  return createAccessPolicy(accessOptions.parse({ rules, qosMinusOne, site: ["0.0.0.0/0"] }), hostIn);
}

function hostIn(peer: PeerId): string {
  return peer.split(/[/:]/)[1] ?? "";
}

export class RightsWorld {
  #core: GatewayCore;
  #now = 1_000;
  readonly #links = new Map<string, LinkId>();
  readonly table = new StateTable();
  readonly published: string[] = [];
  readonly shown: string[] = [];
  readonly sent: Message[] = [];
  readonly events: GatewayEvent[] = [];
  readonly wrong: string[] = [];
  /** The broker accepts connections; it answers what it is sent. */
  isThere = true;
  answers = true;
  /** With which it answers publications. */
  code = 0;
  readonly #mode: Mode;
  readonly #whenAway: "store" | "refuse";
  #isLimited: boolean;
  readonly #names = new Map<number, string>();
  readonly #up = new Set<LinkId>();
  readonly #asked: LinkId[] = [];

  constructor(mode: Mode, isLimited: boolean, whenAway: "store" | "refuse" = "store") {
    this.#mode = mode;
    this.#isLimited = isLimited;
    this.#whenAway = whenAway;
    this.#core = this.#start();
    this.#begin();
  }

  get isLimited(): boolean {
    return this.#isLimited;
  }

  get dropped(): number {
    return this.#core.counters.dropped["topic-not-allowed"];
  }

  client(message: Message, from: PeerId = here): readonly Message[] {
    const before = this.sent.length;
    this.input({ kind: "datagram", from, bytes: encode(message) });
    return this.sent.slice(before);
  }

  input(input: Input): void {
    this.#take(this.#core.handle(input, this.#now));
  }

  after(ms: number): void {
    const until = this.#now + ms;
    for (let at = this.#core.nextDeadline(); at !== undefined && at <= until; at = this.#core.nextDeadline()) {
      this.#now = Math.max(this.#now, at);
      this.#take(this.#core.timeout(this.#now));
    }
    this.#now = until;
  }

  /** The rules come into force, in this run or with the next. */
  limit(how: "now" | "restart"): void {
    this.#isLimited = true;
    if (how === "now") this.input({ kind: "accessChanged", access: policy(true) });
    else this.restart();
  }

  restart(): void {
    this.#up.clear();
    this.#asked.length = 0;
    this.#links.clear();
    this.isThere = true;
    this.#core = this.#start();
    this.#begin();
  }

  brokerComes(): void {
    this.isThere = true;
    this.answers = true;
    for (const linkId of this.#asked.splice(0)) this.#open(linkId, true);
  }

  brokerGoes(): void {
    this.isThere = false;
    for (const linkId of [...this.#up]) {
      this.#up.delete(linkId);
      this.#asked.push(linkId);
      this.input({ kind: "linkDown", linkId, reason: "reset", takenOver: false, cause: "network", showedLife: true });
    }
  }

  /** The client's own connection alone, where it has one. */
  clientLinkGoes(): void {
    const linkId = this.#links.get(client);
    if (linkId === undefined) return;
    this.isThere = false;
    this.#up.delete(linkId);
    this.#asked.push(linkId);
    this.input({ kind: "linkDown", linkId, reason: "reset", takenOver: false, cause: "network", showedLife: true });
  }

  /** A message of the broker for the client, or for the connection that it shares. */
  delivers(publication: Partial<Publication>, packetId: number): void {
    const linkId = this.#links.get(this.#mode === "transparent" ? client : "gateway");
    if (linkId === undefined) throw new Error("no connection");
    const message = { topicName: "t", payload: octets("x"), qos: 1, retain: false, ...publication } as const;
    this.input({
      kind: "delivered",
      linkId,
      publication: message,
      packetId: message.qos === 0 ? 0 : packetId,
      dup: false,
    });
  }

  /** Waits until everything is done. */
  settle(): void {
    this.brokerComes();
    for (let i = 0; i < 5; i++) this.after(25_000);
  }

  letters() {
    return [...this.table.letters].map(([id, [clientId, record]]) => ({ id, clientId, record }));
  }

  #start(): GatewayCore {
    const predefined = { forAll: new Map(topics.predefined.map((name, i) => [i + 1, name])), byClientId: new Map() };
    const uplink = { whenAway: this.#whenAway, qos0: true, messagesMax: 100, bytesMax: 100_000, ageSecondsMax: 0 };
    return new CheckedCore(
      {
        ...testOptions,
        durable: true,
        access: policy(this.#isLimited),
        topics: { ...testOptions.topics, predefined },
        upstream: { ...testOptions.upstream, mode: this.#mode, copies: "one" },
        longNameQoSMinusOne: () => true,
        uplink: { ...testOptions.uplink, policyOf: () => ({ ...uplink, atLimit: "refuse" }) },
      },
      {
        maxMessageBytes: () => 1_024,
        hostOf: hostIn,
        identityOf: (peer) => ({ name: hostIn(peer), by: "address", verified: false }),
        wallClock: () => undefined,
        random: () => 0,
      },
    );
  }

  #begin(): void {
    const states = [...this.table.states()];
    const letters = this.letters().map(({ id, clientId }) => [id, clientId] as const);
    if (states.length + letters.length > 0) this.input({ kind: "restored", states, letters });
    this.after(0);
  }

  #open(linkId: LinkId, sessionPresent = false): void {
    if (![...this.#links.values()].includes(linkId)) return;
    this.#up.add(linkId);
    this.input({ kind: "linkUp", linkId, sessionPresent, limits: noLimits });
  }

  #take(effects: readonly Effect[]): void {
    for (const effect of effects) this.#judge(effect);
    // Before anything is answered: what an answer brings about is written later.
    for (const effect of effects)
      if (effect.kind === "persist") for (const change of effect.changes) this.table.apply(change);
    for (const effect of effects) this.#answer(effect);
  }

  #judge(effect: Effect): void {
    const is = (allowed: boolean, what: string) => {
      if (this.#isLimited && !allowed) this.wrong.push(what);
    };
    switch (effect.kind) {
      case "publish":
        this.published.push(effect.publication.topicName);
        return is(isMine(effect.publication.topicName), `published ${effect.publication.topicName}`);
      case "openLink":
        this.#links.set(effect.link.mqttClientId, effect.link.linkId);
        if (effect.link.will) is(isMine(effect.link.will.topicName), `will ${effect.link.will.topicName}`);
        return;
      case "subscribe":
        return is(isMineAltogether(effect.topicFilter), `subscribed ${effect.topicFilter}`);
      case "send": {
        const message = asRead(effect);
        this.sent.push(message);
        if (message.type === "REGISTER") this.#names.set(message.topicId, message.topicName as string);
        if (message.type !== "PUBLISH") return;
        const { topicId, topicIdType } = message;
        const name =
          topicIdType === "short"
            ? String.fromCharCode(topicId >> 8, topicId & 0xff)
            : (this.#core.topicName(client, topicId, topicIdType === "predefined") ?? this.#names.get(topicId) ?? "?");
        this.shown.push(name);
        return is(isMine(name), `sent ${name}`);
      }
      case "report":
        this.events.push(effect.event);
        return;
      default:
    }
  }

  #answer(effect: Effect): void {
    switch (effect.kind) {
      case "openLink":
        if (this.isThere) this.#open(effect.link.linkId);
        else this.#asked.push(effect.link.linkId);
        return;
      case "send":
        return this.#answerAsDevice(asRead(effect), effect.to);
      case "closeLink":
        this.#up.delete(effect.linkId);
        return;
      case "persist":
        return this.input({ kind: "persisted", token: effect.token });
      case "fetch":
        return this.input({
          kind: "fetched",
          clientId: effect.clientId,
          entries: this.table.read(effect.clientId, effect.from, effect.limit),
        });
      case "publish":
        if (effect.packetId !== 0)
          this.#ack(effect.linkId, effect.publication.qos === 2 ? "pubrec" : "puback", effect.packetId, this.code);
        return;
      case "release":
        return this.#ack(effect.linkId, "pubcomp", effect.packetId);
      case "subscribe":
        return this.#ack(effect.linkId, "suback", effect.packetId, effect.qos);
      case "unsubscribe":
        return this.#ack(effect.linkId, "unsuback", effect.packetId);
      default:
    }
  }

  /** The device takes everything. */
  #answerAsDevice(message: Message, peer: PeerId): void {
    const answers = (answer: Message) => this.input({ kind: "datagram", from: peer, bytes: encode(answer) });
    switch (message.type) {
      case "REGISTER":
        return answers({ type: "REGACK", topicId: message.topicId, msgId: message.msgId, returnCode: 0 });
      case "PUBREL":
        return answers({ type: "PUBCOMP", msgId: message.msgId });
      case "PUBLISH":
        if (message.qos === 2) answers({ type: "PUBREC", msgId: message.msgId });
        if (message.qos === 1)
          answers({ type: "PUBACK", topicId: message.topicId, msgId: message.msgId, returnCode: 0 });
        return;
      default:
    }
  }

  #ack(linkId: LinkId, ack: "puback" | "pubrec" | "pubcomp" | "suback" | "unsuback", packetId: number, code = 0): void {
    if (this.answers && this.#up.has(linkId)) this.input({ kind: "brokerAck", linkId, ack, packetId, code });
  }
}
