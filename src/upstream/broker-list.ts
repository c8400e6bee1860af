/**
 * The brokers of the list, and the one that is used now. All connections of an upstream use the same one, because clients that exchange
 * messages must be at one broker.
 *
 * Away: if a connection cannot be made, the next broker is chosen, unless other connections to the same broker exist; then it must fail
 * three times in a row. Back: every `returnSeconds` (with jitter) the preferred brokers are probed. The first one that answers is tried
 * with one connection, the gateway's own if it has one. When its CONNECT was accepted the others follow, at most 200 a second. If it was
 * not accepted, the time to the next probe doubles, up to 16 times.
 */
import type { BrokerUrl } from "./broker-url.ts";
import type { Notice } from "./link.ts";

const failuresMax = 3;
const returnsPerSecondMax = 200;
const pauseFactorMax = 16;
/** Client ids whose last broker is remembered. */
const rememberedMax = 100_000;

/** A connection, as far as the list needs it. */
export interface Movable {
  /** The index of the broker of this connection; undefined: it is not connected. */
  readonly brokerIndex: number | undefined;
  /** Disconnects, and connects again to the broker that the list names. */
  move(reason: string): void;
}

export interface BrokerListOptions {
  readonly urls: readonly BrokerUrl[];
  readonly returnSeconds: number;
  readonly links: () => Iterable<Movable>;
  readonly probe: (url: BrokerUrl, done: (isThere: boolean) => void) => void;
  readonly random: () => number;
  readonly told: Notice;
}

export class BrokerList {
  readonly #options: BrokerListOptions;
  #current = 0;
  readonly #lastAt = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  readonly #moves = new Set<NodeJS.Timeout>();
  #pauseFactor = 1;
  /** The broker that is preferred again and is tried with one connection first; undefined: no broker is tried. */
  #returningTo: number | undefined;
  #closed = false;

  constructor(options: BrokerListOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#options.urls.length;
  }

  /** The broker for a new connection. */
  pick(): { readonly index: number; readonly url: BrokerUrl } {
    const url = this.#options.urls[this.#current];
    if (!url) throw new Error("a list of brokers is never empty");
    return { index: this.#current, url };
  }

  /** So many consecutive attempts failed, or the broker reported that it is not available. */
  failed(index: number, timesInARow: number, reason: string): void {
    if (this.#closed || this.size === 1 || index !== this.#current) return;
    if (timesInARow < failuresMax && this.#standsAt(index)) return;
    if (this.#returningTo === index) this.#pauseFactor = Math.min(2 * this.#pauseFactor, pauseFactorMax);
    this.#returningTo = undefined;
    this.#current = (index + 1) % this.size;
    this.#options.told(
      "warn",
      `${this.#shown(index)} cannot be used (${reason}): trying ${this.#shown(this.#current)}`,
    );
  }

  /** True if this MQTT client id was at another broker when it last connected, since this process started. */
  isElsewhere(mqttClientId: string, index: number): boolean {
    if (this.size === 1) return false;
    const before = this.#lastAt.get(mqttClientId);
    this.#lastAt.delete(mqttClientId);
    this.#lastAt.set(mqttClientId, index);
    if (this.#lastAt.size > rememberedMax) {
      const oldest = this.#lastAt.keys().next();
      if (!oldest.done) this.#lastAt.delete(oldest.value);
    }
    return before !== undefined && before !== index;
  }

  /** A CONNECT was accepted there. */
  accepted(index: number): void {
    if (this.#closed || this.size === 1 || index !== this.#current) return;
    if (this.#returningTo === index) {
      this.#returningTo = undefined;
      this.#pauseFactor = 1;
      this.#options.told("info", `back at ${this.#shown(index)}`);
      this.#bringAll(index);
    }
    this.#lookLater();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const move of this.#moves) clearTimeout(move);
  }

  #shown(index: number): string {
    return this.#options.urls[index]?.shown ?? "";
  }

  #standsAt(index: number): boolean {
    for (const { brokerIndex } of this.#options.links()) if (brokerIndex === index) return true;
    return false;
  }

  #lookLater(): void {
    const { returnSeconds, random } = this.#options;
    if (this.#current === 0 || returnSeconds === 0 || this.#timer || this.#closed) return;
    const pauseMs = returnSeconds * 1_000 * this.#pauseFactor * (0.5 + random() / 2);
    this.#timer = setTimeout(() => this.#lookAt(0), pauseMs);
  }

  /** Probes the brokers before this one, one after the other. */
  #lookAt(index: number): void {
    const url = this.#options.urls[index];
    if (this.#closed || !url || index >= this.#current) {
      this.#timer = undefined;
      return this.#lookLater();
    }
    this.#options.probe(url, (isThere) => {
      if (!isThere || index >= this.#current) return this.#lookAt(index + 1);
      this.#timer = undefined;
      this.#tryAt(index);
    });
  }

  #tryAt(index: number): void {
    if (this.#closed) return;
    this.#current = index;
    this.#returningTo = index;
    for (const link of this.#options.links()) {
      if (link.brokerIndex === undefined || link.brokerIndex === index) continue;
      return link.move(`${this.#shown(index)} can be reached again`);
    }
  }

  #bringAll(index: number): void {
    const others = [...this.#options.links()].filter(
      ({ brokerIndex }) => brokerIndex !== undefined && brokerIndex !== index,
    );
    const spreadMs = (others.length / returnsPerSecondMax) * 1_000;
    for (const link of others) {
      const move = setTimeout(() => {
        this.#moves.delete(move);
        const isElsewhere = link.brokerIndex !== undefined && link.brokerIndex !== this.#current;
        if (this.#current === index && isElsewhere) link.move(`back to ${this.#shown(index)}`);
      }, this.#options.random() * spreadMs);
      this.#moves.add(move);
    }
  }
}
