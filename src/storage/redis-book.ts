/**
 * The address book of a fleet, on a connection that others use too. Each value has a key and is kept for a limited
 * time.
 */
import type { RedisConnection } from "./redis-connection.ts";

export class RedisBook {
  readonly #open: () => Promise<RedisConnection>;
  #connection: Promise<RedisConnection> | undefined;

  /**
   * `open` is called once, and again after it has failed. The connection connects again without help, and its owner
   * closes it.
   */
  constructor(open: () => Promise<RedisConnection>) {
    this.#open = open;
  }

  /** Values in the order of the keys; null: the key has no value. @throws {Error} if the server cannot be reached. */
  async get(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return (await this.#connected()).get(keys);
  }

  /**
   * Keeps each value for so many seconds. @throws {Error} if the server cannot be reached; some values may be written
   * then.
   */
  async set(entries: readonly (readonly [key: string, value: string])[], seconds: number): Promise<void> {
    await (await this.#connected()).set(entries, seconds);
  }

  #connected(): Promise<RedisConnection> {
    if (this.#connection) return this.#connection;
    const opening = this.#open();
    this.#connection = opening;
    opening.catch(() => {
      if (this.#connection === opening) this.#connection = undefined;
    });
    return opening;
  }
}
