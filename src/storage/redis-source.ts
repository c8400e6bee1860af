/** Where stores get their connections: each one of its own, or all of a process the same few. */
import type { RedisOptions } from "./options.ts";
import { RedisConnection } from "./redis-connection.ts";

export interface RedisSource {
  /** @throws {Error} when the server is not there. */
  open(): Promise<RedisConnection>;
  /** It is not used here any more. */
  done(connection: RedisConnection): void;
}

/** A connection for each who asks. */
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
 * So many connections for all who ask, given out in turn. Each is opened when it is asked for, connects again by itself when it ends, and
 * is closed with all others.
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
      if (this.#slots[slot] === opening) this.#slots[slot] = undefined; // the next one who asks tries again
    });
    return opening;
  }

  done(): void {}

  close(): void {
    this.#isClosed = true;
    for (const opening of this.#slots)
      opening?.then(
        (connection) => connection.close(),
        () => {}, // there is nothing to close
      );
  }
}
