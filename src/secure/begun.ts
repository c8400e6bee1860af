/**
 * A handshake that one gateway began and another one continues. In a fleet a device's context belongs to the gateway of
 * its shard, and the shard is that of its identity. The identity comes only after the gateway's first flight, so the
 * gateway that the device wrote to makes this flight, and passes on what the other one needs.
 *
 * **A handshake may be continued once.** Continued twice, it would give the same keys twice, and numbers of records
 * would repeat; see context.ts. So the gateway that continues handshakes remembers them, and does not continue one that
 * began before the gateway had its shard: an earlier owner may have continued it.
 */
import { type Handshake, lifeMs } from "./handshake-state.ts";
import { randomOctets } from "./key-schedule.ts";
import type { Begun, Instant } from "./messages.ts";
import { hex, joined, none, number, octetsOf, Reader, readNumber, textOf, vector } from "./octets.ts";
import { suiteOf } from "./record-of.ts";

const version = 1;
/** Milliseconds that a handshake may need from one gateway to the other. */
const onTheWayMs = 200;
/**
 * Milliseconds for which a handshake is remembered after it can be handed over no more: a process may stand still, and
 * what it then receives has waited.
 */
const waitedMs = 10_000;
/** Handshakes that are remembered: about 55 a second. Further ones are refused. */
const rememberedMax = 4_096;
const seqAt = 4;
/** All bits that say which parts are there. */
const hasAll = 15;

export function begunOf(handshake: Handshake, now: Instant): Begun {
  const { agreed, transcript, messageNext, plainNext, agreement } = handshake;
  const { address, suite, clientRandom, serverRandom, isExtended, cid, peerCid } = agreed;
  const ageMs = Math.max(0, Math.ceil(now - (handshake.endsAt - lifeMs)));
  return {
    ...{ address, suite, clientRandom, serverRandom, isExtended, cid, peerCid, messageNext, plainNext, ageMs },
    transcript: joined(...transcript),
    secretHalf: agreement?.secretHalf(),
  };
}

/** The octets must be kept secret: see `secretHalf`. */
export function encodeBegun(begun: Begun): Uint8Array {
  const { suite, cid, peerCid, secretHalf } = begun;
  const has = (cid ? 1 : 0) | (peerCid ? 2 : 0) | (secretHalf ? 4 : 0) | (begun.isExtended ? 8 : 0);
  return joined(
    Uint8Array.of(version, has),
    number(suite.id, 2),
    vector(octetsOf(begun.address), 1),
    begun.clientRandom,
    begun.serverRandom,
    vector(cid ?? none, 1),
    vector(peerCid ?? none, 1),
    vector(begun.transcript, 3),
    number(begun.messageNext, 2),
    number(begun.plainNext, 6),
    vector(secretHalf ?? none, 1),
    number(begun.ageMs, 4),
  );
}

/** Undefined: the octets were not written by this version. */
export function readBegun(bytes: Uint8Array): Begun | undefined {
  const reader = new Reader(bytes);
  if (reader.number(1) !== version) return undefined;
  const has = reader.number(1);
  const suite = suiteOf(reader.number(2));
  const address = textOf(reader.vector(1));
  const clientRandom = reader.take(randomOctets).slice();
  const serverRandom = reader.take(randomOctets).slice();
  const cid = reader.vector(1).slice();
  const peerCid = reader.vector(1).slice();
  const transcript = reader.vector(3).slice();
  const messageNext = reader.number(2);
  const plainNext = reader.number(6);
  const secretHalf = reader.vector(1).slice();
  const ageMs = reader.number(4);
  if (has > hasAll || !suite || !address || !reader.ok || reader.left > 0 || transcript.length < seqAt + 2)
    return undefined;
  return {
    ...{ address, suite, clientRandom, serverRandom, isExtended: (has & 8) !== 0, transcript, messageNext, plainNext },
    cid: has & 1 ? cid : undefined,
    peerCid: has & 2 ? peerCid : undefined,
    secretHalf: has & 4 ? secretHalf : undefined,
    ageMs,
  };
}

/** Milliseconds for which the handshake may be continued, counted from when it was noted down. */
export function lifeLeftOf({ ageMs }: Begun): number {
  return lifeMs - ageMs;
}

/** The number of the client's hello, which is the first message of the transcript. */
export function helloSeqOf({ transcript }: Begun): number {
  return readNumber(transcript, seqAt, 2);
}

/** The handshakes that were continued here, so that none is continued twice. */
export class Continued {
  readonly #since: Instant;
  /** The time until which a handshake must be remembered, by the server's random octets; the oldest is first. */
  readonly #until = new Map<string, Instant>();

  /** `since`: the time from which no other gateway continues handshakes of this shard. */
  constructor(since: Instant) {
    this.#since = since;
  }

  has({ serverRandom }: Begun): boolean {
    return this.#until.has(hex(serverRandom));
  }

  /** True: the handshake may be continued now, and not a second time. False: it must not be, or too many are. */
  take({ serverRandom, ageMs }: Begun, now: Instant): boolean {
    if (ageMs > lifeMs || now - ageMs < this.#since + onTheWayMs) return false;
    for (const [key, until] of this.#until) {
      if (until > now) break;
      this.#until.delete(key);
    }
    const key = hex(serverRandom);
    if (this.#until.has(key) || this.#until.size >= rememberedMax) return false;
    this.#until.set(key, now + lifeMs + waitedMs);
    return true;
  }
}
