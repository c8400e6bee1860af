/**
 * The clients that subscribe to a filter of a shared connection, each with the QoS that it asked for. Nearly always there
 * is one, and it costs no table. Iterated in the order in which they were set, as a `Map` is.
 */
import type { QoS } from "../types.ts";

export class Members<Client> {
  /** The one client, while there is one. */
  #only: Client | undefined = undefined;
  #qos: QoS = 0;
  /** All, from the second on. */
  #many: Map<Client, QoS> | undefined = undefined;

  get size(): number {
    if (this.#many) return this.#many.size;
    return this.#only === undefined ? 0 : 1;
  }

  get(client: Client): QoS | undefined {
    if (this.#many) return this.#many.get(client);
    return client === this.#only ? this.#qos : undefined;
  }

  has(client: Client): boolean {
    return this.#many ? this.#many.has(client) : client === this.#only;
  }

  set(client: Client, qos: QoS): void {
    if (this.#many) this.#many.set(client, qos);
    else if (this.#only === undefined || this.#only === client) {
      this.#only = client;
      this.#qos = qos;
    } else {
      this.#many = new Map([
        [this.#only, this.#qos],
        [client, qos],
      ]);
      this.#only = undefined;
    }
  }

  delete(client: Client): boolean {
    if (this.#many) {
      const wasThere = this.#many.delete(client);
      if (this.#many.size === 0) this.#many = undefined;
      return wasThere;
    }
    if (client !== this.#only) return false;
    this.#only = undefined;
    return true;
  }

  [Symbol.iterator](): IterableIterator<readonly [Client, QoS]> {
    if (this.#many) return this.#many.entries();
    return (this.#only === undefined ? [] : [[this.#only, this.#qos] as const]).values();
  }

  keys(): IterableIterator<Client> {
    if (this.#many) return this.#many.keys();
    return (this.#only === undefined ? [] : [this.#only]).values();
  }

  values(): IterableIterator<QoS> {
    if (this.#many) return this.#many.values();
    return (this.#only === undefined ? [] : [this.#qos]).values();
  }
}
