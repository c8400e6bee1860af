/** The open ports, by shard. Datagrams that arrive for a shard in one turn are handed to its gateway together. */
import type { Heard, Port } from "./port.ts";
import { shardOf } from "./shard.ts";

export class Ports {
  readonly #byShard: (Port | undefined)[][];
  /** Shards with an open port, in order. */
  #served: readonly number[] = [];
  #isCollecting = false;
  #collected: Port[] = [];

  constructor(shards: number) {
    this.#byShard = Array.from({ length: shards }, () => []);
  }

  /** Shards whose gateway accepts datagrams here, in order. */
  get served(): readonly number[] {
    return this.#served;
  }

  opened(port: Port): void {
    const ports = this.#byShard[port.shard];
    if (ports) ports[port.index] = port;
    this.#count();
  }

  /** Removes the port, unless another one is already in its place. */
  closed(port: Port): void {
    const ports = this.#byShard[port.shard];
    if (ports?.[port.index] === port) ports[port.index] = undefined;
    this.#count();
  }

  at(shard: number, index: number): Port | undefined {
    return this.#byShard[shard]?.[index];
  }

  /**
   * One of the served shards, chosen by the text; the same one while the served shards do not change. Undefined: none
   * is served.
   */
  anyFor(text: string): number | undefined {
    const { length } = this.#served;
    return length === 0 ? undefined : this.#served[shardOf(text, length)];
  }

  deliver(port: Port, heard: Heard): void {
    if (!this.#isCollecting) port.deliver(heard);
    else if (port.collect(heard)) this.#collected.push(port);
  }

  /**
   * Collects the datagrams that `work` delivers, and hands them over after it: for each shard as one batch, in their
   * order.
   */
  batch(work: () => void): void {
    if (this.#isCollecting) return work();
    this.#isCollecting = true;
    try {
      work();
    } finally {
      this.#isCollecting = false;
      const collected = this.#collected;
      this.#collected = [];
      for (const port of collected) port.handOver();
    }
  }

  #count(): void {
    const shards = this.#byShard.map((_, shard) => shard);
    this.#served = shards.filter((shard) => this.#byShard[shard]?.some((port) => port !== undefined));
  }
}
