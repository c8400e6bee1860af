/**
 * A device whose handshake is done: its keys, and the numbers of its records.
 *
 * **No number is used twice under one key, ever**: the cipher would give the key stream away, and with GCM the means to
 * forge. So numbers are reserved ahead. What is stored is a ceiling; only numbers below a ceiling that is known to be
 * stored are used, and whoever takes a context over, after any end, begins far above it: `jumpMin` further even a gateway
 * whose store lost its last commits has not come, and a random distance besides keeps those apart that take over from one
 * and the same copy of a store. A ceiling that cannot be stored stops the sending.
 */
import type { Crypto } from "./crypto.ts";
import type { TrafficKeys } from "./key-schedule.ts";
import type { Instant } from "./messages.ts";
import { readNumber } from "./octets.ts";
import { type Direction, seqMax } from "./record.ts";
import type { Suite } from "./suites.ts";
import { ReplayWindow } from "./window.ts";

/** Numbers reserved with one commit. */
export const reservedAtOnce = 1_024;
/** More than any process sends between two commits that were lost. */
const jumpMin = 2 ** 24;
/** Room for some thousands of taking overs: 2 ** 48 in all. */
const jumpSpread = 2 ** 36;
/** Drawn for a jump. */
export const jumpOctets = 5;
/** Messages that wait for a ceiling, each context. */
const heldMax = 16;

/** The server's last flight, repeated while the device may not have it. [RFC 6347 4.2.4] */
export interface LastFlight {
  /** The device's random of that handshake: a ClientHello that comes late is known by it. Not stored. */
  readonly clientRandom: Uint8Array | undefined;
  /** The message Finished. */
  readonly finished: Uint8Array;
  /** The next number in epoch 0, for ChangeCipherSpec. */
  plainNext: number;
  sentAt: Instant;
  /** Not repeated sooner; doubles. */
  pauseMs: number;
  repeatsLeft: number;
}

/** What is stored of a context. */
export interface ContextState {
  readonly identity: string;
  readonly suite: Suite;
  /** By which the device names us this context; undefined: it is found by its address. */
  readonly cid: Uint8Array | undefined;
  /** By which it wants its own records named; undefined: bare records. */
  readonly peerCid: Uint8Array | undefined;
  readonly keys: TrafficKeys;
  /** Tells whether the identity still has the key that this context was made with. */
  readonly keyMark: Uint8Array;
  readonly address: string;
  readonly ceiling: number;
  /** The highest number that came; -1: none. */
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
  /** When it went to the end of the row of those that are silent. */
  touchedAt: Instant;
  lastFlight: LastFlight | undefined;
  /** Of the window, as it is stored or on its way there. */
  storedTop: number;
  /** The number of its handshake; 0: of an earlier run. */
  begun = 0;
  /** It was closed, or another took its place: late answers of the store mean nothing to it. */
  isGone = false;
  #sendNext: number;
  /** Stored for certain. */
  #ceiling: number;
  /** The highest that was ever given to the store. */
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
    // Nothing may be sent until a ceiling is stored.
    this.#ceiling = sendNext;
    this.#asked = Math.max(state.ceiling, sendNext);
  }

  /** Of an earlier run: goes on where no number was used. undefined: there is no room for that. */
  static takenOver(crypto: Crypto, state: ContextState, now: Instant): SecureContext | undefined {
    const jump = jumpMin + (readNumber(crypto.random(jumpOctets), 0, jumpOctets) % jumpSpread);
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

  /** A number that was never used; undefined: none may be now. */
  takeNumber(): number | undefined {
    return this.#sendNext < this.#ceiling ? this.#sendNext++ : undefined;
  }

  /** The ceiling that is to be stored now; undefined: there is room enough, or one is on its way. */
  ceilingToAsk(): number | undefined {
    if (this.#isAsking || this.#ceiling - this.#sendNext > reservedAtOnce / 2) return undefined;
    this.#isAsking = true;
    this.#asked = Math.max(this.#asked, this.#sendNext + reservedAtOnce);
    return this.#asked;
  }

  /** The store answered what `ceilingToAsk` said. */
  ceilingStored(ceiling: number, ok: boolean): void {
    this.#isAsking = false;
    if (ok) this.#ceiling = Math.max(this.#ceiling, ceiling);
  }

  /** All numbers were used. */
  get isUsedUp(): boolean {
    return this.#asked > seqMax - reservedAtOnce;
  }

  /** What no other commit may fall below. */
  state(): ContextState {
    const { identity, suite, cid, peerCid, keys, keyMark, address, window, lastFlight } = this;
    const ceiling = this.#asked;
    return { identity, suite, cid, peerCid, keys, keyMark, address, ceiling, readTop: window.top, lastFlight };
  }

  /** Waits for a ceiling; the oldest makes way, as a datagram is lost. */
  hold(held: Held): boolean {
    this.held.push(held);
    if (this.held.length <= heldMax) return true;
    this.held.shift();
    return false;
  }
}

export function newLastFlight(
  finished: Uint8Array,
  plainNext: number,
  clientRandom: Uint8Array | undefined,
): LastFlight {
  return { clientRandom, finished, plainNext, sentAt: 0, pauseMs: firstPauseMs, repeatsLeft: lastFlightRepeats };
}

/** A device repeats its last flight after a second at the soonest, and gives up after a minute or so. */
const firstPauseMs = 400;
const lastFlightRepeats = 8;

export function direction(crypto: Crypto, suite: Suite, key: Uint8Array, iv: Uint8Array): Direction {
  return { aead: crypto.aead(suite.aead, key), iv, tagOctets: suite.tagOctets };
}
