/** The connections to the broker of one run of the gateway: they are made, break and are made again. */
import type { LinkRequest } from "../../src/core/effect.ts";
import type { Copies, KnownPause, LinkId, Publication, QoS } from "../../src/core/types.ts";
import { BackOff } from "../../src/upstream/back-off.ts";
import type { Upstream, UpstreamEvents } from "../../src/upstream/link.ts";
import type { Connection, Plans, SimBroker } from "./broker.ts";
import type { Rng } from "./rng.ts";

const shippedPauses = { minSeconds: 1, maxSeconds: 60 };

/** When that run of the gateway ends, the broker sees them break. */
export class SimUpstream implements Upstream {
  readonly #broker: SimBroker;
  readonly #time: Plans;
  readonly #rng: Rng;
  #events: UpstreamEvents | undefined;
  readonly #links = new Map<LinkId, { request: LinkRequest; connection: Connection | undefined; accepted?: boolean }>();
  readonly #closingUntil = new Map<string, number>();
  readonly #reconnectMs: readonly [number, number] | undefined;
  readonly #backOffs = new Map<LinkId, { backOff: BackOff; attempt: number }>();
  /** A packet was sent, but for QoS 0: a publication, or what it asks for. */
  onSent: (mqttClientId: string, packetId: number, packet: Publication | string) => void = () => {};
  dead = false;

  /** `reconnectMs`: between attempts; undefined = as the shipped upstream does. */
  constructor(broker: SimBroker, time: Plans, rng: Rng, reconnectMs: readonly [number, number] | undefined) {
    this.#reconnectMs = reconnectMs;
    this.#broker = broker;
    this.#time = time;
    this.#rng = rng;
  }

  async start(events: UpstreamEvents): Promise<void> {
    this.#events = events;
  }

  /** Without waiting for a turn of the event loop. */
  startNow(events: UpstreamEvents): void {
    this.#events = events;
  }

  open(request: LinkRequest): void {
    this.#links.set(request.linkId, { request, connection: undefined });
    const wait = Math.max(0, (this.#closingUntil.get(request.mqttClientId) ?? 0) - this.#time.now());
    this.#attempt(request.linkId, wait + 20);
  }

  close(linkId: LinkId, how: "disconnect" | "abandon", endSession: boolean): void {
    const link = this.#links.get(linkId);
    this.#links.delete(linkId);
    if (!link?.connection) return;
    const { connection } = link;
    this.#closingUntil.set(link.request.mqttClientId, this.#time.now() + this.#broker.latencyMs + 5);
    this.#broker.fromGateway(connection, () => this.#broker.onClose(connection, how, endSession));
  }

  publish(linkId: LinkId, publication: Publication, packetId: number): void {
    this.#notes(linkId, packetId, publication);
    this.#with(linkId, (connection) => this.#broker.onPublish(connection, publication, packetId));
  }

  release(linkId: LinkId, packetId: number): void {
    this.#with(linkId, (connection) => this.#broker.onRelease(connection, packetId));
  }

  subscribe(linkId: LinkId, packetId: number, topicFilter: string, qos: QoS): void {
    this.#notes(linkId, packetId, `subscribe ${topicFilter}`);
    this.#with(linkId, (connection) => this.#broker.onSubscribe(connection, packetId, topicFilter, qos));
  }

  unsubscribe(linkId: LinkId, packetId: number, topicFilter: string): void {
    this.#notes(linkId, packetId, `unsubscribe ${topicFilter}`);
    this.#with(linkId, (connection) => this.#broker.onUnsubscribe(connection, packetId, topicFilter));
  }

  pause(linkId: LinkId, pause: KnownPause): void {
    const link = this.#links.get(linkId);
    if (this.#reconnectMs === undefined && link && !link.connection)
      this.#attempt(linkId, this.#backOffOf(linkId).backOff.again(pause));
  }

  ping(linkId: LinkId): void {
    this.#with(linkId, (connection) => this.#broker.onPing(connection));
  }

  ack(linkId: LinkId, ack: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    this.#with(linkId, (connection) => this.#broker.onAck(connection, ack, packetId));
  }

  askCopies(_request: LinkRequest, _topic: string, done: (copies: Copies | undefined) => void): void {
    this.#time.plan(300, () => {
      if (!this.dead) done(this.#broker.faults.copies ?? "one");
    });
  }

  async shutdown(): Promise<void> {}

  /** Whose link this is. */
  clientOf(linkId: LinkId): string | undefined {
    return this.#links.get(linkId)?.request.mqttClientId;
  }

  /** The process has ended: its sockets break. */
  die(): void {
    this.dead = true;
    for (const { connection } of this.#links.values()) if (connection) this.#broker.cut(connection, "cut");
  }

  #notes(linkId: LinkId, packetId: number, packet: Publication | string): void {
    const link = this.#links.get(linkId);
    if (link?.connection?.alive) this.onSent(link.request.mqttClientId, packetId, packet);
  }

  #backOffOf(linkId: LinkId) {
    let of = this.#backOffs.get(linkId);
    if (!of) {
      of = { backOff: new BackOff(shippedPauses, () => this.#rng.next()), attempt: 0 };
      this.#backOffs.set(linkId, of);
    }
    return of;
  }

  #pauseMs(linkId: LinkId, wasAccepted: boolean): number {
    return this.#reconnectMs
      ? this.#rng.between(...this.#reconnectMs)
      : this.#backOffOf(linkId).backOff.next(wasAccepted);
  }

  #with(linkId: LinkId, what: (connection: Connection) => void): void {
    const connection = this.#links.get(linkId)?.connection;
    if (connection?.alive) this.#broker.fromGateway(connection, () => what(connection));
  }

  /** Instead of one that is planned. */
  #attempt(linkId: LinkId, inMs: number): void {
    const of = this.#backOffOf(linkId);
    const attempt = ++of.attempt;
    this.#time.plan(inMs, () => {
      const link = this.#links.get(linkId);
      const events = this.#events;
      if (!link || this.dead || !events || attempt !== of.attempt) return;
      const { will } = link.request;
      if (will && this.#broker.faults.closesForWill?.(will) && !this.#broker.faults.away) {
        const reason = "closed by the broker";
        events.down(linkId, { reason, takenOver: false, cause: "peer", showedLife: false });
        return this.#attempt(linkId, this.#pauseMs(linkId, false));
      }
      const connection = this.#broker.connect(link.request, this.#guarded(linkId, events));
      link.connection = connection;
      if (connection) return;
      events.down(linkId, { reason: "connection refused", takenOver: false, cause: "network", showedLife: false });
      this.#attempt(linkId, this.#pauseMs(linkId, false));
    });
  }

  /** Nothing reaches a dead gateway, or comes for a link that was closed; a lost connection is tried again. */
  #guarded(linkId: LinkId, events: UpstreamEvents): UpstreamEvents {
    const open = () => !this.dead && this.#links.has(linkId);
    return {
      up: (id, present, limits) => {
        if (!open()) return;
        const link = this.#links.get(linkId);
        if (link) link.accepted = true;
        events.up(id, present, limits);
      },
      refused: (id, refusal, reason, code) => open() && events.refused(id, refusal, reason, code),
      pong: (id) => open() && events.pong(id),
      down: (id, end) => {
        if (!open()) return;
        const link = this.#links.get(linkId);
        const wasAccepted = link?.accepted ?? false;
        if (link) {
          link.connection = undefined;
          link.accepted = false;
        }
        this.#attempt(linkId, this.#pauseMs(linkId, wasAccepted));
        events.down(id, end);
      },
      congested: (id, congested) => open() && events.congested(id, congested),
      delivered: (id, delivery) => open() && events.delivered(id, delivery),
      released: (id, packetId) => open() && events.released(id, packetId),
      acked: (id, ack, packetId, code) => open() && events.acked(id, ack, packetId, code),
    };
  }
}
