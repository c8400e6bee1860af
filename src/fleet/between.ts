/**
 * The socket between the gateways of a fleet. Records for one gateway in one turn of the event loop are sent together,
 * in frames that need no fragmentation. A received frame is accepted once, only from the address of a living gateway,
 * only for this run of the process, and if there is a key, only with a valid authentication code: HMAC-SHA256 cut to 16
 * octets, over everything before it. Other frames are counted and dropped.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Instant, PeerId } from "../core/types.ts";
import type { Transport } from "../transports/transport.ts";
import type { FrontCounters } from "./front-counters.ts";
import type { Member, Ownership } from "./members.ts";
import {
  canPassOn,
  codeBytes,
  frameBytesAround,
  readHead,
  readRecords,
  recordBytes,
  recordsAt,
  type Way,
  writeHead,
  writeRecord,
} from "./passed-on.ts";
import { type Gateway, Roster, tagOf } from "./roster.ts";

/**
 * Octets of a frame with several records, at most. It fits into an Ethernet frame with IPv6. A longer record is sent
 * alone.
 */
const frameBytesUsual = 1_400;

/** Frames that are kept to be used again. */
const spareMax = 64;

export interface BetweenSocket {
  /** A UDP transport for nothing else. Not started yet. */
  readonly carrier: Transport;
  /** The secret that all gateways of the fleet share; undefined: the network between them is trusted. */
  readonly key: () => Uint8Array | undefined;
  /** The id of this run of the process, as the other gateways know it. */
  readonly run: string;
}

export type Told = (level: "debug" | "info" | "warn" | "error", say: string) => void;

export interface BetweenParts extends BetweenSocket {
  readonly ownership: Pick<Ownership, "others">;
  readonly counters: FrontCounters;
  readonly told: Told;
  /** Calls at the end of this turn of the event loop. */
  readonly later: (call: () => void) => void;
  readonly now: () => Instant;
  /** As `FrontParts.retryMs`. */
  readonly retryMs: number;
}

export interface BetweenEvents {
  record(from: Member, way: Way, shard: number, peer: PeerId, message: Uint8Array): void;
  /** Calls `work`, during which many records arrive. */
  batch(work: () => void): void;
}

/** The records for one gateway that wait for the end of the turn. */
interface Bundle {
  readonly frame: Uint8Array;
  used: number;
  records: number;
  /** The time of the first record. */
  begunAt: Instant;
  /**
   * Functions that tell whether the shards in the bundle may still send. They are called again before sending, because
   * the process may have stood still meanwhile.
   */
  readonly mayLeave: Set<() => boolean>;
}

export class Between {
  readonly #parts: BetweenParts;
  readonly #roster: Roster;
  readonly #ownTag: Uint8Array;
  readonly #bundles = new Map<string, Bundle>();
  /** Bundles that were used and may be used again. */
  readonly #spare: Bundle[] = [];
  #isAsked = false;
  #events: BetweenEvents | undefined;

  constructor(parts: BetweenParts) {
    this.#parts = parts;
    this.#roster = new Roster(() => parts.ownership.others(), parts.carrier.name);
    this.#ownTag = tagOf(parts.run);
  }

  /** @throws {GatewayError} ERR_TRANSPORT_OPEN */
  async start(events: BetweenEvents): Promise<void> {
    const { carrier, key, told } = this.#parts;
    this.#events = events;
    await carrier.start({
      datagram: (from, frame) => this.#onFrame(from, frame),
      batch: (work) => events.batch(work),
      peerGone: () => {},
      failed: (error) => told("error", error.message),
      notice: told,
    });
    for (const warning of carrier.warnings) told("warn", warning);
    told("info", `datagrams of other gateways are received at ${carrier.place}`);
    if (key() === undefined)
      told(
        "warn",
        "there is no fleet.key: a datagram from the address of a gateway is accepted without proof, so the network between the gateways must be private",
      );
  }

  async close(): Promise<void> {
    this.flush();
    this.#events = undefined;
    await this.#parts.carrier.close();
  }

  /** True if a gateway of this name is alive, as far as it is known. */
  knows(name: string): boolean {
    return this.#roster.named(name) !== undefined;
  }

  /**
   * Sends the record at the end of this turn, if `mayLeave` is still true then.
   * @returns false: it cannot be sent (this is counted), or the socket is closed.
   */
  send(
    to: string,
    record: { readonly way: Way; readonly shard: number; readonly peer: PeerId; readonly message: Uint8Array },
    mayLeave?: () => boolean,
  ): boolean {
    const { counters } = this.#parts;
    const { peer, message } = record;
    if (!this.#events) return false;
    if (!canPassOn(peer, message)) {
      counters.drop("cannot-pass-on");
      return false;
    }
    const bytes = recordBytes(peer, message);
    let bundle = this.#bundles.get(to);
    if (bundle && bundle.used + bytes > frameBytesUsual - codeBytes) {
      this.#bundles.delete(to);
      this.#leave(to, bundle);
      bundle = undefined;
    }
    if (!bundle) {
      bundle = this.#bundle(bytes);
      bundle.begunAt = this.#parts.now();
      this.#bundles.set(to, bundle);
    }
    bundle.used = writeRecord(bundle.frame, bundle.used, record);
    bundle.records++;
    if (mayLeave) bundle.mayLeave.add(mayLeave);
    if (!this.#isAsked) {
      this.#isAsked = true;
      this.#parts.later(this.#atEnd);
    }
    return true;
  }

  /** Sends everything that waits. */
  flush(): void {
    for (const [to, bundle] of this.#bundles) {
      this.#bundles.delete(to);
      this.#leave(to, bundle);
    }
  }

  readonly #atEnd = (): void => {
    this.#isAsked = false;
    this.flush();
  };

  #bundle(bytes: number): Bundle {
    const needed = bytes + frameBytesAround;
    if (needed > frameBytesUsual) return newBundle(needed);
    return this.#spare.pop() ?? newBundle(frameBytesUsual);
  }

  #leave(to: string, bundle: Bundle): void {
    const { counters, carrier, key, now, retryMs } = this.#parts;
    const gateway = this.#roster.named(to);
    const mayLeave = [...bundle.mayLeave].every((may) => may());
    const isLate = now() - bundle.begunAt >= retryMs;
    if (!gateway) counters.drop("no-owner", bundle.records);
    else if (!mayLeave) counters.drop("lease-over", bundle.records);
    else if (isLate) counters.drop("stood-still", bundle.records);
    else {
      const { frame, used } = bundle;
      gateway.frames.sent++;
      writeHead(frame, { sender: this.#ownTag, receiver: gateway.tag, number: gateway.frames.sent });
      const length = used + codeBytes;
      const secret = key();
      if (secret) frame.set(codeOf(secret, frame.subarray(0, used)), used);
      else frame.fill(0, used, length);
      counters.framesOut++;
      counters.frameOctetsOut += length;
      carrier.send(gateway.peer, frame.slice(0, length));
    }
    bundle.used = recordsAt;
    bundle.records = 0;
    bundle.mayLeave.clear();
    if (bundle.frame.length === frameBytesUsual && this.#spare.length < spareMax) this.#spare.push(bundle);
  }

  #onFrame(from: PeerId, frame: Uint8Array): void {
    const { counters } = this.#parts;
    const events = this.#events;
    if (!events) return;
    counters.framesIn++;
    counters.frameOctetsIn += frame.length;
    const gateway = this.#roster.at(from);
    if (!gateway) return counters.drop("stranger");
    const head = readHead(frame);
    if (!head) return counters.drop("bad-frame");
    if (!isSame(head.sender, gateway.tag) || !isSame(head.receiver, this.#ownTag)) return counters.drop("other-run");
    if (!gateway.frames.came.isFresh(head.number)) return counters.drop("repeated");
    if (!this.#isRight(frame)) return this.#onBadCode(gateway);
    gateway.frames.came.take(head.number);
    this.#handOver(events, gateway, frame);
  }

  #onBadCode({ member, said }: Gateway): void {
    this.#parts.counters.drop("bad-code");
    if (said.has("bad-code")) return;
    said.add("bad-code");
    this.#parts.told("warn", `datagrams of ${member.name} are dropped: fleet.key is not the same there and here`);
  }

  #handOver(events: BetweenEvents, { member }: Gateway, frame: Uint8Array): void {
    let isWhole = true;
    events.batch(() => {
      isWhole = readRecords(frame, (way, shard, peer, message) => events.record(member, way, shard, peer, message));
    });
    if (!isWhole) this.#parts.counters.drop("bad-frame");
  }

  #isRight(frame: Uint8Array): boolean {
    const secret = this.#parts.key();
    if (!secret) return true;
    const end = frame.length - codeBytes;
    return timingSafeEqual(codeOf(secret, frame.subarray(0, end)), frame.subarray(end));
  }
}

function newBundle(bytes: number): Bundle {
  return { frame: new Uint8Array(bytes), used: recordsAt, records: 0, begunAt: 0, mayLeave: new Set() };
}

function codeOf(secret: Uint8Array, octets: Uint8Array): Uint8Array {
  return createHmac("sha256", secret).update(octets).digest().subarray(0, codeBytes);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
