/**
 * Parked sessions: their clients sleep, have disconnected or are lost, and nothing is open for them. There is no object
 * for such a session. Its contents are octets (session-form.ts) in a few large pieces of memory, and tables of numbers
 * find its row by client id, by address, and by the time at which its deadline is due.
 *
 * A session takes about 50 octets here in addition to its contents. SessionTable parks sessions, and makes objects of
 * them again when they are needed.
 */
import { Arena, type Place } from "../arena.ts";
import type { Found } from "../assert.ts";
import { Numbers } from "../numbers.ts";
import { RowHeap, RowOrder } from "../row-heap.ts";
import { RowIndex } from "../row-index.ts";
import type { Instant, PeerId, QoS } from "../types.ts";
import type { Session } from "./session.ts";
import type { Glance, SessionForm } from "./session-form.ts";

export class ParkedSessions {
  readonly #form: SessionForm;
  readonly #arena = new Arena((row, address) => {
    this.#addresses.set(row, address);
  });
  /** By row: the address of the octets; 0: the session is not parked. */
  readonly #addresses = new Numbers(Int32Array);
  readonly #byClientId: RowIndex;
  readonly #byPeer: RowIndex;
  /**
   * Rows in the order in which their deadlines are due. For disconnected and lost clients this is also the order in
   * which they have left.
   */
  readonly #order = new RowOrder();
  readonly #asleep = new RowHeap(this.#order);
  readonly #idle = { vouched: new RowHeap(this.#order), others: new RowHeap(this.#order) };

  /** `seed`: a secret number. */
  constructor(form: SessionForm, seed: number) {
    this.#form = form;
    this.#byClientId = new RowIndex(seed);
    this.#byPeer = new RowIndex(~seed);
  }

  get size(): number {
    return this.#byClientId.size;
  }

  has(row: number): boolean {
    return this.#addresses.get(row) !== 0;
  }

  /** There may be no place for one more. */
  get isFull(): boolean {
    return this.#arena.isFull;
  }

  /** Is there one in this row that subscribes to this filter at this QoS? Without what the broker has refused. */
  subscribes(row: number, filter: string, qos: QoS): boolean {
    return this.has(row) && this.#form.subscribes(this.#place(row), filter, qos);
  }

  /** All filters of which that can be said. */
  filtersOf(row: number, qos: QoS): Iterable<string> {
    return this.has(row) ? this.#form.filtersOf(this.#place(row), qos) : [];
  }

  /** The row of this client; `noRow`: its session is not parked. */
  rowOf(clientId: string): number {
    return this.#byClientId.find(clientId, (row) => this.#form.isOf(this.#place(row), clientId));
  }

  /** The row of the client at this address; `noRow`: none is parked. */
  rowAt(peer: PeerId): number {
    return this.#byPeer.find(peer, (row) => this.#form.isAt(this.#place(row), peer));
  }

  /** Keeps the contents of this session. `due`: when its deadline is due. */
  add(session: Session, due: Instant): void {
    const { row, clientId, peer } = session;
    const { octets, length } = this.#form.write(session);
    this.#addresses.set(row, this.#arena.add(row, octets, length));
    this.#byClientId.add(clientId, row);
    if (peer !== undefined) this.#byPeer.add(peer, row);
    this.#heapOf(session).add(row, due);
  }

  /**
   * Makes a session from these contents. `silence` has the time of its deadline, but the deadline is not set. The
   * session stays parked: this is a copy for reading.
   */
  look(row: number): Session {
    const session = this.#form.read(this.#place(row));
    session.row = row;
    session.isParked = true;
    session.silence.at = this.#order.keys.get(row);
    return session;
  }

  glance(row: number): Glance {
    return this.#form.glance(this.#place(row));
  }

  /** Returns the session, and when its deadline is due. It is not parked any more. */
  take(row: number): { readonly session: Session; readonly due: Instant } {
    const place = this.#place(row);
    const session = this.#form.read(place);
    const due = this.#order.keys.get(row);
    this.#byClientId.remove(row);
    if (session.peer !== undefined) this.#byPeer.remove(row);
    this.#heapOf(session).remove(row);
    this.#form.release(place);
    const address = this.#addressOf(row);
    this.#addresses.set(row, 0);
    this.#arena.remove(address);
    session.row = row;
    return { session, due };
  }

  /** The row whose deadline is due first, and the time; undefined: no session is parked. */
  get next(): { readonly row: number; readonly due: Instant } | undefined {
    let next: { readonly row: number; readonly due: Instant } | undefined;
    for (const heap of [this.#asleep, this.#idle.vouched, this.#idle.others]) {
      const { first, lowest } = heap;
      if (first !== undefined && (!next || lowest < next.due)) next = { row: first, due: lowest };
    }
    return next;
  }

  /** When the first deadline is due; Infinity: no session is parked. */
  get nextDue(): Instant {
    return Math.min(this.#asleep.lowest, this.#idle.vouched.lowest, this.#idle.others.lowest);
  }

  /** Among the disconnected and lost clients the one that left first: its row, its deadline, and when it was heard. */
  longestIdle({
    vouched,
  }: {
    readonly vouched: boolean;
  }): { readonly row: number; readonly due: Instant; readonly lastHeard: Instant } | undefined {
    const { first: row, lowest: due } = vouched ? this.#idle.vouched : this.#idle.others;
    return row === undefined ? undefined : { row, due, lastHeard: this.#form.glance(this.#place(row)).lastHeard };
  }

  /** The silence until now does not count against clients that sleep. */
  noteSleepersHeard(now: Instant): void {
    for (const row of this.#asleep.rows()) this.#form.noteHeard(this.#place(row), now);
  }

  /** A copy of all rows, as they are now. */
  rows(): Int32Array {
    const rows = new Int32Array(this.size);
    let at = 0;
    for (const heap of [this.#asleep, this.#idle.vouched, this.#idle.others])
      for (const row of heap.rows()) rows[at++] = row;
    return rows;
  }

  /** The octets of all contents. */
  get octets(): number {
    return this.#arena.octets;
  }

  /** Checks that the tables agree. For tests. */
  check(found: Found): void {
    for (const table of [this.#byClientId, this.#byPeer, this.#asleep, this.#idle.vouched, this.#idle.others])
      table.check(found);
    this.#arena.check((row) => this.#addressOf(row), found);
    const rows = this.rows();
    if (rows.length !== this.size) found(`${rows.length} parked sessions have a deadline, ${this.size} are counted`);
    let peers = 0;
    for (const row of rows) {
      const session = this.look(row);
      if (this.rowOf(session.clientId) !== row) found(`parked client ${session.clientId} is not found by its id`);
      if (session.peer === undefined) continue;
      peers++;
      if (this.rowAt(session.peer) !== row) found(`parked client ${session.clientId} is not found at ${session.peer}`);
    }
    if (peers !== this.#byPeer.size)
      found(`${peers} parked clients have an address, ${this.#byPeer.size} are found by it`);
    if (rows.length !== this.#arena.size)
      found(`${this.#arena.size} rows have octets, ${rows.length} parked sessions have a deadline`);
  }

  #place(row: number): Place {
    return this.#arena.place(this.#addressOf(row));
  }

  /** Addresses have 32 bits without a sign. */
  #addressOf(row: number): number {
    return this.#addresses.get(row) >>> 0;
  }

  #heapOf({ state, vouched }: Session): RowHeap {
    if (state === "asleep") return this.#asleep;
    return vouched ? this.#idle.vouched : this.#idle.others;
  }
}
