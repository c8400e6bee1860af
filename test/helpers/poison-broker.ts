/** A broker that closes the connection for some packets, and gateways with clients before it, for the tests of core/. */
import type { CoreOptions } from "../../src/core/options.ts";
import { type BrokerLimits, noLimits } from "../../src/core/types.ts";
import { testOptions } from "../simulation/options.ts";
import { type Bench, connect, here, octets, publish, type Turn } from "./bench.ts";
import { GatewayRun } from "./gateway-run.ts";

export const closed = { cause: "peer", showedLife: true } as const;
export const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
export const stored = { uplink: { ...testOptions.uplink, policyOf: () => storing } };

/** A broker that closes for what `isPoison` says of, and answers everything else at once. */
export class PoisonBroker {
  readonly run: GatewayRun;
  readonly bench: Bench;
  readonly #link: string;
  readonly #isPoison: (effect: Turn["effects"][number]) => boolean;
  up = true;
  ends = 0;
  /** Payloads and filters that got through, in their order. */
  readonly got: string[] = [];
  readonly sent: Turn["sent"] = [];
  readonly events: Turn["events"] = [];
  limits: BrokerLimits = noLimits;
  /** Payloads whose PUBLISH it does not answer. */
  readonly unanswered = new Set<string>();
  /** Requests that reached it, in their order. */
  readonly asked: string[] = [];
  /** It answers neither PINGREQ nor requests. */
  isMute = false;
  /** Packet ids of what was published, in their order. */
  readonly ids: number[] = [];

  constructor(run: GatewayRun, link: string, isPoison: (effect: Turn["effects"][number]) => boolean) {
    this.run = run;
    this.bench = run.bench;
    this.#link = link;
    this.#isPoison = isPoison;
  }

  /** Plays the broker to what the turn asked of it. */
  take(turn: Turn): void {
    this.run.keep(turn);
    this.sent.push(...turn.sent);
    this.events.push(...turn.events);
    for (const effect of turn.effects) {
      if (effect.kind === "fetch") {
        const { clientId, from, limit } = effect;
        this.take(this.bench.input({ kind: "fetched", clientId, entries: this.run.table.read(clientId, from, limit) }));
      }
      const link = this.bench.link(this.#link);
      if (!this.up || !("linkId" in effect) || effect.linkId !== link.linkId) continue;
      if (effect.kind === "publish" && effect.packetId > 0) this.ids.push(effect.packetId);
      if (this.#isPoison(effect)) {
        this.up = false;
        this.ends++;
        this.take(link.down(false, closed));
        continue; // what the turn asked of the disk is answered all the same
      }
      if (effect.kind === "subscribe" || effect.kind === "unsubscribe")
        this.asked.push(`${effect.kind} ${effect.topicFilter}`);
      if (this.isMute && ["ping", "subscribe", "unsubscribe"].includes(effect.kind)) continue;
      if (effect.kind === "ping") this.take(this.bench.input({ kind: "pong", linkId: effect.linkId }));
      else if (effect.kind === "publish") {
        this.got.push(Buffer.from(effect.publication.payload).toString());
        if (effect.packetId > 0 && !this.unanswered.has(textOf(effect)))
          this.take(link.acks(effect.publication.qos === 2 ? "pubrec" : "puback", effect.packetId));
      } else if (effect.kind === "release") this.take(link.acks("pubcomp", effect.packetId));
      else if (effect.kind === "subscribe") {
        this.got.push(effect.topicFilter);
        this.take(link.acks("suback", effect.packetId, effect.qos));
      } else if (effect.kind === "unsubscribe") this.take(link.acks("unsuback", effect.packetId));
    }
  }

  /** Time passes; a connection that ended is made again after a second. */
  after(seconds: number): this {
    for (let i = 0; i < seconds * 2; i++) {
      this.take(this.bench.after(500));
      if (this.up || i % 2 === 0) continue;
      this.up = true;
      this.take(this.bench.link(this.#link).up(true, this.limits));
    }
    return this;
  }

  answers(type: string): number[] {
    return this.sent.flatMap((message) =>
      message.type === type && "returnCode" in message ? [message.returnCode] : [],
    );
  }
}

export const wall = 1_800_000_000_000;
export const bad = "bad";
export const isBad = (effect: Turn["effects"][number]) => effect.kind === "publish" && textOf(effect) === bad;
/** All that begins so: another one each time. */
export const isBadKind = (effect: Turn["effects"][number]) =>
  effect.kind === "publish" && textOf(effect).startsWith(bad);
export const isRetained = (effect: Turn["effects"][number]) => effect.kind === "publish" && effect.publication.retain;
export const textOf = (effect: Extract<Turn["effects"][number], { kind: "publish" }>) =>
  Buffer.from(effect.publication.payload).toString();
export const isForbidden = (effect: Turn["effects"][number]) =>
  effect.kind === "subscribe" && effect.topicFilter === "no/#";

export function transparent(isPoison = isBad, run = new GatewayRun(stored)): PoisonBroker {
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false, duration: 0 })));
  run.keep(bench.link().up());
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  return new PoisonBroker(run, "c1", isPoison);
}

export function shared(isPoison = isBad, more: Partial<CoreOptions> = {}): PoisonBroker {
  const run = new GatewayRun({ ...stored, ...more, upstream: { ...testOptions.upstream, mode: "aggregating" } });
  const { bench } = run;
  run.keep(bench.link("gateway").up());
  run.keep(bench.client(connect({ cleanSession: false, duration: 0 }), here)).gets("CONNACK");
  run
    .keep(bench.client(connect({ clientId: "d", cleanSession: false, duration: 0 }), "udp/192.0.2.2:2"))
    .gets("CONNACK");
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 1, topicName: "d" }, "udp/192.0.2.2:2"));
  return new PoisonBroker(run, "gateway", isPoison);
}

export const say = (broker: PoisonBroker, text: string, msgId: number, qos: 0 | 1 | 2 = 1) =>
  broker.take(broker.bench.client(publish({ data: octets(text), msgId, qos })));
