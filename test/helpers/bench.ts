/** A gateway core under test: step tests in the words of the standard, on a clock that the test moves. */
import { expect } from "vitest";
import type { Effect } from "../../src/core/effect.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import type { GatewayCore } from "../../src/core/gateway-core.ts";
import type { LinkEnd } from "../../src/core/input.ts";
import type { CoreEnvironment, CoreOptions } from "../../src/core/options.ts";
import type { StoredState } from "../../src/core/record.ts";
import { type LinkId, noLimits, type PeerId, type Publication, type QoS } from "../../src/core/types.ts";
import { type Decoded, decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { testOptions } from "../simulation/options.ts";
import { CheckedCore } from "./checked-core.ts";

export type { Decoded };

type Partially<T> = { [K in keyof T]?: T[K] extends object ? Partially<T[K]> : T[K] };

/** One turn of the core: what came of it, to be checked. */
export class Turn {
  readonly effects: readonly Effect[];

  constructor(effects: readonly Effect[]) {
    this.effects = effects;
  }

  /** Messages to peers. */
  get sent(): Message[] {
    return this.effects.flatMap((effect) => (effect.kind === "send" ? [asRead(effect)] : []));
  }

  /** Expects that exactly these messages were sent to peers, by type. */
  gets(...types: Message["type"][]): this {
    expect(this.sent.map(({ type }) => type)).toEqual(types);
    return this;
  }

  /** The one message of this type. */
  message<T extends Message["type"]>(type: T): Extract<Message, { type: T }> {
    const found = this.sent.filter((message): message is Extract<Message, { type: T }> => message.type === type);
    expect(found, `one ${type} among ${this.sent.map((m) => m.type).join(", ")}`).toHaveLength(1);
    return found[0] as Extract<Message, { type: T }>;
  }

  /** Exactly these packets and connections were asked for at the broker. */
  asks(...kinds: Effect["kind"][]): this {
    const towardsBroker = this.effects.filter(
      ({ kind }) => !["send", "releaseLink", "broadcast", "report", "persist"].includes(kind),
    );
    expect(towardsBroker.map(({ kind }) => kind)).toEqual(kinds);
    return this;
  }

  effect<K extends Effect["kind"]>(kind: K): Extract<Effect, { kind: K }> {
    const found = this.effects.filter((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);
    expect(found, `one ${kind}`).toHaveLength(1);
    return found[0] as Extract<Effect, { kind: K }>;
  }

  get events(): GatewayEvent[] {
    return this.effects.flatMap((effect) => (effect.kind === "report" ? [effect.event] : []));
  }

  /** The states of clients in their order. */
  get states(): string[] {
    return this.events.flatMap((event) => (event.event === "client_state" ? [event.state] : []));
  }

  /** Reasons of what was dropped. */
  get drops(): string[] {
    return this.events.flatMap((event) => (event.event === "drop" ? [event.reason] : []));
  }
}

/** The message as its client reads it. */
export function asRead({ dialect, message }: Extract<Effect, { kind: "send" }>): Message {
  const read = decode(dialect.encode(message) ?? new Uint8Array());
  if (!read.ok) throw new Error(`${message.type} cannot be read: ${read.code}`);
  return read.message;
}

export const here: PeerId = "udp/192.0.2.1:1000";
export const elsewhere: PeerId = "udp/192.0.2.9:9000";

export const octets = (text: string): Uint8Array => new TextEncoder().encode(text);

export const connect = (options: Partial<Extract<Message, { type: "CONNECT" }>> = {}): Message => ({
  type: "CONNECT",
  will: false,
  cleanSession: true,
  protocolId: 1,
  duration: 60,
  clientId: "c1",
  ...options,
});
export const disconnect: Message = { type: "DISCONNECT", duration: undefined };
export const sleep = (duration: number): Message => ({ type: "DISCONNECT", duration });
export const wake = (clientId = "c1"): Message => ({ type: "PINGREQ", clientId });
export const ping: Message = { type: "PINGREQ", clientId: "" };
export const register = (topicName: string, msgId = 1): Message => ({ type: "REGISTER", topicId: 0, msgId, topicName });
export const publish = (options: Partial<Extract<Message, { type: "PUBLISH" }>>): Message => ({
  type: "PUBLISH",
  dup: false,
  qos: 1,
  retain: false,
  topicIdType: "normal",
  topicId: 1,
  msgId: 1,
  data: octets("21.5"),
  ...options,
});
export const subscribe = (topic: string | number, qos: QoS = 1, msgId = 1): Message => ({
  type: "SUBSCRIBE",
  dup: false,
  qos,
  topicIdType: typeof topic === "number" ? "predefined" : "normal",
  msgId,
  topic,
});
export const regAck = (registered: Extract<Message, { type: "REGISTER" }>, returnCode = 0): Message => ({
  type: "REGACK",
  topicId: registered.topicId,
  msgId: registered.msgId,
  returnCode,
});
export const pubAck = (published: Extract<Message, { type: "PUBLISH" }>, returnCode = 0): Message => ({
  type: "PUBACK",
  topicId: published.topicId,
  msgId: published.msgId,
  returnCode,
});

export class Bench {
  readonly core: GatewayCore;
  now = 1_000;
  /** The wall clock is ahead of `now` by this; undefined = it cannot be trusted. */
  wallAhead: number | undefined = undefined;
  /** The link that was opened last, by MQTT client id. */
  readonly links = new Map<string, LinkId>();
  /** What the gateway did at its start. */
  readonly began: Turn;
  #packetId = 0;

  /**
   * `states`: what a store kept of an earlier run; as an object: the first part of it, and clients are served before
   * the rest comes. `identityOf`, `rssiOf`: what its network knows of a peer. */
  constructor(
    options: Partially<CoreOptions> = {},
    states: readonly StoredState[] | { readonly first: readonly StoredState[] } = [],
    identityOf: CoreEnvironment["identityOf"] = (peer) => ({
      name: peer.split(":")[0] ?? peer,
      by: "address",
      verified: false,
    }),
    rssiOf?: CoreEnvironment["rssiOf"],
  ) {
    const all = merged(testOptions, options) as CoreOptions;
    // By default the broker sends one copy, and the gateway knows this without a probe.
    const hasCopies = options.upstream !== undefined && "copies" in options.upstream;
    const upstream = hasCopies ? all.upstream : { ...all.upstream, copies: "one" as const };
    this.core = new CheckedCore(
      { ...all, upstream },
      {
        maxMessageBytes: () => 1_024,
        hostOf: (peer) => peer.split(":")[0] ?? peer,
        identityOf,
        ...(rssiOf && { rssiOf }),
        wallClock: () => (this.wallAhead === undefined ? undefined : this.wallAhead + this.now),
        random: () => 0,
      },
    );
    const isFirst = "first" in states;
    const hasStates = isFirst || states.length > 0;
    const restored = isFirst
      ? this.input({ kind: "restored", goesOn: true, states: states.first }).effects
      : states.length > 0
        ? this.input({ kind: "restored", states }).effects
        : [];
    const opened = this.#turn(this.core.timeout(this.now)).effects; // the service link
    const own = `${options.upstream?.clientIdPrefix ?? ""}gateway`;
    // It may wait for sessions that are left first.
    const up = this.links.has(own) ? this.link(own).up(hasStates).effects : [];
    this.began = new Turn([...restored, ...opened, ...up]);
  }

  /** A message comes from a client. */
  client(message: Message, from: PeerId = here): Turn {
    return this.#turn(this.core.handle({ kind: "datagram", from, bytes: encode(message) }, this.now));
  }

  datagram(hex: string, from: PeerId = here): Turn {
    return this.#turn(
      this.core.handle({ kind: "datagram", from, bytes: Uint8Array.from(Buffer.from(hex, "hex")) }, this.now),
    );
  }

  /** Time passes; every deadline on the way is kept. */
  after(ms: number): Turn {
    const until = this.now + ms;
    const effects: Effect[] = [];
    for (let at = this.core.nextDeadline(); at !== undefined && at <= until; at = this.core.nextDeadline()) {
      this.now = Math.max(this.now, at);
      effects.push(...this.#turn(this.core.timeout(this.now)).effects);
    }
    this.now = until;
    return new Turn(effects);
  }

  /** What the broker does to the connection of a client. */
  link(mqttClientId = "c1") {
    const linkId = this.links.get(mqttClientId);
    if (linkId === undefined) throw new Error(`no link was opened for ${mqttClientId}`);
    const input = (input: Parameters<GatewayCore["handle"]>[0]) => this.#turn(this.core.handle(input, this.now));
    return {
      linkId,
      up: (sessionPresent = false, limits = noLimits) => input({ kind: "linkUp", linkId, sessionPresent, limits }),
      down: (takenOver = false, end: Partial<LinkEnd> = {}) =>
        input({ kind: "linkDown", linkId, reason: "reset", takenOver, cause: "network", showedLife: true, ...end }),
      refused: (refusal: "congestion" | "notSupported") =>
        input({ kind: "linkRefused", linkId, refusal, reason: "refused" }),
      congested: (congested: boolean) => input({ kind: "linkCongested", linkId, congested }),
      acks: (ack: "puback" | "pubrec" | "pubcomp" | "suback" | "unsuback", packetId: number, code = 0) =>
        input({ kind: "brokerAck", linkId, ack, packetId, code }),
      delivers: (publication: Partial<Publication> & { packetId?: number; dup?: boolean; expirySeconds?: number }) => {
        const { packetId, dup = false, expirySeconds, ...rest } = publication;
        const message: Publication = { topicName: "t", payload: octets("x"), qos: 1, retain: false, ...rest };
        const id = message.qos === 0 ? 0 : (packetId ?? ++this.#packetId);
        return input({
          kind: "delivered",
          linkId,
          publication: message,
          packetId: id,
          dup,
          ...(expirySeconds !== undefined && { expirySeconds }),
        });
      },
      releases: (packetId: number) => input({ kind: "released", linkId, packetId }),
    };
  }

  /** A connected client, with what it subscribed to. */
  connected(options: Partial<Extract<Message, { type: "CONNECT" }>> = {}, from: PeerId = here): this {
    this.client(connect(options), from).asks("openLink");
    this.link(typeof options.clientId === "string" ? options.clientId : "c1")
      .up()
      .gets("CONNACK");
    return this;
  }

  subscribed(topic: string, qos: QoS = 1): this {
    const { packetId } = this.client(subscribe(topic, qos)).effect("subscribe");
    this.link().acks("suback", packetId, qos).gets("SUBACK");
    return this;
  }

  registered(topicName: string): number {
    return this.client(register(topicName)).message("REGACK").topicId;
  }

  input(input: Parameters<GatewayCore["handle"]>[0]): Turn {
    return this.#turn(this.core.handle(input, this.now));
  }

  #turn(effects: readonly Effect[]): Turn {
    for (const effect of effects)
      if (effect.kind === "openLink") this.links.set(effect.link.mqttClientId, effect.link.linkId);
    return new Turn(effects);
  }
}

function merged(base: unknown, over: unknown): unknown {
  if (
    typeof base !== "object" ||
    base === null ||
    base instanceof Map ||
    typeof over !== "object" ||
    over === null ||
    over instanceof Map
  ) {
    return over === undefined ? base : over;
  }
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) result[key] = merged(result[key], value);
  return result;
}
