/**
 * The packets that wait to be sent over one connection, one line for each client. The first client in the row sends one
 * packet and goes to the end of the row. So one busy client of a shared connection does not delay the others, and the
 * packets of each client stay in order.
 *
 * An empty line is kept for a while, because a client that had to wait once often has to wait again. A line knows its
 * client by name and holds nothing of a session.
 */
import { Queue } from "../queue.ts";
import { SmallMap } from "../small-map.ts";
import type { Exchange, ExchangeClient } from "./exchanges.ts";

/** Of one client, or of all who share a request. */
interface Line<Client extends ExchangeClient> {
  readonly packets: Exchange<Client>[];
  /** The row in which it stands; undefined: it is empty, and stands in none. */
  row: Queue<Line<Client>> | undefined;
}

/** Empty lines that are kept beside as many as are not. */
const emptyMax = 256;

const nothing: readonly never[] = [];

const nameOfRequest = (filter: string) => `\u0000${filter}`;

export class SendLines<Client extends ExchangeClient> {
  readonly #isShared: boolean;
  /** It still waits, and was not given up meanwhile. */
  readonly #waits: (exchange: Exchange<Client>) => boolean;
  readonly #lines = new SmallMap<string, Line<Client>>();
  /** Lines that stand in no row. */
  #empty = 0;
  readonly #free = new Queue<Line<Client>>();
  /** Those whose next one is of QoS 2, of which the broker takes no more now: the others do not wait for them. */
  readonly #exactlyOnce = new Queue<Line<Client>>();
  /** Those whose next one is a suspect. */
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

  /** In which this one waits, or would wait. */
  lineOf(exchange: Exchange<Client>): readonly Exchange<Client>[] {
    return this.#lines.get(this.#nameOf(exchange))?.packets ?? nothing;
  }

  /** Does a request for this filter wait? */
  hasRequestFor(filter: string): boolean {
    const line = this.#lines.get(this.#isShared ? nameOfRequest(filter) : "");
    const isFor = (exchange: Exchange<Client>) => exchange.kind !== "publish" && exchange.filter === filter;
    return line?.packets.some((exchange) => isFor(exchange) && this.#waits(exchange)) === true;
  }

  /** Does a publication of this client wait? */
  hasWaiting(clientId: string): boolean {
    const line = this.#lines.get(this.#isShared ? clientId : "");
    return line !== undefined && line.packets.length > 0;
  }

  clear(): void {
    this.#lines.clear();
    this.#empty = 0;
    for (const row of [this.#free, this.#exactlyOnce, this.#held]) row.clear();
  }

  /** The next that may be sent now; it is taken out of its line. */
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

  /** It is sent out of its turn, for a test. */
  take(exchange: Exchange<Client>): void {
    const line = this.#lines.get(this.#nameOf(exchange));
    const at = line?.packets.indexOf(exchange) ?? -1;
    if (!line?.row || at < 0) return;
    line.packets.splice(at, 1);
    line.row.remove(line);
    this.#leave(line);
    if (line.packets.length > 0) this.#place(line);
  }

  /** Lines that a suspect held back, and does not any more, continue; packets that were given up are skipped. */
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

  /** What really waits in the lines whose first is a suspect: what was given up behind it is not to be sent as a test. */
  held(): Iterable<readonly Exchange<Client>[]> {
    return Array.from(this.#held, (line) => this.#triable(line));
  }

  /** What really waits, line by line. */
  all(): (readonly Exchange<Client>[])[] {
    return [...this.#held, ...this.#exactlyOnce, ...this.#free]
      .map((line) => this.#triable(line))
      .filter((own) => own.length > 0);
  }

  /** Of each line, those that no publication waits before: of requests for different filters none has to be the first. */
  *heads(): Iterable<Exchange<Client>> {
    for (const line of this.all()) {
      for (const exchange of line) {
        yield exchange;
        if (exchange.kind === "publish") break;
      }
    }
  }

  /** The n-th when owners take turns, each with its first few. */
  inTurn(turn: number, each: number): Exchange<Client> | undefined {
    const lines = this.all();
    // Each turn one further back too: should every line be headed by a forbidden packet, the second turn passes.
    const place = turn % lines.length;
    const own = lines[place];
    return own?.[(place + Math.floor(turn / lines.length)) % Math.min(own.length, each)];
  }

  /**
   * What really waits, and may be sent out of its turn: not a request behind another one for the same filter, or an UNSUBSCRIBE
   * would end what the SUBSCRIBE after it began.
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

  /** The first that still waits; what was given up before it is taken out. */
  #firstOf({ packets }: Line<Client>): Exchange<Client> | undefined {
    while (packets[0] && !this.#waits(packets[0])) packets.shift();
    return packets[0];
  }

  /** At the end of the row that its first one belongs to. */
  #place(line: Line<Client>): void {
    this.#stand(line, line.packets[0]?.suspicion?.isSuspect ? this.#held : this.#free);
  }

  #stand(line: Line<Client>, row: Queue<Line<Client>>): void {
    line.row = row;
    row.push(line);
    this.#empty--;
  }

  /** It was taken out of its row. */
  #leave(line: Line<Client>): void {
    line.row = undefined;
    this.#empty++;
  }

  #tidy(): void {
    if (this.#empty <= emptyMax + (this.#lines.size >> 1)) return;
    for (const [name, { row }] of this.#lines) if (!row) this.#lines.delete(name);
    this.#empty = 0;
  }

  /** Client ids have no U+0000, so a filter is never taken for one. */
  #nameOf(exchange: Exchange<Client>): string {
    if (!this.#isShared) return "";
    if (exchange.kind !== "publish") return nameOfRequest(exchange.filter);
    return exchange.owner?.clientId ?? "";
  }
}
