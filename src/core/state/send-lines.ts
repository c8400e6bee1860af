/**
 * The packets that wait to be sent over one connection. Each client has a line of packets, and the lines stand in a
 * row. The first line in the row sends one packet and goes to the end of the row. So one busy client of a shared
 * connection does not delay the others, and the packets of each client stay in order.
 *
 * An empty line is kept for a while, because a client that had to wait once often has to wait again. A line knows its
 * client by name and has no reference to a session.
 */
import { Queue } from "../queue.ts";
import { SmallMap } from "../small-map.ts";
import type { Exchange, ExchangeClient } from "./exchanges.ts";

/** The waiting packets of one client, or of all clients that share a request. */
interface Line<Client extends ExchangeClient> {
  readonly packets: Exchange<Client>[];
  /** The row in which the line stands; undefined: the line is empty and stands in no row. */
  row: Queue<Line<Client>> | undefined;
}

/** At most so many empty lines are kept in addition to the number of lines that are not empty. */
const emptyMax = 256;

const nothing: readonly never[] = [];

const nameOfRequest = (filter: string) => `\u0000${filter}`;

export class SendLines<Client extends ExchangeClient> {
  readonly #isShared: boolean;
  /** Whether the packet still waits and was not given up meanwhile. */
  readonly #waits: (exchange: Exchange<Client>) => boolean;
  readonly #lines = new SmallMap<string, Line<Client>>();
  /** The number of lines that stand in no row. */
  #empty = 0;
  readonly #free = new Queue<Line<Client>>();
  /**
   * Lines whose next packet has QoS 2, while the broker accepts no more of QoS 2. The other lines do not wait for them.
   */
  readonly #exactlyOnce = new Queue<Line<Client>>();
  /** Lines whose next packet is a suspect. */
  readonly #held = new Queue<Line<Client>>();

  constructor(isShared: boolean, waits: (exchange: Exchange<Client>) => boolean) {
    this.#isShared = isShared;
    this.#waits = waits;
  }

  /** A packet waits that no suspect holds back. */
  get hasFree(): boolean {
    return this.#free.length > 0 || this.#exactlyOnce.length > 0;
  }

  get isEmpty(): boolean {
    return !this.hasFree && this.#held.length === 0;
  }

  add(exchange: Exchange<Client>): void {
    const name = this.#nameOf(exchange);
    let line = this.#lines.get(name);
    if (!line) {
      line = { packets: [], row: undefined };
      this.#lines.set(name, line);
      this.#empty++;
    }
    line.packets.push(exchange);
    if (!line.row) this.#place(line);
  }

  /** The line in which this packet waits, or would wait. */
  lineOf(exchange: Exchange<Client>): readonly Exchange<Client>[] {
    return this.#lines.get(this.#nameOf(exchange))?.packets ?? nothing;
  }

  /** Whether a request for this filter waits. */
  hasRequestFor(filter: string): boolean {
    const line = this.#lines.get(this.#isShared ? nameOfRequest(filter) : "");
    const isFor = (exchange: Exchange<Client>) => exchange.kind !== "publish" && exchange.filter === filter;
    return line?.packets.some((exchange) => isFor(exchange) && this.#waits(exchange)) === true;
  }

  /** Whether a publication of this client waits. */
  hasWaiting(clientId: string): boolean {
    const line = this.#lines.get(this.#isShared ? clientId : "");
    return line !== undefined && line.packets.length > 0;
  }

  clear(): void {
    this.#lines.clear();
    this.#empty = 0;
    for (const row of [this.#free, this.#exactlyOnce, this.#held]) row.clear();
  }

  /** Returns the next packet that may be sent now, and takes it out of its line. */
  next(mayExactlyOnce: boolean): Exchange<Client> | undefined {
    return (
      (mayExactlyOnce ? this.#nextOf(this.#exactlyOnce, true) : undefined) ?? this.#nextOf(this.#free, mayExactlyOnce)
    );
  }

  #nextOf(row: Queue<Line<Client>>, mayExactlyOnce: boolean): Exchange<Client> | undefined {
    for (let line = row.shift(); line; line = row.shift()) {
      this.#leave(line);
      const first = this.#firstOf(line);
      if (!first) continue;
      if (first.suspicion?.isSuspect) {
        this.#stand(line, this.#held);
        continue;
      }
      if (!mayExactlyOnce && first.kind === "publish" && first.publication.qos === 2) {
        this.#stand(line, this.#exactlyOnce);
        continue;
      }
      line.packets.shift();
      if (line.packets.length > 0) this.#place(line);
      else this.#tidy();
      return first;
    }
    return undefined;
  }

  /** This packet is sent out of turn, as a test. */
  take(exchange: Exchange<Client>): void {
    const line = this.#lines.get(this.#nameOf(exchange));
    const at = line?.packets.indexOf(exchange) ?? -1;
    if (!line?.row || at < 0) return;
    line.packets.splice(at, 1);
    line.row.remove(line);
    this.#leave(line);
    if (line.packets.length > 0) this.#place(line);
  }

  /**
   * Lines that a suspect held back and does not hold back any more continue. Packets that were given up are skipped.
   */
  sift(): void {
    for (let left = this.#held.length; left > 0; left--) {
      const line = this.#held.shift();
      if (!line) return;
      this.#leave(line);
      const first = this.#firstOf(line);
      if (first) this.#stand(line, first.suspicion?.isSuspect ? this.#held : this.#free);
    }
  }

  /** A packet waits that is not held back. */
  hasOthers(): boolean {
    for (const row of [this.#free, this.#exactlyOnce]) {
      for (let line = row.first; line; line = row.first) {
        if (this.#firstOf(line)) return true;
        row.shift();
        this.#leave(line);
      }
    }
    return false;
  }

  /**
   * The packets that still wait in lines whose first packet is a suspect. Packets behind it that were given up must not
   * be sent as a test.
   */
  held(): Iterable<readonly Exchange<Client>[]> {
    return Array.from(this.#held, (line) => this.#triable(line));
  }

  /** The packets that still wait, line by line. */
  all(): (readonly Exchange<Client>[])[] {
    return [...this.#held, ...this.#exactlyOnce, ...this.#free]
      .map((line) => this.#triable(line))
      .filter((own) => own.length > 0);
  }

  /**
   * In each line, the packets that no publication waits before. Of requests for different filters, none has to be the
   * first.
   */
  *heads(): Iterable<Exchange<Client>> {
    for (const line of this.all()) {
      for (const exchange of line) {
        yield exchange;
        if (exchange.kind === "publish") break;
      }
    }
  }

  /** The n-th packet when the lines take turns, each with its first few packets. */
  inTurn(turn: number, each: number): Exchange<Client> | undefined {
    const lines = this.all();
    // Each turn is also one packet further back, so that the second turn passes if a forbidden packet is the first of
    // every line.
    const place = turn % lines.length;
    const own = lines[place];
    return own?.[(place + Math.floor(turn / lines.length)) % Math.min(own.length, each)];
  }

  /**
   * Packets of this line that still wait and may be sent out of turn. A request behind another one for the same filter
   * is not among them: otherwise an UNSUBSCRIBE would end what the later SUBSCRIBE began.
   */
  #triable({ packets }: Line<Client>): Exchange<Client>[] {
    const filters = new Set<string>();
    return packets.filter((exchange) => {
      if (!this.#waits(exchange)) return false;
      if (exchange.kind === "publish") return true;
      const isFirst = !filters.has(exchange.filter);
      filters.add(exchange.filter);
      return isFirst;
    });
  }

  /** The first packet that still waits. Packets before it that were given up are removed. */
  #firstOf({ packets }: Line<Client>): Exchange<Client> | undefined {
    while (packets[0] && !this.#waits(packets[0])) packets.shift();
    return packets[0];
  }

  /** Puts the line at the end of the row that its first packet belongs to. */
  #place(line: Line<Client>): void {
    this.#stand(line, line.packets[0]?.suspicion?.isSuspect ? this.#held : this.#free);
  }

  #stand(line: Line<Client>, row: Queue<Line<Client>>): void {
    line.row = row;
    row.push(line);
    this.#empty--;
  }

  /** The line was taken out of its row. */
  #leave(line: Line<Client>): void {
    line.row = undefined;
    this.#empty++;
  }

  #tidy(): void {
    if (this.#empty <= emptyMax + (this.#lines.size >> 1)) return;
    for (const [name, { row }] of this.#lines) if (!row) this.#lines.delete(name);
    this.#empty = 0;
  }

  /** Client ids have no U+0000, so a filter is never mistaken for a client id. */
  #nameOf(exchange: Exchange<Client>): string {
    if (!this.#isShared) return "";
    if (exchange.kind !== "publish") return nameOfRequest(exchange.filter);
    return exchange.owner?.clientId ?? "";
  }
}
