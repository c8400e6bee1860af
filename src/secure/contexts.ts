/** All contexts, by identity, by connection id and by address; and open handshakes (`Handshake`). */
import type { SecureContext } from "./context.ts";
import type { Handshake } from "./handshake-state.ts";
import type { Instant } from "./messages.ts";
import { hex } from "./octets.ts";

const touchEveryMs = 1_000;

export class Contexts {
  /** The contexts by identity. The one that was silent for longest is first. */
  readonly #byIdentity = new Map<string, SecureContext>();
  readonly #byCid = new Map<string, SecureContext | Handshake>();
  readonly #byAddress = new Map<string, SecureContext>();
  readonly #handshakes = new Map<string, Handshake>();
  readonly #handshakesOfHost = new Map<string, number>();

  get size(): number {
    return this.#byIdentity.size;
  }

  get handshakes(): ReadonlyMap<string, Handshake> {
    return this.#handshakes;
  }

  /** Handshakes of this host, from all its ports. */
  handshakesOf(host: string): number {
    return this.#handshakesOfHost.get(host) ?? 0;
  }

  of(identity: string): SecureContext | undefined {
    return this.#byIdentity.get(identity);
  }

  /** The context whose device uses this connection id, or the open handshake that gave it. */
  ofCid(cid: Uint8Array): SecureContext | Handshake | undefined {
    return this.#byCid.get(hex(cid));
  }

  /** The context that last finished a handshake at this address, or moved to it. */
  at(address: string): SecureContext | undefined {
    return this.#byAddress.get(address);
  }

  handshakeAt(address: string): Handshake | undefined {
    return this.#handshakes.get(address);
  }

  all(): IterableIterator<SecureContext> {
    return this.#byIdentity.values();
  }

  quietest(): SecureContext | undefined {
    return this.#byIdentity.values().next().value;
  }

  /** Adds a context. Returns the earlier one of this identity, which it replaces. */
  add(context: SecureContext): SecureContext | undefined {
    const old = this.#byIdentity.get(context.identity);
    if (old) this.remove(old);
    this.#byIdentity.set(context.identity, context);
    this.#byAddress.set(context.address, context);
    if (context.cid) this.#byCid.set(hex(context.cid), context);
    return old;
  }

  /** The device was heard: its context moves to the end of the list, at most once a second. So the order is exact to a second. */
  touch(context: SecureContext, now: Instant): void {
    if (now - context.touchedAt < touchEveryMs) return;
    context.touchedAt = now;
    this.#byIdentity.delete(context.identity);
    this.#byIdentity.set(context.identity, context);
  }

  move(context: SecureContext, address: string): void {
    if (this.#byAddress.get(context.address) === context) this.#byAddress.delete(context.address);
    context.address = address;
    // A context without a connection id can only be found by its address, so it keeps the entry.
    if (this.#byAddress.get(address)?.cid !== undefined || !this.#byAddress.has(address))
      this.#byAddress.set(address, context);
  }

  remove(context: SecureContext): void {
    context.isGone = true;
    if (this.#byIdentity.get(context.identity) === context) this.#byIdentity.delete(context.identity);
    if (this.#byAddress.get(context.address) === context) this.#byAddress.delete(context.address);
    if (context.cid && this.#byCid.get(hex(context.cid)) === context) this.#byCid.delete(hex(context.cid));
  }

  addHandshake(handshake: Handshake): void {
    this.#handshakes.set(handshake.address, handshake);
    this.#handshakesOfHost.set(handshake.host, this.handshakesOf(handshake.host) + 1);
    if (handshake.cid) this.#byCid.set(hex(handshake.cid), handshake);
  }

  removeHandshake(handshake: Handshake): void {
    if (this.#handshakes.get(handshake.address) !== handshake) return;
    this.#handshakes.delete(handshake.address);
    const others = this.handshakesOf(handshake.host) - 1;
    if (others > 0) this.#handshakesOfHost.set(handshake.host, others);
    else this.#handshakesOfHost.delete(handshake.host);
    if (handshake.cid && this.#byCid.get(hex(handshake.cid)) === handshake) this.#byCid.delete(hex(handshake.cid));
  }
}
