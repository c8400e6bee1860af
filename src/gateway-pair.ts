/**
 * Part of the composition root: a gateway of a pair. It connects the lease at Redis with the store and with the parts that ask which
 * gateway is active.
 */
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
  /** The version of this program. */
  readonly version: string;
  readonly told: (level: "info" | "warn" | "error", say: string) => void;
  /** Another gateway is active, or may be, so nothing may be sent any more. Called before anything else is done. */
  readonly lost: (why: string) => void;
}

/** The result of a hand-over. */
export interface Drained {
  readonly from: string;
  /** The gateway that holds the lease now. */
  readonly to: string;
  readonly epoch: number;
  /** Milliseconds from the last message of this gateway until the other one had the lease. */
  readonly milliseconds: number;
}

export class Pair {
  readonly #lease: Lease;
  readonly #server: RedisLease;
  #isDraining = false;
  /** Called by the store. */
  readonly member: PairMember;

  /** Undefined: this gateway is not part of a pair. */
  static of({ store }: GatewayConfig, parts: PairParts): Pair | undefined {
    return store.pair.enabled && store.kind === "redis" ? new Pair(store, parts) : undefined;
  }

  private constructor({ folder, redis, pair }: GatewayConfig["store"], { version, told, lost }: PairParts) {
    const holder = { name: pair.name ?? hostname(), run: newRun(), leaseMs: pair.leaseSeconds * 1_000, version };
    this.#server = new RedisLease(redis, () => redis.password && readSecret(redis.password), holder);
    const memory = new LeaseFile(join(folder, "pair-epoch"), (say) => told("warn", say));
    this.#lease = new Lease({ server: this.#server, timers: systemTimers, memory, ...holder, told, lost });
    this.member = {
      run: holder.run,
      epoch: () => this.#lease.epoch,
      fenced: () => this.#lease.lose("the store has a later epoch: another gateway has taken over"),
    };
  }

  /**
   * Waits until this gateway must be the active one, and returns the epoch. Undefined: the lease was released
   * meanwhile.
   */
  acquire(): Promise<number | undefined> {
    return this.#lease.acquire();
  }

  /** True if this gateway may send. Each call reads the clock. */
  readonly owns = (): boolean => this.#lease.owns();

  facts(): PairFacts {
    return this.#lease.facts();
  }

  /** Why a command about sessions cannot be executed here; undefined: it can. */
  saysWhyNot(): string | undefined {
    const facts = this.facts();
    return this.#isDraining
      ? `this gateway (${facts.name}) is handing over; ask the other gateway`
      : saysStandby(facts);
  }

  /**
   * Hands over to the gateway that stands by. If that is not possible, returns a sentence, and nothing has changed.
   * `silence` is called when it is certain that the other gateway is running. When it resolves, everything is sent and
   * stored, and nothing more is received. After that the process must end in each case; `ended` is called with a
   * sentence for the log.
   */
  async drain(silence: () => Promise<void>, ended: (say: string) => void): Promise<Drained | string> {
    const { role, name, owner } = this.facts();
    if (this.#isDraining) return "this gateway is handing over already";
    if (role !== "active") return `${name} stands by${owner === "" ? "" : `: ${owner} is active, drain it there`}`;
    // Set before the first await, so that a second hand-over cannot begin.
    this.#isDraining = true;
    const refused = await this.#nobody();
    if (refused !== undefined) {
      this.#isDraining = false;
      return refused;
    }
    const began = performance.now();
    try {
      await silence();
      const next = await this.#lease.handOver();
      const milliseconds = Math.round(performance.now() - began);
      if (next) {
        ended(
          `drained: ${next.to} has the lease, epoch ${next.epoch}, ${milliseconds} ms after this gateway sent its last message`,
        );
        return { from: name, ...next, milliseconds };
      }
    } catch (error) {
      ended(`handing over failed: ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    }
    const say = `${name} has given the lease back, and no gateway has taken it since. It ends now; the next gateway that starts takes the lease`;
    ended(say);
    return say;
  }

  async #nobody(): Promise<string | undefined> {
    const { name } = this.facts();
    const start = "Start the other gateway, and check that it reaches Redis: mqtt-sn-gateway fleet status";
    try {
      return (await this.#lease.whoStandsBy()) ? undefined : `no gateway stands by, so ${name} continues. ${start}`;
    } catch (error) {
      return `it is not known whether a gateway stands by (${error instanceof Error ? error.message : String(error)}), so ${name} continues`;
    }
  }

  /** This gateway has ended its work, so the other one takes over immediately. */
  async release(): Promise<void> {
    await this.#lease.release();
    this.#server.close();
  }
}

/** Why a command cannot be executed here; undefined: it can. */
export function saysStandby(facts: PairFacts | undefined): string | undefined {
  if (!facts || facts.role === "active") return undefined;
  if (facts.role === "ended")
    return `this gateway (${facts.name}) is not active any more, and ends; ask the other gateway`;
  const who = facts.owner === "" ? "no gateway is active" : `${facts.owner} is active and has the sessions; ask it`;
  return `this gateway (${facts.name}) stands by: ${who}`;
}
