/** Where stores get their connections: each store has its own, or all stores of a process share a few. */
import type { RedisOptions } from "./options.ts";
import { RedisConnection } from "./redis-connection.ts";

export interface RedisSource {
  /** @throws {Error} if the server cannot be reached. */
  open(): Promise<RedisConnection>;
  /** Tells that the caller does not use the connection any more. */
  done(connection: RedisConnection): void;
}

/** Opens a connection for each caller. */
export class OwnRedis implements RedisSource {
  readonly #open: () => Promise<RedisConnection>;

  constructor(options: RedisOptions, password: () => string | undefined, answerMsMax: number) {
    this.#open = () => RedisConnection.open(options, password(), answerMsMax);
  }

  open(): Promise<RedisConnection> {
    return this.#open();
  }

  done(connection: RedisConnection): void {
    connection.close();
  }
}

/**
 * A fixed number of connections for all callers, given out in turn. Each is opened at its first use, connects again
 * without help when it ends, and is closed together with all others.
 */
export class SharedRedis implements RedisSource {
  readonly #source: OwnRedis;
  readonly #slots: (Promise<RedisConnection> | undefined)[];
  #next = 0;
  #isClosed = false;

  constructor(options: RedisOptions, password: () => string | undefined, answerMsMax: number, connections: number) {
    this.#source = new OwnRedis(options, password, answerMsMax);
    this.#slots = Array.from({ length: connections }, () => undefined);
  }

  open(): Promise<RedisConnection> {
    const slot = this.#next++ % this.#slots.length;
    const opening =
      this.#slots[slot] ??
      this.#source.open().then((connection) => {
        if (this.#isClosed) connection.close();
        return connection;
      });
    this.#slots[slot] = opening;
    opening.catch(() => {
      if (this.#slots[slot] === opening) this.#slots[slot] = undefined; // the next caller tries again
    });
    return opening;
  }

  done(): void {}

  close(): void {
    this.#isClosed = true;
    for (const opening of this.#slots)
      opening?.then(
        (connection) => connection.close(),
        () => {}, // no connection was opened, so none has to be closed
      );
  }
}
