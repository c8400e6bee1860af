/**
 * Disconnected and lost sessions that are objects. The one whose client has been away for the longest time is the
 * first. This is a binary heap of sessions, and each session knows its position. (Parked sessions are in
 * parked-sessions.ts.)
 */
import type { Found } from "../assert.ts";
import type { Instant } from "../types.ts";
import { noIdlePlace, type Session } from "./session.ts";

export class IdleOrder {
  readonly #heap: Session[] = [];

  get size(): number {
    return this.#heap.length;
  }

  has(session: Session): boolean {
    return this.#heap[session.idlePlace] === session;
  }

  /**
   * Sessions are ordered by `since`, the lowest first, and for the same `since` by `number`. The session must be in no
   * such order.
   */
  add(session: Session, since: Instant, number: number): void {
    session.idleSince = since;
    session.idleNumber = number;
    this.#rise(this.#heap.length, session);
  }

  /** Removes the session. Has no effect if the session is not here. */
  remove(session: Session): void {
    if (!this.has(session)) return;
    const place = session.idlePlace;
    session.idlePlace = noIdlePlace;
    const last = this.#heap.pop();
    if (!last || last === session) return;
    const parent = this.#heap[(place - 1) >> 1];
    if (place > 0 && parent && isBefore(last, parent)) this.#rise(place, last);
    else this.#sink(place, last);
  }

  /** The first session for which `test` is true. Costs little if few sessions before it are refused. */
  first(test: (session: Session) => boolean): Session | undefined {
    let best: Session | undefined;
    const open = [0];
    for (let place = open.pop(); place !== undefined; place = open.pop()) {
      const session = this.#heap[place];
      if (!session || (best && !isBefore(session, best))) continue; // and so are the sessions below it
      if (test(session)) best = session;
      else open.push(2 * place + 1, 2 * place + 2);
    }
    return best;
  }

  /** Checks that each session knows its position and that the order is correct. For tests. */
  check(found: Found): void {
    for (const [place, session] of this.#heap.entries()) {
      const parent = this.#heap[(place - 1) >> 1];
      if (session.idlePlace !== place)
        found(`client ${session.clientId} has another place among those without a client`);
      if (place > 0 && parent && isBefore(session, parent)) found(`client ${session.clientId} is out of order`);
    }
  }

  all(): IterableIterator<Session> {
    return this.#heap.values();
  }

  #put(place: number, session: Session): void {
    this.#heap[place] = session;
    session.idlePlace = place;
  }

  #rise(from: number, session: Session): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above];
      if (!parent || !isBefore(session, parent)) break;
      this.#put(place, parent);
      place = above;
    }
    this.#put(place, session);
  }

  #sink(from: number, session: Session): void {
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      let child = this.#heap[below];
      const other = this.#heap[below + 1];
      if (child && other && isBefore(other, child)) {
        child = other;
        below++;
      }
      if (!child || !isBefore(child, session)) break;
      this.#put(place, child);
      place = below;
    }
    this.#put(place, session);
  }
}

function isBefore(one: Session, other: Session): boolean {
  return one.idleSince < other.idleSince || (one.idleSince === other.idleSince && one.idleNumber < other.idleNumber);
}
