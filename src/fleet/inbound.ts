/**
 * Finds the shard of a datagram from a device, and passes the datagram to it. The client id in the datagram determines
 * the shard; without one, the address does, which is remembered here or looked up. A sender without a session is
 * answered by a shard of this gateway, always the same one for a host, so that its limits work.
 */
import type { Instant, PeerId } from "../core/types.ts";
import { RecentMap } from "../transports/recent-map.ts";
import type { Timers } from "../transports/timers.ts";
import type { Transport } from "../transports/transport.ts";
import type { Between } from "./between.ts";
import type { FrontCounters, FrontDropReason } from "./front-counters.ts";
import type { KnownPeer, KnownPeers } from "./known-peers.ts";
import type { Answer, LookUps } from "./look-ups.ts";
import type { Ownership } from "./members.ts";
import type { NetworkWords } from "./network-words.ts";
import type { Heard } from "./port.ts";
import type { Ports } from "./ports.ts";
import { shardOf } from "./shard.ts";
import { type RoomLimits, WaitingRoom } from "./waiting-room.ts";

/** Milliseconds during which an unknown peer is not looked up again. */
const strangerMs = 1_000;
/**
 * Milliseconds until a second look-up. A client may arrive here before the entry that its owner wrote can be read. The
 * second look-up is made only while less than a quarter of the room is in use.
 */
const secondLookMs = 150;
/** Strangers that are remembered, in each of two generations. */
const strangersMax = 4_096;
/**
 * The shard of an address is looked up again after this time, because another device may have the address, or its
 * device may have another client id.
 */
const learnAgainMs = 600_000;

/** Peers about which no gateway knows anything. */
export class Strangers {
  readonly #until = new RecentMap<PeerId, Instant>(strangersMax);

  add(peer: PeerId, now: Instant): void {
    this.#until.set(peer, now + strangerMs);
  }

  /** True if the peer was looked up a moment ago without a result. */
  isFresh(peer: PeerId, now: Instant): boolean {
    return now < (this.#until.get(peer) ?? Number.NEGATIVE_INFINITY);
  }

  /** True if the peer is one of the recent strangers. */
  has(peer: PeerId): boolean {
    return this.#until.get(peer) !== undefined;
  }
}

export interface InboundParts {
  readonly transports: readonly Transport[];
  readonly words: readonly NetworkWords[];
  readonly ownership: Ownership;
  readonly peers: KnownPeers;
  readonly strangers: Strangers;
  readonly lookUps: LookUps;
  readonly ports: Ports;
  readonly between: Between;
  readonly timers: Pick<Timers, "now" | "after">;
  readonly counters: FrontCounters;
  readonly room?: RoomLimits | undefined;
  /** Called when a served client at this peer sends a message. */
  readonly isHeard: (peer: PeerId, known: KnownPeer, now: Instant) => void;
  /** Called when a client with a context has sent an authentic message. */
  readonly isProved: (peer: PeerId, known: KnownPeer, words: NetworkWords, now: Instant) => void;
  /** True if what is read now may have waited while this process stood still. */
  readonly isLate: () => boolean;
}

export class Inbound {
  readonly #parts: InboundParts;
  readonly #room: WaitingRoom<Heard>;

  constructor(parts: InboundParts) {
    this.#parts = parts;
    this.#room = new WaitingRoom(parts.room);
  }

  /** The datagrams that wait until the shard of their sender is known. */
  get waiting(): { readonly addresses: number; readonly octets: number } {
    return { addresses: this.#room.size, octets: this.#room.octets };
  }

  /** Handles a datagram that a device sent to this gateway. */
  heard(heard: Heard, now: Instant): void {
    const { from, bytes, index } = heard;
    const words = this.#parts.words[index];
    if (!words) return;
    if (words.isPlain(bytes)) return this.#unnamed(heard, from, now);
    if (words.isSearch(bytes)) return this.#search(heard, now);
    const node = words.nodeOf(from, bytes);
    const clientId = words.clientIn(bytes);
    if (clientId === undefined) this.#unnamed(heard, node, now);
    else this.#named(heard, node, clientId, now);
  }

  #unnamed(heard: Heard, node: PeerId, now: Instant): void {
    const known = this.#parts.peers.get(node);
    if (!known || known.shard < 0) return this.#unknown(heard, node, now);
    if (now - known.learntAt > learnAgainMs) this.#learnAgain(node, known, now);
    this.#known(heard, node, known, now);
  }

  /** Handles a datagram that a device sent to another gateway, which passed it on to the owner of the shard. */
  takenUp(shard: number, heard: Heard, now: Instant): void {
    const { peers, ownership, counters } = this.#parts;
    const words = this.#parts.words[heard.index];
    if (!words) return;
    // A datagram is never passed on twice: two gateways that each take the other for the owner would send it back and
    // forth without end.
    if (ownership.ownerOf(shard) !== "here") return counters.drop("not-owner");
    counters.takenUp++;
    const node = words.nodeOf(heard.from, heard.bytes);
    const known = peers.of(node, now);
    // A handshake that is handed over is of a device that receives datagrams at its address.
    if (!words.isEncrypted || words.clientIn(heard.bytes) !== undefined) this.#cameBy(heard, node, known, now);
    this.#deliver(shard, heard, node, known, now);
  }

  /** The gateway of the shard has found that the device itself sent this datagram now. */
  proved(shard: number, heard: Heard, now: Instant): void {
    const { peers, isProved } = this.#parts;
    const words = this.#parts.words[heard.index];
    if (!words) return;
    const node = words.nodeOf(heard.from, heard.bytes);
    for (const peer of node === heard.from ? [node] : [node, heard.from]) {
      const known = peers.of(peer, now);
      known.shard = shard;
      known.learntAt = now;
      known.via = heard.via;
      isProved(peer, known, words, now);
    }
  }

  #named(heard: Heard, node: PeerId, clientId: string, now: Instant): void {
    const { peers, ownership } = this.#parts;
    const known = peers.of(node, now);
    known.shard = shardOf(clientId, ownership.shards);
    known.learntAt = now;
    // Earlier datagrams of this node, which wait for a look-up, are of the same client. They are handed over first.
    for (const earlier of this.#room.take(node)) this.#known(earlier, node, known, now);
    this.#cameBy(heard, node, known, now);
    this.#pass(known.shard, heard, node, known, now);
  }

  #known(heard: Heard, node: PeerId, known: KnownPeer, now: Instant): void {
    if (!this.#parts.words[heard.index]?.isEncrypted) this.#cameBy(heard, node, known, now);
    this.#pass(known.shard, heard, node, known, now);
  }

  #cameBy({ via, from }: Heard, node: PeerId, known: KnownPeer, now: Instant): void {
    known.via = via;
    if (node !== from) this.#parts.peers.of(from, now).via = via;
  }

  #unknown(heard: Heard, node: PeerId, now: Instant): void {
    const { words, strangers, lookUps, counters } = this.#parts;
    const isAsked = this.#room.has(node);
    if (!isAsked && (strangers.isFresh(node, now) || words[heard.index]?.isForAnybody(heard.bytes)))
      return this.#toAny(heard, node, now);
    const place = this.#room.add(node, heard);
    if (place === "full") return counters.drop("look-up-full");
    if (place === "first" && !lookUps.ask(node, (answer) => this.#answered(node, answer, true)))
      this.#dropWaiting(node, "look-up-full");
  }

  #lookAgain(node: PeerId): void {
    if (!this.#room.has(node)) return;
    if (!this.#parts.lookUps.ask(node, (answer) => this.#answered(node, answer, false)))
      this.#dropWaiting(node, "look-up-full");
  }

  #answered(node: PeerId, answer: Answer, isFirst: boolean): void {
    if (answer === "failed") return this.#dropWaiting(node, "look-up-failed");
    if (answer === "late") return this.#dropWaiting(node, "look-up-late");
    const { peers, strangers, ports, timers } = this.#parts;
    if (!answer && isFirst && this.#room.has(node) && this.#room.isRoomy) {
      timers.after(secondLookMs, () => this.#lookAgain(node));
      return;
    }
    const waiting = this.#room.take(node);
    // The node has sent its client id meanwhile, and its datagrams were handed over.
    if (waiting.length === 0) return;
    const now = timers.now();
    ports.batch(() => {
      if (!answer) {
        strangers.add(node, now);
        for (const heard of waiting) this.#toAny(heard, node, now);
        return;
      }
      const known = peers.of(node, now);
      known.shard = answer.shard;
      known.learntAt = now;
      for (const heard of waiting) this.#known(heard, node, known, now);
    });
  }

  #dropWaiting(node: PeerId, reason: FrontDropReason): void {
    this.#parts.counters.drop(reason, this.#room.take(node).length);
  }

  /** Looks the shard up again. Until the answer, the present shard is used. */
  #learnAgain(node: PeerId, known: KnownPeer, now: Instant): void {
    known.learntAt = now;
    this.#parts.lookUps.ask(node, (answer) => {
      if (typeof answer === "object" && known.learntAt === now) known.shard = answer.shard;
    });
  }

  /** One shard of this gateway answers for all of them. */
  #search(heard: Heard, now: Instant): void {
    const { ports, counters, strangers, peers } = this.#parts;
    const [lowest] = ports.served;
    if (lowest === undefined) return counters.drop("no-shard-here");
    const known = peers.get(heard.from);
    if (known) known.via = "";
    else strangers.add(heard.from, now);
    this.#pass(lowest, heard, heard.from, undefined, now);
  }

  #toAny(heard: Heard, node: PeerId, now: Instant): void {
    const { transports, strangers, ports, ownership, words, counters } = this.#parts;
    if (words[heard.index]?.isEncrypted) return counters.drop("no-context");
    if (!strangers.has(heard.from)) strangers.add(heard.from, now - strangerMs);
    const host = transports[heard.index]?.hostOf(heard.from) ?? heard.from;
    this.#pass(ports.anyFor(host) ?? shardOf(host, ownership.shards), heard, node, undefined, now);
  }

  #pass(shard: number, heard: Heard, node: PeerId, known: KnownPeer | undefined, now: Instant): void {
    const { ownership, between, counters, isLate } = this.#parts;
    const owner = ownership.ownerOf(shard);
    if (owner === "here") return this.#deliver(shard, heard, node, known, now);
    if (!owner) return counters.drop("no-owner");
    // The device may have repeated it to another gateway meanwhile, and the owner may have finished with it.
    if (isLate()) return counters.drop("stood-still");
    const record = { way: "up", shard, peer: heard.from, message: heard.bytes } as const;
    if (between.send(owner.name, record)) counters.passedOn++;
  }

  #deliver(shard: number, heard: Heard, node: PeerId, known: KnownPeer | undefined, now: Instant): void {
    const { ports, counters, isHeard, words } = this.#parts;
    const port = ports.at(shard, heard.index);
    if (!port) return counters.drop("not-serving");
    if (known?.keptAt !== undefined && !words[heard.index]?.isEncrypted) isHeard(node, known, now);
    ports.deliver(port, heard);
  }
}
