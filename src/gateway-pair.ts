/** Part of the composition root: a gateway that is one of a pair. It joins the lease at Redis to the store, and to whoever asks who is active. */
import { hostname } from "node:os";
import { join } from "node:path";
import type { GatewayConfig } from "./config/schema.ts";
import { Lease, type PairFacts } from "./storage/lease.ts";
import { LeaseFile } from "./storage/lease-memory.ts";
import { newRun, type PairMember } from "./storage/redis.ts";
import { RedisLease } from "./storage/redis-lease.ts";
import { systemTimers } from "./transports/timers.ts";
import { readSecret } from "./upstream/credentials.ts";

export interface PairParts {
  readonly told: (level: "info" | "warn" | "error", say: string) => void;
  /** Another one is active from now on, or may be: nothing may leave any more. Called before anything else is done. */
  readonly lost: (why: string) => void;
}

export class Pair {
  readonly #lease: Lease;
  readonly #server: RedisLease;
  /** What the store is told. */
  readonly member: PairMember;

  /** undefined: this gateway is alone. */
  static of({ store }: GatewayConfig, parts: PairParts): Pair | undefined {
    return store.pair.enabled && store.kind === "redis" ? new Pair(store, parts) : undefined;
  }

  private constructor({ folder, redis, pair }: GatewayConfig["store"], { told, lost }: PairParts) {
    const holder = { name: pair.name ?? hostname(), run: newRun(), leaseMs: pair.leaseSeconds * 1_000 };
    this.#server = new RedisLease(redis, () => redis.password && readSecret(redis.password), holder);
    const memory = new LeaseFile(join(folder, "pair-epoch"), (say) => told("warn", say));
    this.#lease = new Lease({ server: this.#server, timers: systemTimers, memory, ...holder, told, lost });
    this.member = {
      run: holder.run,
      epoch: () => this.#lease.epoch,
      fenced: () => this.#lease.lose("the store has a later epoch: another gateway has taken over"),
    };
  }

  /** Waits until this gateway is to be the active one; answers the epoch. undefined: it was released meanwhile. */
  acquire(): Promise<number | undefined> {
    return this.#lease.acquire();
  }

  /** May anything leave? Costs a look at the clock. */
  readonly owns = (): boolean => this.#lease.owns();

  facts(): PairFacts {
    return this.#lease.facts();
  }

  /** Its work is done: the other one takes over at once. */
  async release(): Promise<void> {
    await this.#lease.release();
    this.#server.close();
  }
}

/** Why a command cannot be carried out here; undefined: it can. */
export function saysStandby(facts: PairFacts | undefined): string | undefined {
  if (!facts || facts.role === "active") return undefined;
  const who = facts.owner === "" ? "nobody is active" : `${facts.owner} is active`;
  return `this gateway (${facts.name}) stands by: ${who}, and has the sessions; ask there`;
}
