/** The address book of a fleet, on a connection that others use as well: values by key, for a time. */
import type { RedisConnection } from "./redis-connection.ts";

export class RedisBook {
  readonly #open: () => Promise<RedisConnection>;
  #connection: Promise<RedisConnection> | undefined;

  /** `open`: asked once, and again when it failed; the connection connects again by itself, and is closed by whoever owns it. */
  constructor(open: () => Promise<RedisConnection>) {
    this.#open = open;
  }

  /** Values in the order of the keys; null where there is none. @throws {Error} when the server is away. */
  async get(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return (await this.#connected()).get(keys);
  }

  /** Each for so many seconds. @throws {Error} when the server is away; some may be written then. */
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
