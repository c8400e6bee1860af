/**
 * Restores a backup into the stores of a fleet at Redis. A restore begins only if no gateway of the fleet runs and
 * nothing is stored, and it is either finished or undone. During a restore, and after one that was not finished, no
 * gateway is accepted as a member, so none claims a shard. A new restore removes what an unfinished one has left.
 */
import { GatewayError } from "../errors.ts";
import { textOf } from "./redis-answers.ts";
import type { Answer } from "./redis-connection.ts";
import { fillBeginScript, fillEndScript, fillGoOnScript, fillUndoScript, type Script } from "./redis-scripts.ts";
import type { RedisSource } from "./redis-source.ts";

/** A restore that has sent nothing for this time has ended. Milliseconds. */
const endedMs = 30_000;

export class RedisFill {
  readonly #source: RedisSource;
  readonly #run: string;
  readonly #shards: number;
  readonly #leaseMs: number;
  readonly #members: string;
  readonly #metaOf: (shard: number) => string;

  /** @param prefixOf the prefix of a shard's keys; undefined: the prefix of the members' keys */
  constructor(
    source: RedisSource,
    {
      run,
      shards,
      leaseMs,
      prefixOf,
    }: {
      /** Identifies this restore. */
      readonly run: string;
      readonly shards: number;
      readonly leaseMs: number;
      readonly prefixOf: (shard: number | undefined) => string;
    },
  ) {
    this.#source = source;
    this.#run = run;
    this.#shards = shards;
    this.#leaseMs = leaseMs;
    this.#members = `{${prefixOf(undefined)}}:meta`;
    this.#metaOf = (shard) => `{${prefixOf(shard)}}:meta`;
  }

  /**
   * @throws {GatewayError} ERR_BACKUP if the fleet is not stopped, is not empty, or has another number of shards;
   * ERR_STORE_OPEN
   */
  async begin(): Promise<void> {
    const words = [this.#run, this.#shards, this.#leaseMs, endedMs].map(String);
    const [is, what, who] = (await this.#ask(fillBeginScript, this.#all().map(this.#metaOf), words)).map(textOf);
    if (is !== "begun" && is !== "unfinished") throw refused(this.#refusal(is ?? "", what ?? "", who ?? ""));
    if (is === "unfinished") await this.#undo();
  }

  /**
   * Tells the server that the restore continues; called from time to time. @throws {GatewayError} ERR_BACKUP if another
   * restore has begun since.
   */
  async goOn(): Promise<void> {
    const [is] = await this.#ask(fillGoOnScript, [], [this.#run]);
    if (textOf(is) !== "done") throw refused("another restore into this fleet has begun since");
  }

  /**
   * Finishes the restore: everything is stored, and gateways may start. @throws {GatewayError} ERR_BACKUP if another
   * restore has begun since.
   */
  async end(): Promise<void> {
    const [is] = await this.#ask(fillEndScript, [], [this.#run, String(this.#shards)]);
    if (textOf(is) !== "done") throw refused("another restore into this fleet has begun since");
  }

  /**
   * Undoes the restore: the stores are empty again. @throws {GatewayError} ERR_STORE_OPEN: they are not empty, and no
   * gateway claims their shards.
   */
  async giveUp(): Promise<void> {
    await this.#undo();
    await this.#ask(fillEndScript, [], [this.#run, ""]);
  }

  async #undo(): Promise<void> {
    for (const shard of this.#all()) await this.#ask(fillUndoScript, [this.#metaOf(shard)], [this.#run]);
  }

  #all(): number[] {
    return Array.from({ length: this.#shards }, (_, shard) => shard);
  }

  #refusal(is: string, what: string, who: string): string {
    if (is === "shards")
      return `the fleet has ${what} shards, and the configuration says ${this.#shards}: set fleet.shards to ${what}`;
    if (is === "member")
      return `the gateway ${what} of the fleet runs: stop all gateways of the fleet before you restore`;
    if (is === "held") return `${who} owns shard ${what} of the fleet: stop it, or wait until its lease is over`;
    if (is === "filling")
      return `another restore into this fleet was active ${Math.round(Number(what) / 1_000)} s ago: wait for it, or half a minute after it has ended`;
    return `there are sessions in the store of shard ${what}; give store.redis.prefix another name, or delete what is there`;
  }

  async #ask(script: Script, keys: readonly string[], words: readonly string[]): Promise<readonly Answer[]> {
    try {
      return await (await this.#source.open()).run(script, [this.#members, ...keys], words);
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new GatewayError("ERR_STORE_OPEN", {}, { cause, say: `the stores of the fleet cannot be reached: ${why}` });
    }
  }
}

function refused(say: string): GatewayError {
  return new GatewayError("ERR_BACKUP", {}, { say });
}
