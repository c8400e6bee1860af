/**
 * What waits to be sent over one connection, by whose it is. Whoever is first in the row sends one and goes to its end, so
 * that one busy client of a shared connection does not hold up the others; each client's own stay in order.
 */
import { SmallMap } from "../small-map.ts";
import type { Exchange, ExchangeClient } from "./exchanges.ts";

/** A client; a filter, where a request is of all who share the connection; undefined: all is of one client. */
type Owner<Client> = Client | string | undefined;

type Lines<Client extends ExchangeClient> = SmallMap<Owner<Client>, Exchange<Client>[]>;

const nothing: readonly never[] = [];

export class SendLines<Client extends ExchangeClient> {
  readonly #isShared: boolean;
  /** It still waits, and was not given up meanwhile. */
  readonly #waits: (exchange: Exchange<Client>) => boolean;
  readonly #free: Lines<Client> = new SmallMap();
  /** Those whose next one is of QoS 2, of which the broker takes no more now: the others do not wait for them. */
  readonly #exactlyOnce: Lines<Client> = new SmallMap();
  /** Those whose next one is a suspect. */
  readonly #held: Lines<Client> = new SmallMap();

  constructor(isShared: boolean, waits: (exchange: Exchange<Client>) => boolean) {
    this.#isShared = isShared;
    this.#waits = waits;
  }

  /** Somebody waits, and is not held by a suspect. */
  get hasFree(): boolean {
    return this.#free.size > 0 || this.#exactlyOnce.size > 0;
  }

  get isEmpty(): boolean {
    return !this.hasFree && this.#held.size === 0;
  }

  add(exchange: Exchange<Client>): void {
    const owner = this.#ownerOf(exchange);
    const own = this.#free.get(owner) ?? this.#exactlyOnce.get(owner) ?? this.#held.get(owner);
    if (own) own.push(exchange);
    else this.#place(owner, [exchange]);
  }

  /** In which this one waits, or would wait. */
  lineOf(exchange: Exchange<Client>): readonly Exchange<Client>[] {
    const owner = this.#ownerOf(exchange);
    return this.#free.get(owner) ?? this.#exactlyOnce.get(owner) ?? this.#held.get(owner) ?? nothing;
  }

  clear(): void {
    this.#free.clear();
    this.#exactlyOnce.clear();
    this.#held.clear();
  }

  /** The next that may be sent now; it is taken out of its line. */
  next(mayExactlyOnce: boolean): Exchange<Client> | undefined {
    for (const lines of mayExactlyOnce ? [this.#exactlyOnce, this.#free] : [this.#free]) {
      for (const [owner, own] of lines) {
        lines.delete(owner);
        while (own[0] && !this.#waits(own[0])) own.shift();
        const [first] = own;
        if (!first) continue;
        if (first.suspicion?.isSuspect) {
          this.#held.set(owner, own);
          continue;
        }
        if (!mayExactlyOnce && first.kind === "publish" && first.publication.qos === 2) {
          this.#exactlyOnce.set(owner, own);
          continue;
        }
        own.shift();
        if (own.length > 0) this.#place(owner, own);
        return first;
      }
    }
    return undefined;
  }

  /** It is sent out of its turn, for a test. */
  take(exchange: Exchange<Client>): void {
    const owner = this.#ownerOf(exchange);
    for (const lines of [this.#held, this.#free, this.#exactlyOnce]) {
      const own = lines.get(owner);
      const at = own?.indexOf(exchange) ?? -1;
      if (!own || at < 0) continue;
      own.splice(at, 1);
      lines.delete(owner);
      if (own.length > 0) this.#place(owner, own);
      return;
    }
  }

  /** Those that a suspect held, and holds no more, go on; what was given up is not looked at again. */
  sift(): void {
    if (this.#held.size === 0) return;
    for (const [owner, own] of [...this.#held]) {
      while (own[0] && !this.#waits(own[0])) own.shift();
      if (own[0]?.suspicion?.isSuspect) continue;
      this.#held.delete(owner);
      if (own.length > 0) this.#free.set(owner, own);
    }
  }

  /** Somebody really waits who is not held. */
  hasOthers(): boolean {
    for (const lines of [this.#free, this.#exactlyOnce]) {
      for (const [owner, own] of [...lines]) {
        while (own[0] && !this.#waits(own[0])) own.shift();
        if (own.length > 0) return true;
        lines.delete(owner);
      }
    }
    return false;
  }

  held(): Iterable<readonly Exchange<Client>[]> {
    return this.#held.values();
  }

  /** What really waits, line by line. */
  all(): (readonly Exchange<Client>[])[] {
    return [...this.#held.values(), ...this.#exactlyOnce.values(), ...this.#free.values()]
      .map((own) => own.filter(this.#waits))
      .filter((own) => own.length > 0);
  }

  /** The n-th when owners take turns, each with its first few. */
  inTurn(turn: number, each: number): Exchange<Client> | undefined {
    const lines = this.all();
    // Each turn one further back too: should every line be headed by a forbidden packet, the second turn passes.
    const place = turn % lines.length;
    const own = lines[place];
    return own?.[(place + Math.floor(turn / lines.length)) % Math.min(own.length, each)];
  }

  #place(owner: Owner<Client>, own: Exchange<Client>[]): void {
    if (own[0]?.suspicion?.isSuspect) this.#held.set(owner, own);
    else this.#free.set(owner, own);
  }

  #ownerOf(exchange: Exchange<Client>): Owner<Client> {
    if (!this.#isShared) return undefined;
    return exchange.kind === "publish" ? exchange.owner : exchange.filter;
  }
}
