/**
 * Sends the datagrams of a shard's gateway to the device, by the gateway that received the device's last datagram. If a
 * new owner has a message before the device sends one, it looks up this gateway. If no gateway is known, it sends by
 * its own transport.
 */
import type { Instant, PeerId } from "../core/types.ts";
import type { Timers } from "../transports/timers.ts";
import type { Transport } from "../transports/transport.ts";
import type { Between } from "./between.ts";
import type { FrontCounters } from "./front-counters.ts";
import type { Strangers } from "./inbound.ts";
import type { KnownPeer, KnownPeers } from "./known-peers.ts";
import type { LookUps } from "./look-ups.ts";
import type { AddressBook, Ownership } from "./members.ts";
import type { NetworkWords } from "./network-words.ts";
import type { Port } from "./port.ts";
import type { Ports } from "./ports.ts";
import { type RoomLimits, WaitingRoom } from "./waiting-room.ts";

/** An entry is written again after this time, or when half of the time for which the book keeps it has passed. */
const keepAgainMs = 24 * 3_600_000;
/** If a device comes by another gateway, its entry is written at most once in this time. */
const keepViaMs = 60_000;
/** Limit of shards that are asked at once whether they may still send. */
const askedMax = 512;

export interface OutboundParts {
  readonly name: string;
  readonly transports: readonly Transport[];
  readonly words: readonly NetworkWords[];
  readonly ownership: Ownership;
  readonly book: AddressBook;
  readonly peers: KnownPeers;
  readonly strangers: Strangers;
  readonly lookUps: LookUps;
  readonly ports: Ports;
  readonly between: Between;
  readonly timers: Pick<Timers, "now">;
  readonly counters: FrontCounters;
  /** Calls at the end of this turn of the event loop. */
  readonly later: (call: () => void) => void;
  /** As `FrontParts.retryMs`. */
  readonly retryMs: number;
  readonly room?: RoomLimits | undefined;
}

interface Leaving {
  readonly port: Port;
  readonly to: PeerId;
  readonly bytes: Uint8Array;
}

/**
 * A real transport that all shards share. It collects the datagrams of one turn. Before sending them it asks every
 * shard that has datagrams among them once more, because the process may have stood still in between.
 */
class Exit {
  readonly transport: Transport;
  readonly #parts: Pick<OutboundParts, "timers" | "later" | "retryMs">;
  /** The time of the first datagram that was collected in this turn. */
  #collectedSince = Number.POSITIVE_INFINITY;
  #isTurnOver = true;
  readonly #asked = new Set<() => boolean>();
  /** The function that was added last. */
  #last: (() => boolean) | undefined;
  #isAllowed = false;

  constructor(transport: Transport, parts: Pick<OutboundParts, "timers" | "later" | "retryMs">) {
    this.transport = transport;
    this.#parts = parts;
    transport.sendsWhile?.(() => this.#mayLeave());
  }

  /** `may` has just returned true. */
  send(to: PeerId, bytes: Uint8Array, may?: () => boolean): void {
    if (may && may !== this.#last) {
      if (this.#asked.size >= askedMax) this.#asked.clear();
      this.#asked.add(may);
      this.#last = may;
    }
    this.#collect();
    this.#isAllowed = true;
    this.transport.send(to, bytes);
    this.#isAllowed = false;
  }

  /** The shard has just been asked. */
  broadcast(bytes: Uint8Array, radius: number): void {
    this.#collect();
    this.#isAllowed = true;
    this.transport.broadcast(bytes, radius);
    this.#isAllowed = false;
  }

  #collect(): void {
    if (!this.#isTurnOver) return;
    this.#isTurnOver = false;
    const { timers, later } = this.#parts;
    this.#collectedSince = timers.now();
    later(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isTurnOver = true;
  };

  #mayLeave(): boolean {
    if (this.#isAllowed) {
      this.#isAllowed = false;
      return true;
    }
    const { timers, retryMs } = this.#parts;
    // Another gateway may have repeated what was collected before this process stood still.
    let all = timers.now() - this.#collectedSince < retryMs;
    for (const may of this.#asked) if (!may()) all = false;
    this.#asked.clear();
    this.#last = undefined;
    return all;
  }
}

export class Outbound {
  readonly #parts: OutboundParts;
  readonly #exits: readonly Exit[];
  readonly #room: WaitingRoom<Leaving>;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    this.#exits = parts.transports.map((transport) => new Exit(transport, parts));
    this.#room = new WaitingRoom(parts.room);
  }

  /** The datagrams that wait until it is known by which gateway they must be sent. */
  get waiting(): { readonly addresses: number; readonly octets: number } {
    return { addresses: this.#room.size, octets: this.#room.octets };
  }

  send(port: Port, to: PeerId, bytes: Uint8Array): void {
    const { peers, strangers, counters } = this.#parts;
    if (!port.mayLeave()) return counters.drop("lease-over");
    const words = this.#parts.words[port.index];
    const isAccepted = words?.accepts(bytes) === true;
    if (isAccepted || words?.confirms(bytes)) this.#noteClient(port, to, bytes, isAccepted);
    const via = peers.get(to)?.via;
    if (via !== undefined) this.#sendBy(via, { port, to, bytes });
    else if (strangers.has(to)) this.#sendBy("", { port, to, bytes });
    else this.#find({ port, to, bytes });
  }

  /** Sends to all devices. All shards of this gateway send the same broadcasts, so only the lowest one does it. */
  broadcast(port: Port, bytes: Uint8Array, radius: number): void {
    const { ports, ownership, counters } = this.#parts;
    if (!port.mayLeave()) return counters.drop("lease-over");
    const speaker = ports.served.find((shard) => ownership.ownerOf(shard) === "here");
    if (port.shard === speaker) this.#exits[port.index]?.broadcast(bytes, radius);
    else counters.broadcastsLeftOut++;
  }

  /** Sends an answer of another gateway, which owns the device's shard. */
  taken(index: number, to: PeerId, bytes: Uint8Array): void {
    this.#parts.counters.answersTaken++;
    this.#exits[index]?.send(to, bytes);
  }

  /** Sends what the door of a network says itself. */
  sendOwn(index: number, to: PeerId, bytes: Uint8Array): void {
    this.#exits[index]?.send(to, bytes);
  }

  /** Called when a client whose address this gateway wrote into the book sends a message. */
  isHeard(peer: PeerId, known: KnownPeer, now: Instant, seconds?: number): void {
    if (known.keptAt === undefined) return;
    const age = now - known.keptAt;
    const againMs = seconds === undefined ? keepAgainMs : Math.min(keepAgainMs, (seconds * 1_000) / 2);
    if (age > againMs || (known.via !== known.keptVia && age > keepViaMs)) this.#keep(peer, known, now, seconds);
  }

  /** Called when a client with a context has sent an authentic message, which its shard's gateway handles here. */
  isProved(peer: PeerId, known: KnownPeer, words: NetworkWords, now: Instant): void {
    if (known.keptAt === undefined || known.keptShard !== known.shard) this.#keep(peer, known, now, words.keptSeconds);
    else this.isHeard(peer, known, now, words.keptSeconds);
  }

  #sendBy(via: string, { port, to, bytes }: Leaving): void {
    const { between, counters } = this.#parts;
    // The gateway that received the client's datagrams has ended, and its address may be this gateway's by now.
    if (via === "" || !between.knows(via)) return this.#exits[port.index]?.send(to, bytes, port.mayLeave);
    const record = { way: "down", shard: port.shard, peer: to, message: bytes } as const;
    if (between.send(via, record, port.mayLeave)) counters.answersPassedOn++;
  }

  #find(leaving: Leaving): void {
    const { words, lookUps } = this.#parts;
    const node = words[leaving.port.index]?.nodeTo(leaving.to, leaving.bytes) ?? leaving.to;
    const place = this.#room.add(node, leaving);
    if (place === "full") return this.#sendBy("", leaving);
    if (place === "first" && !lookUps.ask(node, (answer) => this.#found(node, answer))) this.#found(node, "failed");
  }

  #found(node: PeerId, answer: Parameters<Parameters<LookUps["ask"]>[1]>[0]): void {
    const { name, peers, timers, counters } = this.#parts;
    const isKnown = answer !== "failed" && answer !== "late";
    const front = isKnown ? (answer?.front ?? "") : "";
    for (const leaving of this.#room.take(node)) {
      const via = peers.get(leaving.to)?.via ?? (front === name ? "" : front);
      if (isKnown) peers.of(leaving.to, timers.now()).via = via;
      if (leaving.port.mayLeave()) this.#sendBy(via, leaving);
      else counters.drop("lease-over");
    }
  }

  #noteClient(port: Port, to: PeerId, bytes: Uint8Array, isAccepted: boolean): void {
    const { words, peers, timers } = this.#parts;
    const node = words[port.index]?.nodeTo(to, bytes) ?? to;
    const before = peers.get(node);
    if (!isAccepted && before?.keptAt !== undefined && before.keptShard === port.shard) return;
    const now = timers.now();
    const known = before ?? peers.of(node, now);
    known.shard = port.shard;
    known.learntAt = now;
    this.#keep(node, known, now);
  }

  #keep(peer: PeerId, known: KnownPeer, now: Instant, seconds?: number): void {
    const { book, name, counters } = this.#parts;
    known.keptAt = now;
    known.keptShard = known.shard;
    known.keptVia = known.via;
    counters.addressesKept++;
    book.keep(peer, { shard: known.shard, front: known.via === "" ? name : (known.via ?? "") }, seconds);
  }
}
