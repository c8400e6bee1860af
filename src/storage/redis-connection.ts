/**
 * One connection to a Redis or Valkey server. The package is loaded when a connection is needed, so a gateway with
 * another kind of store does not load it.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Redis } from "ioredis";
import { GatewayError } from "../errors.ts";
import type { RedisOptions } from "./options.ts";
import type { Script } from "./redis-scripts.ts";

/** An answer of Redis: octets, numbers, and lists of answers. */
export type Answer = Buffer | number | null | readonly Answer[];

/** Longest pause between two attempts to connect. */
const pauseMsMax = 1_000;
/** Limit for the connection by TCP and TLS, and then again for the server to be ready. */
const connectMsMax = 10_000;

export interface ServerFacts {
  /**
   * Identifies this start of the server. If it changes, the server was started again, or another server took its place;
   * both may have less than was written.
   */
  readonly server: string;
  readonly isReplica: boolean;
  /** The server writes a log of all changes. */
  readonly hasLog: boolean;
  /** What the server does if its memory is full. */
  readonly whenFull: string;
}

export class RedisConnection {
  readonly #redis: Redis;
  readonly #answerMsMax: number;
  #lastError = "";
  #connectedAt = 0;
  /**
   * The connection was given up and is made again. All requests that wait for an answer may find this out; only the
   * first one acts.
   */
  #isGivenUp = false;

  private constructor(redis: Redis, answerMsMax: number) {
    this.#redis = redis;
    this.#answerMsMax = answerMsMax;
    redis.on("error", (error: Error) => {
      this.#lastError = error.message;
    });
    redis.on("close", () => {
      this.#isGivenUp = false;
    });
    redis.on("connect", () => {
      this.#connectedAt = performance.now();
    });
  }

  /** @throws {Error} if the package is missing, a file cannot be read, or the server cannot be reached. */
  static async open(
    options: RedisOptions,
    password: string | undefined,
    answerMsMax: number,
  ): Promise<RedisConnection> {
    const { Redis: Client } = await loadPackage();
    const { hostname, port, pathname, protocol } = new URL(options.url);
    const { tls } = options;
    const file = (name: string | undefined) => (name === undefined ? undefined : readFileSync(name));
    const host = hostname.replace(/^\[|\]$/g, "");
    const redis = new Client({
      host,
      port: Number(port) || 6_379,
      db: Number(pathname.slice(1)) || 0,
      ...(options.username !== undefined && { username: options.username }),
      ...(password !== undefined && { password }),
      ...(protocol === "rediss:" && {
        tls: {
          // If the host is an IP address, it is verified as well, but it must not be sent as the server name. [RFC 6066
          // 3]
          ...(isIP(tls?.serverName ?? host) === 0 && { servername: tls?.serverName ?? host }),
          ...(tls?.ca !== undefined && { ca: file(tls.ca) }),
          ...(tls?.cert !== undefined && { cert: file(tls.cert) }),
          ...(tls?.key !== undefined && { key: file(tls.key) }),
        },
      }),
      lazyConnect: true,
      connectTimeout: connectMsMax,
      keepAlive: connectMsMax,
      // The store itself repeats a failed commit. Therefore the package must not send a command a second time on its
      // own.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(times * 100, pauseMsMax),
    });
    const connection = new RedisConnection(redis, answerMsMax);
    try {
      await connection.#inTime(redis.connect(), connectMsMax);
      return connection;
    } catch (error) {
      redis.disconnect();
      throw new Error(inWords(connection.#lastError || messageOf(error), options));
    }
  }

  /** @throws {Error} if there is no answer in time; the script may have run, may run later, or may never run. */
  async run(
    script: Script,
    keyName: string | readonly string[],
    words: readonly (string | Uint8Array)[],
  ): Promise<readonly Answer[]> {
    return this.#answered(() => this.#run(script, [keyName].flat(), words));
  }

  /** As `run`. Also returns how many replicas had the change within that time. */
  async runAndWait(
    script: Script,
    keyName: string,
    words: readonly (string | Uint8Array)[],
    wait: { readonly replicas: number; readonly milliseconds: number },
  ): Promise<{ readonly answer: readonly Answer[]; readonly replicas: number }> {
    const answer = await this.run(script, keyName, words);
    if (wait.replicas === 0) return { answer, replicas: 0 };
    const replicas = await this.#answered(
      () => this.#redis.wait(wait.replicas, wait.milliseconds),
      wait.milliseconds + this.#answerMsMax,
    );
    return { answer, replicas };
  }

  /** Values in the order of the keys; null: the key has no value. @throws {Error} if there is no answer in time. */
  async get(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return this.#answered(() => this.#redis.mget([...keys]));
  }

  /**
   * Keeps each value for so many seconds. @throws {Error} if there is no answer in time, or the server refuses a value;
   * others may be written then.
   */
  async set(entries: readonly (readonly [key: string, value: string])[], seconds: number): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const [key, value] of entries) pipeline.set(key, value, "EX", seconds);
    const answers = await this.#answered(() => pipeline.exec());
    for (const [refused] of answers ?? []) if (refused) throw refused;
  }

  /** What the server tells about itself; undefined: this connection has no right to ask. */
  async facts(): Promise<ServerFacts | undefined> {
    let text: string;
    try {
      text = await this.#answered(() => this.#redis.info());
    } catch (error) {
      if (/NOPERM/.test(messageOf(error))) return undefined;
      throw error;
    }
    const fact = (name: string) => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(text)?.[1] ?? "";
    return {
      server: `${fact("run_id")} ${fact("master_replid")}`,
      isReplica: fact("role") === "slave",
      hasLog: fact("aof_enabled") === "1",
      whenFull: fact("maxmemory") === "0" ? "noeviction" : fact("maxmemory_policy"),
    };
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #run(
    script: Script,
    keys: readonly string[],
    words: readonly (string | Uint8Array)[],
  ): Promise<readonly Answer[]> {
    const rest = [keys.length, ...keys, ...words.map((word) => (typeof word === "string" ? word : asBuffer(word)))];
    try {
      return (await this.#redis.callBuffer("EVALSHA", [script.digest, ...rest])) as readonly Answer[];
    } catch (error) {
      if (!/^NOSCRIPT/.test(messageOf(error))) throw error;
      return (await this.#redis.callBuffer("EVAL", [script.text, ...rest])) as readonly Answer[];
    }
  }

  async #answered<T>(ask: () => Promise<T>, withinMs = this.#answerMsMax): Promise<T> {
    const { status } = this.#redis;
    if (status !== "ready") {
      // The server accepted the connection, but does not answer. A new connection may work.
      if (status === "connect" && performance.now() - this.#connectedAt > connectMsMax) this.#giveUp();
      throw new Error(this.#lastError || "there is no connection");
    }
    try {
      const answer = await this.#inTime(ask(), withinMs);
      this.#lastError = "";
      return answer;
    } catch (error) {
      // The server is a replica now. Its name may lead to the new primary at the next connection.
      if (error instanceof TimeoutError || /^READONLY/.test(messageOf(error))) this.#giveUp();
      throw this.#redis.status === "ready" || this.#lastError === "" ? error : new Error(this.#lastError);
    }
  }

  #giveUp(): void {
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.#redis.disconnect(true);
  }

  #inTime<T>(work: Promise<T>, withinMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new TimeoutError(`no answer within ${withinMs} ms`)), withinMs);
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}

class TimeoutError extends Error {}

async function loadPackage(): Promise<Pick<typeof import("ioredis"), "Redis">> {
  try {
    return await import("ioredis");
  } catch (cause) {
    const say = 'store.kind "redis" needs the package ioredis, which is not installed; type: npm install ioredis';
    throw new GatewayError("ERR_STORE_OPEN", { package: "ioredis" }, { cause, say });
  }
}

/** Explains a message of Node or OpenSSL about a failed connection, and names the setting to check. */
function inWords(said: string, { url, tls }: RedisOptions): string {
  const why = said.replaceAll(/\s+/g, " ").trim();
  if (/altnames/.test(why))
    return `the server's certificate is for another name (${why}): see store.redis.url and store.redis.tls.serverName`;
  if (/certificate has expired|not yet valid/.test(why))
    return `the server's certificate is not valid now (${why}): renew it, or set the clock of this machine`;
  if (/certificate required|alert (bad|unknown|handshake|certificate)/i.test(why)) return wantsOurs(why);
  if (/certificate|self.signed/i.test(why))
    return `the server's certificate is not trusted (${why}): name the authority that signed it in store.redis.tls.ca`;
  if (!/ECONNRESET|EPIPE|Connection is closed/.test(why)) return why;
  if (!url.startsWith("rediss:"))
    return `the server closed the connection (${why}): if it speaks TLS, type rediss:// in store.redis.url`;
  // With TLS 1.3 the reason comes after the server has closed the connection.
  return tls?.cert === undefined ? wantsOurs(why) : why;
}

function wantsOurs(why: string): string {
  return `the server closed the connection (${why}): if it requires a client certificate, see store.redis.tls.cert and store.redis.tls.key`;
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
