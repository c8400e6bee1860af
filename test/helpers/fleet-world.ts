/** Members of a fleet on virtual time: a server that may be away or slow, members that stand still, and gateways that are only noted down. */
import type { Claim, ShardServer } from "../../src/fleet/claim.ts";
import type { Member } from "../../src/fleet/members.ts";
import type { Heard } from "../../src/fleet/membership.ts";
import { Owners } from "../../src/fleet/owners.ts";
import type { LeaseTimers } from "../../src/storage/lease.ts";
import { ModelServer, type VirtualTime } from "./lease-world.ts";

/** As `redis-fleet.ts`: the leases of the shards, and the beats. */
export class FleetServer {
  readonly shards: readonly ModelServer[];
  readonly beats = new Map<string, { is: Member; beats: number; at: number }>();
  /** A planted fault: a claim is not held against what was seen. */
  checksClaims = true;

  constructor(shards: number) {
    this.shards = Array.from({ length: shards }, () => new ModelServer());
  }

  shard(shard: number): ModelServer {
    const found = this.shards[shard];
    if (!found) throw new Error(`there is no shard ${shard}`);
    return found;
  }

  heard(at: number): Heard[] {
    return [...this.beats.values()].map(({ is, beats, at: then }) => ({ ...is, beats, silentMs: at - then }));
  }
}

/** What is done wrong on purpose. */
export interface Faults {
  /** So much of the length of a lease is waited for. */
  readonly waits?: number;
  /** Its clock runs at this pace. */
  readonly pace?: number;
  /** It says that it is closed, and flushes for so long. */
  readonly flushesMs?: number;
  /** Its gateways go on when they are dropped. */
  readonly dropsNothing?: boolean;
}

export interface Openings {
  readonly claim: Claim;
  isServing: boolean;
}

export class FleetMember {
  readonly name: string;
  readonly owners: Owners;
  readonly way = { ms: 1, backMs: 1, cut: false };
  readonly said: string[] = [];
  /** Shards that it cannot open. */
  readonly cannot = new Set<number>();
  /** Its gateways, by shard. */
  readonly open = new Map<number, Openings>();
  isDead = false;
  #stillUntil = 0;
  readonly #time: VirtualTime;

  constructor(time: VirtualTime, server: FleetServer, name: string, leaseMs = 3_000, faults: Faults = {}) {
    this.name = name;
    this.#time = time;
    const { waits = 1, pace = 1, flushesMs = 0, dropsNothing = false } = faults;
    const run = `run of ${name} ${Math.random()}`;
    const self: Member = { name, run, place: `${name}:1`, version: "1", isDraining: false };
    const after = (ms: number, call: () => void): (() => void) => {
      let cancel = () => {};
      const called = () => {
        if (this.isDead) return;
        if (this.isStill) cancel = time.after(this.#stillUntil - time.now, called);
        else call();
      };
      cancel = time.after(ms / pace, called);
      return () => cancel();
    };
    const timers: LeaseTimers = { now: () => time.now * pace, after };
    const asked = <T>(what: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        if (this.way.cut) return void after(leaseMs / 3, () => reject(new Error("no answer")));
        time.after(this.way.ms, () => {
          if (this.isDead) return;
          const answer = what();
          if (this.way.cut) after(leaseMs / 3, () => reject(new Error("no answer")));
          else after(this.way.backMs, () => resolve(answer));
        });
      });
    const holder = { name, run, leaseMs };
    const there: ShardServer = {
      look: (shards) =>
        asked(() =>
          shards.map((shard) => {
            const state = server.shard(shard).look(time.now);
            return { ...state, leaseMs: state.leaseMs * waits };
          }),
        ),
      claim: (shard, seen) =>
        asked(() => {
          const at = server.shard(shard);
          return at.claim(time.now, holder, server.checksClaims ? seen : at.look());
        }),
      renew: (held) => asked(() => held.map(({ shard, epoch }) => server.shard(shard).renew(time.now, run, epoch))),
      release: ({ shard, epoch }, gave) =>
        asked(() => {
          const at = server.shard(shard);
          if (at.life === run && at.epoch === epoch) Object.assign(at, { life: "", isFree: true, gave });
        }),
      beat: (is) =>
        asked(() => {
          server.beats.set(name, { is, beats: (server.beats.get(name)?.beats ?? 0) + 1, at: time.now });
          return server.heard(time.now);
        }),
      leave: () => asked(() => void server.beats.delete(name)),
    };
    const highest = new Map<number, number>();
    this.owners = new Owners({
      shards: server.shards.length,
      self,
      leaseMs: leaseMs * waits,
      server: there,
      timers,
      memory: {
        highest: (shard) => highest.get(shard) ?? 0,
        keep: (shard, epoch) => void highest.set(shard, epoch),
      },
      host: {
        open: (claim) =>
          new Promise((resolve, reject) => {
            if (this.cannot.has(claim.shard)) return void after(20, () => reject(new Error("it cannot")));
            const opening = { claim, isServing: false };
            this.open.set(claim.shard, opening);
            after(20, () => {
              opening.isServing = this.open.get(claim.shard) === opening;
              resolve();
            });
          }),
        close: (shard) =>
          new Promise((resolve) => {
            const opening = this.open.get(shard);
            if (flushesMs > 0) resolve();
            after(20 + flushesMs, () => {
              if (this.open.get(shard) === opening) this.open.delete(shard);
              resolve();
            });
          }),
        drop: (shard) => {
          if (!dropsNothing) this.open.delete(shard);
        },
      },
      told: (_level, say) => void this.said.push(say),
    });
    if (dropsNothing || flushesMs > 0) this.#judgesByGateway = true;
  }

  #judgesByGateway = false;

  get isStill(): boolean {
    return this.#time.now < this.#stillUntil;
  }

  /** It does nothing for so long. */
  standStill(ms: number): void {
    this.#stillUntil = this.#time.now + ms;
  }

  kill(): void {
    this.isDead = true;
  }

  /** Shards of which something could leave here at this moment: the gateway is there, and the lease is asked as before each send. */
  speaks(): number[] {
    if (this.isDead || this.isStill) return [];
    return [...this.open].flatMap(([shard, { claim, isServing }]) => {
      const owns = claim.owns() || this.#judgesByGateway;
      return isServing && owns ? [shard] : [];
    });
  }
}
