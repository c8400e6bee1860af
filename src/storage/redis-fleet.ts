/**
 * The leases of a fleet's shards in Redis, and the beats of its members. The lease of a shard is in the hash of the
 * shard's store, so that each commit is checked against it.
 */
import type { LeaseState } from "./lease.ts";
import type { RedisOptions } from "./options.ts";
import { listOf, textOf } from "./redis-answers.ts";
import type { Answer, RedisConnection } from "./redis-connection.ts";
import { handoverOf, type LeaseHolder, leaseStateOf } from "./redis-lease.ts";
import {
  beatScript,
  claimScript,
  leaveScript,
  lookAllScript,
  releaseScript,
  renewAllScript,
  type Script,
} from "./redis-scripts.ts";
import type { RedisSource } from "./redis-source.ts";

/** What is stored of a member. */
interface BeatOf {
  readonly name: string;
  readonly run: string;
  readonly place: string;
  readonly version: string;
  readonly isDraining: boolean;
}

/** A member that has sent no beat for this time is removed. */
const forgottenMs = 600_000;

export class RedisFleet {
  readonly #options: RedisOptions;
  readonly #source: RedisSource;
  readonly #holder: LeaseHolder;
  readonly #metaOf: (shard: number) => string;
  readonly #members: string;
  readonly #shards: number;
  #connection: RedisConnection | undefined;

  /** @param prefixOf the prefix of a shard's keys; undefined: the prefix of the members' keys */
  constructor(
    options: RedisOptions,
    source: RedisSource,
    holder: LeaseHolder,
    shards: number,
    prefixOf: (shard: number | undefined) => string,
  ) {
    this.#options = options;
    this.#source = source;
    this.#holder = holder;
    this.#shards = shards;
    this.#metaOf = (shard) => `{${prefixOf(shard)}}:meta`;
    this.#members = `{${prefixOf(undefined)}}:meta`;
  }

  async look(shards: readonly number[]): Promise<LeaseState[]> {
    const found = await this.#ask(lookAllScript, shards.map(this.#metaOf), []);
    return found.map((each) => leaseStateOf(listOf(each)));
  }

  async claim(shard: number, { run, renewals, isFree }: LeaseState) {
    const { run: own, name, leaseMs, version } = this.#holder;
    const words = [own, name, String(leaseMs), isFree ? "" : run, String(renewals), version];
    const connection = await this.#connected();
    const { waitReplicas: replicas, waitMilliseconds: milliseconds } = this.#options;
    // Another server that replaces this one must know which gateway took over.
    const made = await connection.runAndWait(claimScript, this.#metaOf(shard), words, { replicas, milliseconds });
    if (made.replicas < replicas) throw new Error(`${made.replicas} of ${replicas} replicas had the change in time`);
    const [is, epoch, last] = made.answer;
    if (textOf(is) === "later")
      throw new Error(`the store of a shard was written by a later version (format ${textOf(epoch)})`);
    if (textOf(is) !== "claimed") return undefined;
    return { epoch: Number(textOf(epoch)), handover: handoverOf(textOf(last), Number(textOf(epoch))) };
  }

  async renew(held: readonly { readonly shard: number; readonly epoch: number }[]): Promise<boolean[]> {
    const { run, leaseMs } = this.#holder;
    const keys = held.map(({ shard }) => this.#metaOf(shard));
    const words = [run, String(leaseMs), ...held.map(({ epoch }) => String(epoch))];
    return (await this.#ask(renewAllScript, keys, words)).map((is) => is === 1);
  }

  async release(
    { shard, epoch }: { readonly shard: number; readonly epoch: number },
    cause: "drained" | "ended",
  ): Promise<void> {
    await this.#ask(releaseScript, this.#metaOf(shard), [this.#holder.run, String(epoch), cause]);
  }

  async beat({ name, run, place, version, isDraining }: BeatOf) {
    const words = [name, run, place, version, isDraining ? "1" : "0", String(forgottenMs), String(this.#shards)];
    const found = await this.#ask(beatScript, this.#members, words);
    if (Buffer.isBuffer(found[0])) throw new Error(this.#refusal(textOf(found[0]), textOf(found[1])));
    return found.flatMap(heardOf);
  }

  #refusal(is: string, shards: string): string {
    if (is !== "filling")
      return `the fleet has ${shards} shards, and this gateway is configured for ${this.#shards}: set fleet.shards to ${shards}`;
    return "a backup is being restored into the fleet, or a restore was not finished: wait, or run `mqtt-sn-gateway restore` again";
  }

  async leave(): Promise<void> {
    await this.#ask(leaveScript, this.#members, [this.#holder.name, this.#holder.run]);
  }

  async #ask(script: Script, key: string | readonly string[], words: readonly string[]): Promise<readonly Answer[]> {
    return (await this.#connected()).run(script, key, words);
  }

  async #connected(): Promise<RedisConnection> {
    this.#connection ??= await this.#source.open();
    return this.#connection;
  }
}

function heardOf(answer: Answer) {
  const [name, text, silent] = listOf(answer).map(textOf);
  const [beats, , run, place, version, isDraining] = (text ?? "").split("\n");
  if (name === undefined || run === undefined || place === undefined) return [];
  return [
    {
      name,
      run,
      place,
      version: version ?? "",
      isDraining: isDraining === "1",
      beats: Number(beats),
      silentMs: Math.max(0, Number(silent)),
    },
  ];
}
