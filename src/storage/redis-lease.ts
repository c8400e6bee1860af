/** The lease of a pair in Redis, beside the sessions: in the same hash, so that each commit is checked against it. */

import type { LeaseServer, LeaseState } from "./lease.ts";
import type { RedisOptions } from "./options.ts";
import { textOf } from "./redis-answers.ts";
import { RedisConnection } from "./redis-connection.ts";
import { claimScript, lookScript, releaseScript, renewScript, type Script } from "./redis-scripts.ts";

export interface LeaseHolder {
  /** How this gateway is called. */
  readonly name: string;
  readonly run: string;
  readonly leaseMs: number;
}

export class RedisLease implements LeaseServer {
  readonly #options: RedisOptions;
  readonly #password: () => string | undefined;
  readonly #holder: LeaseHolder;
  readonly #meta: string;
  /** Of its own: a renewal does not wait behind a large read. */
  #connection: RedisConnection | undefined;
  #opening: Promise<RedisConnection> | undefined;
  #isClosed = false;

  constructor(options: RedisOptions, password: () => string | undefined, holder: LeaseHolder) {
    this.#options = options;
    this.#password = password;
    this.#holder = holder;
    this.#meta = `{${options.prefix}}:meta`;
  }

  async look(): Promise<LeaseState> {
    const [life, owner, epoch, renewals, until, lease] = (await this.#ask(lookScript, [])).map(textOf);
    return {
      run: life ?? "",
      owner: owner ?? "",
      epoch: Number(epoch),
      renewals: Number(renewals),
      leaseMs: Number(lease),
      isFree: until === "" || until === "0",
    };
  }

  async claim({ run, renewals, isFree }: LeaseState): Promise<number | undefined> {
    const { run: own, name, leaseMs } = this.#holder;
    const words = [own, name, String(leaseMs), isFree ? "" : run, String(renewals)];
    const [is, epoch] = await this.#ask(claimScript, words);
    if (textOf(is) === "later") throw new Error(`the store was written by a later version (format ${textOf(epoch)})`);
    return textOf(is) === "claimed" ? Number(textOf(epoch)) : undefined;
  }

  async renew(epoch: number): Promise<boolean> {
    const { run, leaseMs } = this.#holder;
    const [is] = await this.#ask(renewScript, [run, String(epoch), String(leaseMs)]);
    return textOf(is) === "renewed";
  }

  async release(epoch: number): Promise<void> {
    await this.#ask(releaseScript, [this.#holder.run, String(epoch)]);
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
  }

  async #ask(script: Script, words: readonly string[]) {
    this.#connection ??= await this.#open();
    const { waitReplicas: replicas, waitMilliseconds: milliseconds } = this.#options;
    if (script !== claimScript) return this.#connection.run(script, this.#meta, words);
    // A server that takes this one's place must know who took over.
    const made = await this.#connection.runAndWait(script, this.#meta, words, { replicas, milliseconds });
    if (made.replicas < replicas) throw new Error(`${made.replicas} of ${replicas} replicas had it in time`);
    return made.answer;
  }

  async #open(): Promise<RedisConnection> {
    this.#opening ??= RedisConnection.open(this.#options, this.#password(), this.#holder.leaseMs / 2).finally(() => {
      this.#opening = undefined;
    });
    const connection = await this.#opening;
    if (this.#isClosed) connection.close();
    return connection;
  }
}
