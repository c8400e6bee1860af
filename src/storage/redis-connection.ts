/**
 * One connection to a Redis or Valkey server. The package is loaded when it is needed, so a start with another store does
 * not have it.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Redis } from "ioredis";
import { GatewayError } from "../errors.ts";
import type { RedisOptions } from "./options.ts";
import type { Script } from "./redis-scripts.ts";

/** What Redis answers: octets, numbers, and lists of them. */
export type Answer = Buffer | number | null | readonly Answer[];

/** Longest pause between two attempts to connect. */
const pauseMsMax = 1_000;
/** For TCP and TLS, and then for the server to say that it is ready. */
const connectMsMax = 10_000;

export interface ServerFacts {
  /** Another one: the server was started again, or another one took its place, and may have less than was written. */
  readonly server: string;
  readonly isReplica: boolean;
  /** It writes a log of all changes. */
  readonly hasLog: boolean;
  /** What it does when its memory is full. */
  readonly whenFull: string;
}

export class RedisConnection {
  readonly #redis: Redis;
  readonly #answerMsMax: number;
  #lastError = "";
  #connectedAt = 0;
  /** It was given up and is made again: of all that wait for an answer the first one does it. */
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

  /** @throws {Error} when the package is missing, a file cannot be read, or the server is not there. */
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
          // An address is verified as well, and is no name to ask for. [RFC 6066 3]
          ...(isIP(tls?.serverName ?? host) === 0 && { servername: tls?.serverName ?? host }),
          ...(tls?.ca !== undefined && { ca: file(tls.ca) }),
          ...(tls?.cert !== undefined && { cert: file(tls.cert) }),
          ...(tls?.key !== undefined && { key: file(tls.key) }),
        },
      }),
      lazyConnect: true,
      connectTimeout: connectMsMax,
      keepAlive: connectMsMax,
      // A commit has succeeded or failed, and the store makes it again: nothing may be sent a second time behind its back.
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

  /** @throws {Error} when it is not answered in time; then it may have run, may run later, or never. */
  async run(
    script: Script,
    keyName: string | readonly string[],
    words: readonly (string | Uint8Array)[],
  ): Promise<readonly Answer[]> {
    return this.#answered(() => this.#run(script, [keyName].flat(), words));
  }

  /** The same, and how many replicas had it within that time. */
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

  /** Values in the order of the keys; null where there is none. @throws {Error} when it is not answered in time. */
  async get(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return this.#answered(() => this.#redis.mget([...keys]));
  }

  /** Each for so many seconds. @throws {Error} when it is not answered in time, or one of them is refused; others may be written then. */
  async set(entries: readonly (readonly [key: string, value: string])[], seconds: number): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const [key, value] of entries) pipeline.set(key, value, "EX", seconds);
    const answers = await this.#answered(() => pipeline.exec());
    for (const [refused] of answers ?? []) if (refused) throw refused;
  }

  /** What the server says of itself; undefined where it may not be asked. */
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
      // It took the connection and says nothing: the next one may find it well.
      if (status === "connect" && performance.now() - this.#connectedAt > connectMsMax) this.#giveUp();
      throw new Error(this.#lastError || "there is no connection");
    }
    try {
      const answer = await this.#inTime(ask(), withinMs);
      this.#lastError = "";
      return answer;
    } catch (error) {
      // A replica now: its name may lead to the new primary.
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

/** What Node and OpenSSL say of a connection that could not be made, and what to look at. */
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
  // With TLS 1.3 it says why behind what it has closed already.
  return tls?.cert === undefined ? wantsOurs(why) : why;
}

function wantsOurs(why: string): string {
  return `the server closed the connection (${why}): if it wants to see who connects, see store.redis.tls.cert and store.redis.tls.key`;
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
