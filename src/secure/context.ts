/**
 * The DTLS context of a device after its handshake: its keys, and the sequence numbers of its records.
 *
 * **No sequence number is used twice with one key.** Otherwise the cipher would reveal the key stream, and with GCM an attacker could
 * forge records. Therefore numbers are reserved in advance. The store has a ceiling, and only numbers below a stored ceiling are used.
 * A process that reads a context from the store, after any kind of end, begins far above the ceiling. `jumpMin` is more than a gateway
 * can have sent whose store lost its last commits. A random distance is added, so that two processes that read the same copy of a
 * store do not use the same numbers. If a ceiling cannot be stored, nothing is sent.
 */
import type { Crypto } from "./crypto.ts";
import type { TrafficKeys } from "./key-schedule.ts";
import type { Instant } from "./messages.ts";
import { readNumber } from "./octets.ts";
import { type Direction, seqMax } from "./record.ts";
import type { Suite } from "./suites.ts";
import { ReplayWindow } from "./window.ts";

/** Sequence numbers that are reserved with one commit. */
export const reservedAtOnce = 1_024;
/** More records than a process can send during the commits that a store may lose. */
const jumpMin = 2 ** 24;
/** The range of a random jump. There are 2 ** 48 numbers, enough for some thousands of takeovers. */
const jumpSpread = 2 ** 36;
/** Random octets for a jump. */
export const jumpOctets = 5;
/** Messages of a context that wait for a ceiling. If there are more, the oldest one is dropped. */
const heldMax = 16;

/** The server's last flight. It is repeated as long as the device may not have received it. [RFC 6347 4.2.4] */
export interface LastFlight {
  /** The client random of that handshake, which recognizes a late copy of its ClientHello. Not stored. */
  readonly clientRandom: Uint8Array | undefined;
  /** The message Finished. */
  readonly finished: Uint8Array;
  /** The next number in epoch 0, for ChangeCipherSpec. */
  plainNext: number;
  sentAt: Instant;
  /** The time until the next repetition; doubles each time. */
  pauseMs: number;
  repeatsLeft: number;
}

/** The stored part of a context. */
export interface ContextState {
  readonly identity: string;
  readonly suite: Suite;
  /** The connection id in the device's records; undefined: the context is found by the device's address. */
  readonly cid: Uint8Array | undefined;
  /** The connection id in records to the device; undefined: records without one. */
  readonly peerCid: Uint8Array | undefined;
  readonly keys: TrafficKeys;
  /** Shows whether the identity still has the key with which this context was made. */
  readonly keyMark: Uint8Array;
  readonly address: string;
  readonly ceiling: number;
  /** The highest sequence number that was received; -1: none. */
  readonly readTop: number;
  readonly lastFlight: { readonly finished: Uint8Array; readonly plainNext: number } | undefined;
}

export interface Held {
  readonly type: number;
  readonly content: Uint8Array;
}

export class SecureContext {
  readonly identity: string;
  readonly suite: Suite;
  readonly cid: Uint8Array | undefined;
  readonly peerCid: Uint8Array | undefined;
  readonly keys: TrafficKeys;
  readonly keyMark: Uint8Array;
  readonly read: Direction;
  readonly write: Direction;
  readonly window: ReplayWindow;
  readonly held: Held[] = [];
  address: string;
  heardAt: Instant;
  /** The time when the context was last moved to the end of the list, which is ordered by silence. */
  touchedAt: Instant;
  lastFlight: LastFlight | undefined;
  /** Top of the window that is stored, or that is being stored. */
  storedTop: number;
  /** Number of its handshake in this run; 0: the context is from an earlier run. */
  begun = 0;
  /** The context was closed, or replaced by another one. Late answers of the store are then ignored. */
  isGone = false;
  #sendNext: number;
  /** The highest ceiling that is stored. */
  #ceiling: number;
  /** The highest ceiling that was passed to the store. */
  #asked: number;
  #isAsking = false;

  constructor(crypto: Crypto, state: ContextState, window: ReplayWindow, sendNext: number, now: Instant) {
    const { suite, keys } = state;
    this.identity = state.identity;
    this.suite = suite;
    this.cid = state.cid;
    this.peerCid = state.peerCid;
    this.keys = keys;
    this.keyMark = state.keyMark;
    this.address = state.address;
    this.read = direction(crypto, suite, keys.clientKey, keys.clientIv);
    this.write = direction(crypto, suite, keys.serverKey, keys.serverIv);
    this.window = window;
    this.storedTop = state.readTop;
    this.heardAt = now;
    this.touchedAt = now;
    this.#sendNext = sendNext;
    // Nothing may be sent before a ceiling is stored.
    this.#ceiling = sendNext;
    this.#asked = Math.max(state.ceiling, sendNext);
  }

  /**
   * A context from an earlier run; it begins with a number that was not used. Undefined: there are no such numbers
   * left.
   */
  static takenOver(crypto: Crypto, state: ContextState, now: Instant): SecureContext | undefined {
    const jump = jumpMin + randomNumber(crypto);
    if (state.ceiling + jump > seqMax - jumpMin) return undefined;
    const window = new ReplayWindow(state.readTop);
    const context = new SecureContext(crypto, state, window, state.ceiling + jump, now);
    const flight = state.lastFlight;
    if (flight) {
      const again = newLastFlight(flight.finished, Math.min(flight.plainNext + jumpMin, seqMax - jumpMin), undefined);
      context.lastFlight = { ...again, sentAt: Number.NEGATIVE_INFINITY };
    }
    return context;
  }

  /** A sequence number that was never used; undefined: none may be used before a ceiling is stored. */
  takeNumber(): number | undefined {
    return this.#sendNext < this.#ceiling ? this.#sendNext++ : undefined;
  }

  /** The ceiling that must be stored now; undefined: enough numbers are left, or a ceiling is being stored. */
  ceilingToAsk(): number | undefined {
    if (this.#isAsking || this.#ceiling - this.#sendNext > reservedAtOnce / 2) return undefined;
    this.#isAsking = true;
    this.#asked = Math.max(this.#asked, this.#sendNext + reservedAtOnce);
    return this.#asked;
  }

  /** The answer of the store to `ceilingToAsk`. */
  ceilingStored(ceiling: number, ok: boolean): void {
    this.#isAsking = false;
    if (ok) this.#ceiling = Math.max(this.#ceiling, ceiling);
  }

  /** True if all sequence numbers were used. */
  get isUsedUp(): boolean {
    return this.#asked > seqMax - reservedAtOnce;
  }

  /** The state to store. Later commits must not have lower numbers. */
  state(): ContextState {
    const { identity, suite, cid, peerCid, keys, keyMark, address, window, lastFlight } = this;
    const ceiling = this.#asked;
    return { identity, suite, cid, peerCid, keys, keyMark, address, ceiling, readTop: window.top, lastFlight };
  }

  /**
   * Keeps a message until a ceiling is stored.
   * @returns false: the oldest message was dropped; for the device this is a lost datagram.
   */
  hold(held: Held): boolean {
    this.held.push(held);
    if (this.held.length <= heldMax) return true;
    this.held.shift();
    return false;
  }
}

/** A random number of a record, small enough for a context's life. */
export function randomNumber(crypto: Crypto): number {
  return readNumber(crypto.random(jumpOctets), 0, jumpOctets) % jumpSpread;
}

export function newLastFlight(
  finished: Uint8Array,
  plainNext: number,
  clientRandom: Uint8Array | undefined,
): LastFlight {
  return { clientRandom, finished, plainNext, sentAt: 0, pauseMs: firstPauseMs, repeatsLeft: lastFlightRepeats };
}

/** A device repeats its last flight after at least a second, and gives up after about a minute. */
const firstPauseMs = 400;
const lastFlightRepeats = 8;

export function direction(crypto: Crypto, suite: Suite, key: Uint8Array, iv: Uint8Array): Direction {
  return { aead: crypto.aead(suite.aead, key), iv, tagOctets: suite.tagOctets };
}
