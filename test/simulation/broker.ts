/**
 * A model of an MQTT broker that keeps its promises: it saves before it acknowledges, keeps packet ids and sessions,
 * sends again after a reconnect with DUP, publishes wills. Connections to it may be cut at any packet, in either
 * direction, and it may be away. It is the judge of what arrived.
 */
import type { LinkRequest } from "../../src/core/effect.ts";
import {
  type BrokerLimits,
  type Copies,
  noLimits,
  type Publication,
  type QoS,
  type Will,
} from "../../src/core/types.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { matches } from "../../src/wire/topic.ts";
import type { Rng } from "./rng.ts";

/** When things happen: virtual time, or the real one. */
export interface Plans {
  now(): number;
  plan(inMs: number, what: () => void): void;
}

/** A packet of the gateway as a broker sees it that may close for it. */
export interface SeenPacket {
  readonly kind: "publish" | "subscribe" | "unsubscribe";
  /** MQTT client id of the connection. */
  readonly connection: string;
  /** Topic or filter. */
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly text: string;
  /** Of the payload. */
  readonly bytes: number;
  /** Its place among the packets of its connection, from 1. */
  readonly ordinal: number;
  readonly at: number;
}

export interface BrokerFaults {
  /** Does it close the connection for this packet? Known to the judge alone. */
  closesFor?: ((packet: SeenPacket) => boolean) | undefined;
  /** Has it noted the packet id of what it closes for at QoS 2? Then it would take another under it for a repetition. */
  readonly notesBeforeClosing?: ((packet: SeenPacket) => boolean) | undefined;
  /** A connection that is cut looks as if the broker had closed it. */
  readonly cutsBlame?: boolean;
  /** Does it close at CONNECT, for this will? Known to the judge alone. */
  closesForWill?: ((will: Will) => boolean) | undefined;
  /** Mean delay of an acknowledgement, exponentially distributed. */
  lateMs?: number;
  /** Chance per packet that the connection is cut with it. */
  cut: number;
  /** The broker does not answer. */
  away: boolean;
  /** Does it send a message once to a connection, or once for each filter there that matches? Absent: once. */
  readonly copies?: Copies;
  /** Chance that a resumed session is not there any more. */
  forgets: number;
  /**
   * Publications at QoS 2 that it takes at a time, as mosquitto takes 20; few enough in the simulation that it comes to
   * that. More of them are a violation. Absent = no limit.
   */
  readonly exactlyOnceMaximum?: number;
}

interface Outgoing {
  readonly publication: Publication;
  stage: "publish" | "release";
  sent: boolean;
}

class BrokerState {
  readonly subscriptions = new Map<string, QoS>();
  readonly outgoing = new Map<number, Outgoing>();
  readonly queue: Publication[] = [];
  readonly received2 = new Set<number>();
  connection: Connection | undefined;
  clean = true;
  lastPacketId = 0;
}

export class Connection {
  /** Publications at QoS 2 that came by this connection and are not released. */
  readonly open2 = new Set<number>();
  readonly request: LinkRequest;
  readonly events: UpstreamEvents;
  readonly state: BrokerState;
  alive = true;
  /** Packets that reached the gateway, CONNACK among them. */
  said = 0;
  /** Publications and requests that came. */
  came = 0;

  constructor(request: LinkRequest, events: UpstreamEvents, state: BrokerState) {
    this.request = request;
    this.events = events;
    this.state = state;
  }
}

export interface BrokerLog {
  /** A publication was saved. */
  accepted(publication: Publication, from: string): void;
  /** A message was sent to this client at this QoS. */
  routed(clientId: string, publication: Publication): void;
  /** The gateway took responsibility for it. */
  acknowledged(clientId: string, publication: Publication): void;
  willFired(clientId: string, will: Will, cause: "abandon" | "cut" | "takeover"): void;
  forgot(clientId: string): void;
  /** A connection ended, and not because the broker closed it. */
  broke?(clientId: string): void;
  /** An acknowledgement came. */
  heard?(clientId: string, ack: string, packetId: number): void;
  /** An acknowledgement that no delivery waits for. */
  strayAck?(clientId: string, ack: string, packetId: number): void;
}

const window = 16;
/** As mosquitto takes 20; few enough that it comes to that. */
export const exactlyOnceMaximum = 2;

export class SimBroker {
  readonly faults: BrokerFaults;
  readonly #time: Plans;
  readonly #rng: Rng;
  readonly #log: BrokerLog;
  readonly #limits: BrokerLimits;
  readonly #states = new Map<string, BrokerState>();
  /** By topic name. */
  readonly retained = new Map<string, Publication>();
  latencyMs = 20;

  constructor(time: Plans, rng: Rng, faults: BrokerFaults, log: BrokerLog) {
    this.#time = time;
    this.#rng = rng;
    this.faults = faults;
    const { exactlyOnceMaximum } = faults;
    this.#limits = { ...noLimits, ...(exactlyOnceMaximum !== undefined && { exactlyOnceMaximum }) };
    this.#log = log;
  }

  /** Another client publishes. */
  publish(publication: Publication): void {
    this.#accept(publication, "elsewhere");
  }

  cutAll(): void {
    for (const state of this.#states.values()) if (state.connection) this.cut(state.connection, "cut");
  }

  connect(request: LinkRequest, events: UpstreamEvents): Connection | undefined {
    if (this.faults.away) return undefined;
    const clientId = request.mqttClientId;
    const before = this.#states.get(clientId);
    if (before?.connection) this.#drop(before.connection, "takeover");
    const forgotten = before && !before.clean && !request.clean && this.#rng.chance(this.faults.forgets);
    if (forgotten) this.#log.forgot(clientId);
    const present = before !== undefined && !before.clean && !request.clean && !forgotten;
    const state = present ? before : new BrokerState();
    state.clean = request.clean;
    this.#states.set(clientId, state);
    const connection = new Connection(request, events, state);
    state.connection = connection;
    this.#toGateway(connection, () => events.up(request.linkId, present, this.#limits));
    for (const [packetId, out] of state.outgoing) {
      if (out.stage === "publish") this.#deliver(connection, packetId, out);
      else this.#toGateway(connection, () => events.released(request.linkId, packetId)); // [MQTT-3.1.1 4.4]
    }
    this.#fill(state);
    return connection;
  }

  /** A packet on its way to the broker. The connection may end because of it, before or after it is processed. */
  fromGateway(connection: Connection, what: () => void): void {
    this.#time.plan(this.#latency(), () => {
      if (!connection.alive) return;
      if (this.#rng.chance(this.faults.cut / 2)) return this.cut(connection, "cut");
      what();
      if (connection.alive && this.#rng.chance(this.faults.cut / 2)) this.cut(connection, "cut");
    });
  }

  onPublish(connection: Connection, publication: Publication, packetId: number): void {
    const { state, request, events } = connection;
    const { topicName, qos, retain, payload } = publication;
    const text = Buffer.from(payload).toString();
    const seen = this.#seen(connection, {
      kind: "publish",
      topic: topicName,
      qos,
      retain,
      text,
      bytes: payload.byteLength,
    });
    if (this.#closesFor(connection, seen)) {
      if (qos === 2 && this.faults.notesBeforeClosing?.(seen)) state.received2.add(packetId);
      return;
    }
    if (publication.qos !== 2 || !state.received2.has(packetId)) this.#accept(publication, request.mqttClientId);
    if (publication.qos === 1)
      this.#late(() => this.#toGateway(connection, () => events.acked(request.linkId, "puback", packetId, 0)));
    if (publication.qos !== 2) return;
    state.received2.add(packetId);
    connection.open2.add(packetId);
    if (connection.open2.size > (this.faults.exactlyOnceMaximum ?? 65_535))
      throw new Error(`${connection.open2.size} publications of ${request.mqttClientId} at QoS 2 under way`);
    this.#toGateway(connection, () => events.acked(request.linkId, "pubrec", packetId, 0));
  }

  onRelease(connection: Connection, packetId: number): void {
    connection.state.received2.delete(packetId);
    connection.open2.delete(packetId);
    this.#toGateway(connection, () => connection.events.acked(connection.request.linkId, "pubcomp", packetId, 0));
  }

  onSubscribe(connection: Connection, packetId: number, filter: string, qos: QoS): void {
    const { state, request, events } = connection;
    if (this.#closesFor(connection, this.#seen(connection, { kind: "subscribe", topic: filter, qos }))) return;
    state.subscriptions.set(filter, qos);
    this.#toGateway(connection, () => events.acked(request.linkId, "suback", packetId, qos));
    for (const kept of this.retained.values()) {
      if (matches(filter, kept.topicName))
        this.#route(request.mqttClientId, state, { ...kept, qos: Math.min(qos, kept.qos) as QoS });
    }
  }

  onUnsubscribe(connection: Connection, packetId: number, filter: string): void {
    if (this.#closesFor(connection, this.#seen(connection, { kind: "unsubscribe", topic: filter, qos: 0 }))) return;
    connection.state.subscriptions.delete(filter);
    this.#toGateway(connection, () => connection.events.acked(connection.request.linkId, "unsuback", packetId, 0));
  }

  onPing(connection: Connection): void {
    this.#toGateway(connection, () => connection.events.pong(connection.request.linkId));
  }

  onAck(connection: Connection, ack: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    const { state, request, events } = connection;
    this.#log.heard?.(request.mqttClientId, ack, packetId);
    const out = state.outgoing.get(packetId);
    if (!out || (ack === "pubcomp") !== (out.stage === "release"))
      return this.#log.strayAck?.(request.mqttClientId, ack, packetId);
    if (ack !== "pubcomp" && out.stage === "publish") this.#log.acknowledged(request.mqttClientId, out.publication);
    if (ack === "pubrec") {
      out.stage = "release";
      this.#toGateway(connection, () => events.released(request.linkId, packetId));
      return;
    }
    state.outgoing.delete(packetId);
    this.#fill(state);
  }

  onClose(connection: Connection, how: "disconnect" | "abandon", endSession: boolean): void {
    this.#log.broke?.(connection.request.mqttClientId);
    if (how === "abandon") this.#drop(connection, "abandon");
    else this.#forgetConnection(connection);
    if (endSession || connection.state.clean) this.#states.delete(connection.request.mqttClientId);
  }

  #seen(connection: Connection, packet: Pick<SeenPacket, "kind" | "topic" | "qos"> & Partial<SeenPacket>): SeenPacket {
    const ordinal = ++connection.came;
    const { mqttClientId } = connection.request;
    return {
      retain: false,
      text: "",
      bytes: 0,
      ...packet,
      connection: mqttClientId,
      ordinal,
      at: this.#time.now(),
    };
  }

  #closesFor(connection: Connection, packet: SeenPacket): boolean {
    const { linkId } = connection.request;
    if (!this.faults.closesFor?.(packet)) return false;
    this.#drop(connection, "cut");
    this.#time.plan(this.#latency(), () =>
      connection.events.down(linkId, {
        reason: "closed by the broker",
        takenOver: false,
        cause: "peer",
        showedLife: connection.said > 1,
      }),
    );
    return true;
  }

  /** What stands on the session of this client. */
  filtersOf(mqttClientId: string): readonly string[] {
    return [...(this.#states.get(mqttClientId)?.subscriptions.keys() ?? [])];
  }

  #late(what: () => void): void {
    const { lateMs = 0 } = this.faults;
    if (lateMs === 0) what();
    else this.#time.plan(-Math.log(1 - this.#rng.next()) * lateMs, what);
  }

  cut(connection: Connection, cause: "cut"): void {
    if (!connection.alive) return;
    this.#log.broke?.(connection.request.mqttClientId);
    this.#drop(connection, cause);
    this.#time.plan(this.#latency(), () =>
      connection.events.down(connection.request.linkId, {
        reason: "connection reset",
        takenOver: false,
        cause: this.faults.cutsBlame ? "peer" : "network",
        showedLife: connection.said > 1,
      }),
    );
  }

  #drop(connection: Connection, cause: "abandon" | "cut" | "takeover"): void {
    this.#forgetConnection(connection);
    const { will, mqttClientId } = connection.request;
    if (!will) return;
    this.#log.willFired(mqttClientId, will, cause);
    this.#accept(will, mqttClientId);
  }

  #forgetConnection(connection: Connection): void {
    connection.alive = false;
    if (connection.state.connection === connection) connection.state.connection = undefined;
  }

  #accept(publication: Publication, from: string): void {
    this.#log.accepted(publication, from);
    if (publication.retain) this.retained.set(publication.topicName, publication);
    for (const [clientId, state] of this.#states) {
      const granted: number[] = [];
      for (const [filter, qos] of state.subscriptions) if (matches(filter, publication.topicName)) granted.push(qos);
      if (granted.length === 0 || (!state.connection && state.clean)) continue;
      for (const asked of this.faults.copies === "each" ? granted : [Math.max(...granted)]) {
        const qos = Math.min(asked, publication.qos) as QoS;
        this.#route(clientId, state, { ...publication, qos, retain: false });
      }
    }
  }

  #route(clientId: string, state: BrokerState, publication: Publication): void {
    const { connection } = state;
    if (publication.qos > 0) {
      this.#log.routed(clientId, publication);
      state.queue.push(publication);
      this.#fill(state);
    } else if (connection) {
      this.#toGateway(connection, () =>
        connection.events.delivered(connection.request.linkId, { publication, packetId: 0, dup: false }),
      );
    }
  }

  #fill(state: BrokerState): void {
    const { connection } = state;
    if (!connection) return;
    while (state.queue.length > 0 && state.outgoing.size < window) {
      const publication = state.queue.shift();
      if (!publication) return;
      do state.lastPacketId = (state.lastPacketId % 65_535) + 1;
      while (state.outgoing.has(state.lastPacketId));
      const out: Outgoing = { publication, stage: "publish", sent: false };
      state.outgoing.set(state.lastPacketId, out);
      this.#deliver(connection, state.lastPacketId, out);
    }
  }

  #deliver(connection: Connection, packetId: number, out: Outgoing): void {
    const dup = out.sent;
    out.sent = true;
    const { publication } = out;
    this.#toGateway(connection, () =>
      connection.events.delivered(connection.request.linkId, { publication, packetId, dup }),
    );
  }

  #toGateway(connection: Connection, what: () => void): void {
    this.#time.plan(this.#latency(), () => {
      if (!connection.alive) return;
      if (this.#rng.chance(this.faults.cut / 2)) return this.cut(connection, "cut");
      connection.said++;
      what();
    });
  }

  /** One value: TCP keeps the order. */
  #latency(): number {
    return this.latencyMs;
  }
}
