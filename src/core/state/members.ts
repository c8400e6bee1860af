/**
 * The clients that subscribe to a filter of a shared connection, each with the QoS that it asked for. A client is
 * represented by its row in the table of sessions, because its session may be parked. Nearly always there is one
 * client, which costs no table. Iteration is in the order of insertion, as with a `Map`.
 */
import type { QoS } from "../types.ts";

const nobody = -1;

export class Members {
  /** The only client, while there is one: see `numberOf`. */
  #only = nobody;
  /** All clients, if there are two or more. */
  #many: Map<number, QoS> | undefined = undefined;

  get size(): number {
    if (this.#many) return this.#many.size;
    return this.#only === nobody ? 0 : 1;
  }

  /** `numberOf` the one client. Undefined: there is none, or there are others, or there were others beside it. */
  get only(): number | undefined {
    return this.#only === nobody ? undefined : this.#only;
  }

  get(row: number): QoS | undefined {
    if (this.#many) return this.#many.get(row);
    return this.has(row) ? qosIn(this.#only) : undefined;
  }

  has(row: number): boolean {
    return this.#many ? this.#many.has(row) : this.#only !== nobody && row === rowIn(this.#only);
  }

  set(row: number, qos: QoS): void {
    if (this.#many) this.#many.set(row, qos);
    else if (this.#only === nobody || rowIn(this.#only) === row) this.#only = numberOf(row, qos);
    else {
      this.#many = new Map([
        [rowIn(this.#only), qosIn(this.#only)],
        [row, qos],
      ]);
      this.#only = nobody;
    }
  }

  delete(row: number): boolean {
    if (this.#many) {
      const wasThere = this.#many.delete(row);
      if (this.#many.size === 0) this.#many = undefined;
      return wasThere;
    }
    if (!this.has(row)) return false;
    this.#only = nobody;
    return true;
  }

  [Symbol.iterator](): IterableIterator<readonly [row: number, qos: QoS]> {
    if (this.#many) return this.#many.entries();
    return (this.#only === nobody ? [] : [[rowIn(this.#only), qosIn(this.#only)] as const]).values();
  }

  keys(): IterableIterator<number> {
    if (this.#many) return this.#many.keys();
    return (this.#only === nobody ? [] : [rowIn(this.#only)]).values();
  }

  values(): IterableIterator<QoS> {
    if (this.#many) return this.#many.values();
    return (this.#only === nobody ? [] : [qosIn(this.#only)]).values();
  }
}

// These are functions, because each object of a class with private methods is larger by a field.

/** Row and QoS of a client in one number. */
export function numberOf(row: number, qos: QoS): number {
  return row * 4 + qos;
}

export function rowIn(member: number): number {
  return member >> 2;
}

export function qosIn(member: number): QoS {
  return (member & 3) as QoS;
}
