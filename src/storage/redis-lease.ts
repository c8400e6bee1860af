/**
 * The lease of a pair in Redis. It is in the same hash as the number of the last commit, so that each commit is checked
 * against it.
 */

import { type Handover, handoverCauses, type LeaseServer, type LeaseState, type OtherOne } from "./lease.ts";
import type { RedisOptions } from "./options.ts";
import { textOf } from "./redis-answers.ts";
import { type Answer, RedisConnection } from "./redis-connection.ts";
import { claimScript, lookScript, releaseScript, renewScript, type Script, standScript } from "./redis-scripts.ts";

export interface LeaseHolder {
  /** The name of this gateway. */
  readonly name: string;
  readonly run: string;
  readonly leaseMs: number;
  /** The version of this program. */
  readonly version: string;
}

export class RedisLease implements LeaseServer {
  readonly #options: RedisOptions;
  readonly #password: () => string | undefined;
  readonly #holder: LeaseHolder;
  readonly #meta: string;
  /** A connection of its own, so that a renewal does not wait behind a large read. */
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
    return leaseStateOf(await this.#ask(lookScript, []));
  }

  async claim({ run, renewals, isFree }: LeaseState) {
    const { run: own, name, leaseMs, version } = this.#holder;
    const words = [own, name, String(leaseMs), isFree ? "" : run, String(renewals), version];
    const [is, epoch, last] = await this.#ask(claimScript, words);
    if (textOf(is) === "later") throw new Error(`the store was written by a later version (format ${textOf(epoch)})`);
    if (textOf(is) !== "claimed") return undefined;
    return { epoch: Number(textOf(epoch)), handover: handoverOf(textOf(last), Number(textOf(epoch))) };
  }

  async renew(epoch: number): Promise<{ isOurs: boolean; standby: OtherOne | undefined }> {
    const { run, leaseMs } = this.#holder;
    const answer = await this.#ask(renewScript, [run, String(epoch), String(leaseMs)]);
    const [is, name, version = "", ms] = answer.map(textOf);
    const standby = name === undefined ? undefined : { name, version, secondsAgo: Number(ms) / 1_000 };
    return { isOurs: is === "renewed", standby };
  }

  async release(epoch: number, cause: "drained" | "ended"): Promise<void> {
    await this.#ask(releaseScript, [this.#holder.run, String(epoch), cause]);
  }

  async stand(isThere: boolean): Promise<void> {
    const { run, name, version, leaseMs } = this.#holder;
    await this.#ask(standScript, [run, name, version, isThere ? String(leaseMs) : "0"]);
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
  }

  async #ask(script: Script, words: readonly string[]) {
    this.#connection ??= await this.#open();
    const { waitReplicas: replicas, waitMilliseconds: milliseconds } = this.#options;
    if (script !== claimScript) return this.#connection.run(script, this.#meta, words);
    // Another server that replaces this one must know which gateway took over.
    const made = await this.#connection.runAndWait(script, this.#meta, words, { replicas, milliseconds });
    if (made.replicas < replicas) throw new Error(`${made.replicas} of ${replicas} replicas had the change in time`);
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

/** Converts the answer of `lookScript`. */
export function leaseStateOf(answer: readonly Answer[]): LeaseState {
  const [life, owner, epoch, renewals, until, lease, version, last, now] = answer.map(textOf);
  return {
    run: life ?? "",
    owner: owner ?? "",
    epoch: Number(epoch),
    renewals: Number(renewals),
    leaseMs: Number(lease),
    isFree: until === "" || until === "0",
    version: version ?? "",
    handover: handoverOf(last ?? "", Number(epoch), Number(now)),
  };
}

/**
 * Converts a stored handover; undefined: it is of another epoch, because a version that does not write handovers has
 * taken the lease since.
 */
export function handoverOf(last: string, epoch: number, now?: number): Handover | undefined {
  const [, of, at, word, from = ""] = /^(\d+) (\d+) (\w+) (.*)$/s.exec(last) ?? [];
  const cause = handoverCauses.find((each) => each === word);
  if (cause === undefined || Number(of) !== epoch) return undefined;
  return { from, cause, secondsAgo: now === undefined ? 0 : Math.max(0, (now - Number(at)) / 1_000) };
}
