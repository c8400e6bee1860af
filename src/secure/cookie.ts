/**
 * A sender of ClientHello must first show that it receives datagrams at its address: it returns a cookie that only this server can have
 * made. The server stores nothing for it. [RFC 6347 4.2.1]
 */
import type { Crypto } from "./crypto.ts";
import { isEqual, octetsOf } from "./octets.ts";

const cookieOctets = 16;
/** A cookie is good for this long at least, and for twice that at most. */
const secretMs = 600_000;

type Hmac = ReturnType<Crypto["hmac"]>;

export class CookieMaker {
  readonly #crypto: Crypto;
  #current: Hmac;
  #before: Hmac | undefined;
  #since: number;

  constructor(crypto: Crypto, now: number) {
    this.#crypto = crypto;
    this.#current = this.#fresh();
    this.#since = now;
  }

  make(address: string, hello: readonly Uint8Array[], now: number): Uint8Array {
    this.#turn(now);
    return cookieOf(this.#current, address, hello);
  }

  isValid(cookie: Uint8Array, address: string, hello: readonly Uint8Array[], now: number): boolean {
    if (cookie.length !== cookieOctets) return false;
    this.#turn(now);
    if (isEqual(cookie, cookieOf(this.#current, address, hello))) return true;
    return this.#before !== undefined && isEqual(cookie, cookieOf(this.#before, address, hello));
  }

  #turn(now: number): void {
    const age = now - this.#since;
    if (age < secretMs) return;
    this.#before = age < 2 * secretMs ? this.#current : undefined;
    this.#current = this.#fresh();
    this.#since = now;
  }

  #fresh(): Hmac {
    return this.#crypto.hmac(this.#crypto.random(32));
  }
}

function cookieOf(hmac: Hmac, address: string, hello: readonly Uint8Array[]): Uint8Array {
  return hmac(octetsOf(`${address}\n`), ...hello).subarray(0, cookieOctets);
}
