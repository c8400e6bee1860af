/**
 * Filters of parked clients that share a connection. If a filter is that of one client only, the client is parked, and nothing is under way for
 * the filter, then there is no object for it (it *rests*): the index of the connection keeps the row and the QoS of the client in one
 * number, and the text is among the octets of the session.
 *
 * The filter is an object again when its client is not parked any more, or when somebody asks for it. In the second case it may rest again
 * at the end of the turn, because nobody holds the object then.
 */
import type { SharedFilter } from "./exchanges.ts";
import type { Rests } from "./filter-index.ts";
import { numberOf, qosIn, rowIn } from "./members.ts";
import type { ParkedSessions } from "./parked-sessions.ts";
import type { Session } from "./session.ts";
import { newSharedFilter, type SharedConnection } from "./shared-connection.ts";

type Lane = SharedConnection<Session>;

export class RestingFilters {
  readonly #parked: ParkedSessions;
  readonly #rests = new Map<Lane, Rests<SharedFilter<Session>>>();
  /** Of this turn. */
  readonly #quiet: [lane: Lane, entry: SharedFilter<Session>][] = [];

  constructor(parked: ParkedSessions) {
    this.#parked = parked;
  }

  /** The session is parked from now on. Nobody may hold one of its filters. */
  restOf({ shared, subscriptions }: Session): void {
    if (!shared) return;
    for (const { filter, isRefused } of subscriptions.values()) {
      if (isRefused) continue;
      const entry = shared.filters.get(filter);
      if (entry) this.#rest(shared, entry);
      else for (const lane of shared.lanes) this.#restIn(lane, filter);
    }
  }

  /** The session is not parked any more. */
  wakeOf({ shared, subscriptions, row }: Session): void {
    if (!shared) return;
    for (const { filter, qos } of subscriptions.values()) {
      shared.filters.wake(filter, numberOf(row, qos));
      for (const { filters } of shared.lanes) filters.wake(filter, numberOf(row, qos));
    }
  }

  /** This filter may rest from the end of the turn on. */
  noteQuiet(lane: Lane, entry: SharedFilter<Session>): void {
    this.#quiet.push([lane, entry]);
  }

  /** The turn ends: nobody holds a filter. */
  endTurn(): void {
    if (this.#quiet.length > 0) for (const [lane, entry] of this.#quiet.splice(0)) this.#rest(lane, entry);
  }

  #restIn(lane: Lane, filter: string): void {
    const entry = lane.filters.get(filter);
    if (entry) this.#rest(lane, entry);
  }

  #rest(lane: Lane, entry: SharedFilter<Session>): void {
    const { only, filter } = entry;
    const rests = this.#restsOf(lane);
    if (only !== undefined && lane.isQuiet(entry) && rests.has(only, filter)) lane.filters.rest(entry, only, rests);
  }

  #restsOf(lane: Lane): Rests<SharedFilter<Session>> {
    const known = this.#rests.get(lane);
    if (known) return known;
    const parked = this.#parked;
    const rests: Rests<SharedFilter<Session>> = {
      has: (number, filter) => parked.subscribes(rowIn(number), filter, qosIn(number)),
      filtersOf: (number) => parked.filtersOf(rowIn(number), qosIn(number)),
      make: (filter, number) => {
        const entry = newSharedFilter<Session>(filter);
        entry.members.set(rowIn(number), qosIn(number));
        return entry;
      },
      woken: (entry) => this.noteQuiet(lane, entry),
    };
    this.#rests.set(lane, rests);
    return rests;
  }
}
