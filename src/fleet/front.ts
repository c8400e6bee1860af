/**
 * The front of a fleet member. It has the real transports, the socket between gateways, and for each shard that is
 * owned here the transports of that shard's gateway. Any member accepts any datagram: inbound.ts finds the shard of the
 * sender, and outbound.ts the gateway that must send the answer. A peer has the name of its device, whichever way its
 * datagrams come, so limits and access rules are those of the device.
 */
import type { Instant, PeerId } from "../core/types.ts";
import type { Door } from "../transports/door.ts";
import type { Timers } from "../transports/timers.ts";
import type { Transport, TransportStats } from "../transports/transport.ts";
import { Between, type BetweenSocket, type Told } from "./between.ts";
import { FrontCounters } from "./front-counters.ts";
import { Inbound, Strangers } from "./inbound.ts";
import { KnownPeers } from "./known-peers.ts";
import { LateWatch } from "./late-watch.ts";
import { LookUps } from "./look-ups.ts";
import type { AddressBook, Member, Ownership } from "./members.ts";
import { type DatagramWords, encryptedWords, plainWords } from "./network-words.ts";
import { Outbound } from "./outbound.ts";
import type { Way } from "./passed-on.ts";
import { Port, type PortFront } from "./port.ts";
import { Ports } from "./ports.ts";
import type { RoomLimits } from "./waiting-room.ts";

export type { BetweenSocket, Told } from "./between.ts";
export type { DatagramWords } from "./network-words.ts";

export interface FrontParts {
  /** This member's own name. */
  readonly name: string;
  /**
   * The real transports, not started yet. Only UDP: a peer of a network with links cannot be reached from another
   * machine.
   */
  readonly transports: readonly Transport[];
  /** What stands before a transport, by its name. None for a transport whose datagrams are not encrypted. */
  readonly doors?: ReadonlyMap<string, Door>;
  readonly ownership: Ownership;
  readonly book: AddressBook;
  readonly words: DatagramWords;
  readonly between: BetweenSocket;
  readonly timers: Timers;
  readonly told: Told;
  /** Calls at the end of this turn of the event loop; absent = an immediate. */
  readonly later?: (call: () => void) => void;
  /**
   * Milliseconds after which a device gets a repetition. A datagram that waited longer, because this process stood
   * still, is not sent any more.
   */
  readonly retryMs: number;
  /** The limits of datagrams that wait for the address book, in each direction; absent = the default ones. */
  readonly room?: RoomLimits;
  /** Limit of remembered peers in each of two generations; absent = the default. */
  readonly peersMax?: number;
}

export class Front {
  readonly counters = new FrontCounters();
  readonly #parts: FrontParts;
  readonly #ports: Ports;
  readonly #between: Between;
  readonly #lookUps: LookUps;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #forPorts: PortFront;
  readonly #late: LateWatch;
  #isClosed = false;
  /** The time when the present batch began; undefined: no batch is being read. */
  #now: Instant | undefined;

  constructor(parts: FrontParts) {
    this.#parts = parts;
    const { ownership, told, timers, book } = parts;
    const { counters } = this;
    const ports = new Ports(ownership.shards);
    const later = parts.later ?? ((call: () => void) => void setImmediate(call));
    const { retryMs } = parts;
    const between = new Between({
      ...parts.between,
      ownership,
      counters,
      told,
      later,
      now: () => timers.now(),
      retryMs,
    });
    this.#late = new LateWatch({ timers, limitMs: retryMs });
    this.#lookUps = new LookUps({ book, timers, counters, shards: ownership.shards });
    const plain = plainWords(parts.words);
    const shared = {
      ...parts,
      words: parts.transports.map(({ name }) => {
        const door = parts.doors?.get(name);
        return door ? encryptedWords(door) : plain;
      }),
      later,
      counters,
      ports,
      between,
      peers: new KnownPeers(parts.peersMax),
      strangers: new Strangers(),
      lookUps: this.#lookUps,
    };
    const outbound = new Outbound(shared);
    this.#ports = ports;
    this.#between = between;
    this.#outbound = outbound;
    this.#inbound = new Inbound({
      ...shared,
      isHeard: (peer, known, now) => outbound.isHeard(peer, known, now),
      isProved: (peer, known, words, now) => outbound.isProved(peer, known, words, now),
      isLate: () => this.#isLate(),
    });
    this.#forPorts = {
      opened: (port) => ports.opened(port),
      closed: (port) => ports.closed(port),
      send: (port, to, bytes) => outbound.send(port, to, bytes),
      broadcast: (port, bytes, radius) => outbound.broadcast(port, bytes, radius),
      proved: (port, heard) => this.#inbound.proved(port.shard, heard, this.#time()),
      tooLate: () => counters.drop("not-serving"),
    };
  }

  /**
   * The transports of this shard's gateway: a port for each real transport, with the same name. Datagrams reach a port
   * between its `start` and `close`. A shard that moves away and comes back gets new ports.
   */
  transportsOf(shard: number): Transport[] {
    return this.#parts.transports.map((real, index) => new Port(shard, index, real, this.#forPorts));
  }

  /**
   * Opens the socket between gateways and the real transports.
   * @throws {GatewayError} when one cannot be opened; then none is left open.
   */
  async start(): Promise<void> {
    const { transports, told } = this.#parts;
    this.#late.start();
    try {
      await this.#between.start({
        record: (from, way, shard, peer, message) => this.#onRecord(from, way, shard, peer, message),
        batch: (work) => this.#batch(work),
      });
      for (const [index, transport] of transports.entries()) {
        const pass = (from: PeerId, bytes: Uint8Array) =>
          this.#inbound.heard({ index, from, bytes, via: "" }, this.#time());
        const door = this.#parts.doors?.get(transport.name);
        door?.start({ send: (to, bytes) => this.#outbound.sendOwn(index, to, bytes), pass, told });
        await transport.start({
          datagram: (from, bytes) => {
            if (this.#isClosed) return;
            if (door) door.heard(from, bytes);
            else pass(from, bytes);
          },
          batch: (work) => this.#batch(work),
          peerGone: () => {},
          failed: (error) => told("error", error.message),
          notice: told,
        });
        for (const warning of transport.warnings) told("warn", warning);
        told("info", `MQTT-SN on ${transport.name} ${transport.place}`);
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Datagrams of this turn are sent; no more are received. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const door of this.#parts.doors?.values() ?? []) door.close();
    this.#late.close();
    this.#lookUps.close();
    await this.#between.close();
    for (const transport of this.#parts.transports) await transport.close();
  }

  /** Shards whose gateways accept datagrams here, in order. */
  get served(): readonly number[] {
    return this.#ports.served;
  }

  /** The datagrams that wait for the address book now. */
  get waiting(): { readonly addresses: number; readonly octets: number } {
    const [a, b] = [this.#inbound.waiting, this.#outbound.waiting];
    return { addresses: a.addresses + b.addresses, octets: a.octets + b.octets };
  }

  /** The counters of the real transports and of the transport between gateways, by name. */
  stats(): ReadonlyMap<string, TransportStats> {
    const { transports, between } = this.#parts;
    return new Map([...transports, between.carrier].map((each) => [each.name, each.stats()]));
  }

  /** Datagrams that are passed on during `work` are sent together after it. */
  #batch(work: () => void): void {
    const before = this.#now;
    this.#now = this.#parts.timers.now();
    try {
      this.#ports.batch(work);
    } finally {
      this.#now = before;
    }
    this.#between.flush();
  }

  /** The time, which is the same during one batch. */
  #time(): Instant {
    return this.#now ?? this.#parts.timers.now();
  }

  /** True if what is read now may have waited while this process stood still. */
  #isLate(): boolean {
    return this.#late.isLate(this.#parts.timers.now());
  }

  #onRecord(member: Member, way: Way, shard: number, peer: PeerId, message: Uint8Array): void {
    const index = this.#transportOf(peer);
    if (index < 0) this.counters.drop("other-transport");
    else if (way === "down") this.#onAnswer(index, peer, message);
    else this.#inbound.takenUp(shard, { index, from: peer, bytes: message, via: member.name }, this.#time());
  }

  #onAnswer(index: number, peer: PeerId, message: Uint8Array): void {
    if (this.#isLate()) this.counters.drop("stood-still");
    else this.#outbound.taken(index, peer, message);
  }

  #transportOf(peer: PeerId): number {
    const { transports } = this.#parts;
    for (let i = 0; i < transports.length; i++) {
      const name = transports[i]?.name ?? "";
      if (peer.charCodeAt(name.length) === slash && peer.startsWith(name)) return i;
    }
    return -1;
  }
}

const slash = "/".charCodeAt(0);
