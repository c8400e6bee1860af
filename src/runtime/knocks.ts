/**
 * Refused devices, for an operator who needs to know why a device is not admitted. They are recorded even while no page
 * is open, because they are few.
 */
import type { GatewayEvent } from "../core/event.ts";
import type { PeerId } from "../core/types.ts";
import type { TurnedAway } from "../transports/transport.ts";

/** Attackers can invent client ids. Beyond this limit, the device whose last attempt is the oldest is forgotten. */
const knocksMax = 200;

export interface Knock {
  readonly what: "client" | "qosMinusOne" | "forwarder" | "refused" | "key";
  /** The client id. For a `key`, the identity, if the device sent one. */
  readonly clientId: string | undefined;
  readonly peer: PeerId;
  /** The cause, if it is not a rule of `access`. */
  readonly why: string;
  /** The line of configuration that would admit the client; "": no line would. */
  readonly hint: string;
  readonly times: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
}

export class Knocks {
  readonly #byWho = new Map<string, Knock>();
  readonly #wallClock: () => number;

  constructor(wallClock: () => number) {
    this.#wallClock = wallClock;
  }

  /** All refused devices, the last one first. */
  get all(): readonly Knock[] {
    return [...this.#byWho.values()].reverse();
  }

  get size(): number {
    return this.#byWho.size;
  }

  note(event: GatewayEvent): boolean {
    if (event.event === "not_admitted") {
      const { what, clientId, peer, hint } = event;
      this.#add(`${what} ${clientId ?? peer}`, { what, clientId, peer, hint, why: "no rule of access admits it" });
    } else if (event.event === "connect_refused" && !event.why.startsWith("not admitted")) {
      const { clientId, peer, why } = event;
      this.#add(`refused ${clientId}`, { what: "refused", clientId, peer, hint: "", why });
    } else if (event.event === "client_state" && event.state === "active") return this.forget(event.clientId);
    else return false;
    return true;
  }

  /** The device was refused before its first message, because it could not prove its identity. */
  noteTurnedAway({ identity, from, why }: TurnedAway, hint: string): void {
    const who = identity === undefined ? `host ${from.replace(/:\d+$/, "")}` : `key ${identity}`; // the address without its port
    this.#add(who, { what: "key", clientId: identity, peer: from, why, hint });
  }

  /** The client was admitted, or the operator removed it from the list. */
  forget(clientId: string): boolean {
    if (this.#byWho.size === 0) return false;
    const was = this.#byWho.delete(`client ${clientId}`);
    const hadNoKey = this.#byWho.delete(`key ${clientId}`);
    return this.#byWho.delete(`refused ${clientId}`) || hadNoKey || was;
  }

  #add(who: string, found: Omit<Knock, "times" | "firstAt" | "lastAt">): void {
    const now = this.#wallClock();
    const before = this.#byWho.get(who);
    this.#byWho.delete(who);
    this.#byWho.set(who, { ...found, times: (before?.times ?? 0) + 1, firstAt: before?.firstAt ?? now, lastAt: now });
    if (this.#byWho.size <= knocksMax) return;
    const oldest = this.#byWho.keys().next();
    if (!oldest.done) this.#byWho.delete(oldest.value);
  }
}
