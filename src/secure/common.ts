/** The parts of the server share these: options, tables, and the output for effects. */
import type { Contexts } from "./contexts.ts";
import type { Credentials } from "./credentials.ts";
import type { Crypto } from "./crypto.ts";
import type { SecureChange, SecureCounters, SecureEffect } from "./messages.ts";
import type { Suite } from "./suites.ts";

export interface SecureOptions {
  /** The supported suites; the client's order decides. */
  readonly suites: readonly Suite[];
  /** True: handshakes end with the effect `named`, when the client has said who it is; absent: false. */
  readonly handsOver?: boolean;
  /** True: no handshake begins here, those of other gateways are continued; absent: false. */
  readonly beginsNone?: boolean;
  /**
   * The credentials for suites with certificates; undefined: these suites are not offered. Called at each handshake.
   */
  readonly credentials?: (() => Credentials | undefined) | undefined;
  /** Length of the connection ids that devices get; 0: none are given. */
  readonly cidOctets: number;
  readonly contextsMax: number;
  /** Open handshakes in total, and from one host. */
  readonly handshakesMax: number;
  readonly handshakesPerHostMax: number;
  /**
   * ClientHellos per second that are processed, counted separately with a cookie and without one. Further ones are
   * dropped and counted.
   */
  readonly hellosPerSecondMax: number;
  /** A context without messages for this time is dropped. */
  readonly idleMs: number;
  /** The greatest age of the stored receive window: after a crash, records of this time can be replayed once. */
  readonly storeTopEveryMs: number;
}

export class Common {
  readonly crypto: Crypto;
  readonly options: SecureOptions;
  readonly contexts: Contexts;
  readonly counters: SecureCounters;
  /** Used in place of the key of an unknown identity, so that it cannot be distinguished from a wrong key. */
  readonly strangersSecret: Uint8Array;
  #effects: SecureEffect[] = [];
  #token = 0;
  /** Contexts that are being stored and are not in use yet, by identity. */
  readonly #storing = new Map<string, number>();
  #begun = 0;
  readonly #promised = new Map<number, (ok: boolean) => void>();
  readonly #awaited = new Map<number, (key: Uint8Array | undefined) => void>();

  constructor(crypto: Crypto, options: SecureOptions, contexts: Contexts, counters: SecureCounters) {
    this.crypto = crypto;
    this.options = options;
    this.contexts = contexts;
    this.counters = counters;
    this.strangersSecret = crypto.random(32);
  }

  say(effect: SecureEffect): void {
    this.#effects.push(effect);
  }

  take(): readonly SecureEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** `then` is called with the key of this identity, if there is one. */
  askKey(identity: string, then: (key: Uint8Array | undefined) => void): void {
    const token = ++this.#token;
    this.#awaited.set(token, then);
    this.say({ kind: "askKey", identity, token });
  }

  keyCame(token: number, key: Uint8Array | undefined): void {
    const then = this.#awaited.get(token);
    this.#awaited.delete(token);
    then?.(key);
  }

  /** Handshakes are numbered. Of two handshakes of one device, the later one counts. */
  nextBegun(): number {
    return ++this.#begun;
  }

  /** True if a new context of this device is being stored. An older one must not be stored after it. */
  isStoring(identity: string): boolean {
    return this.#storing.has(identity);
  }

  noteStoring(identity: string, by: 1 | -1): void {
    const count = (this.#storing.get(identity) ?? 0) + by;
    if (count > 0) this.#storing.set(identity, count);
    else this.#storing.delete(identity);
  }

  /** `then` is called with the result. */
  persist(changes: readonly SecureChange[], then: (ok: boolean) => void): void {
    const token = ++this.#token;
    this.#promised.set(token, then);
    this.say({ kind: "persist", changes, token });
  }

  persisted(token: number, ok: boolean): void {
    const then = this.#promised.get(token);
    this.#promised.delete(token);
    then?.(ok);
  }
}
