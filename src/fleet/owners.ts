/**
 * Decides which shards this member owns: which shards it claims, hands over and waits for. Each shard has a lease at
 * the server, like that of a pair (storage/lease.ts). The holder counts from the moment before it asked for the last
 * granted renewal, and gives up a tenth of the lease before the end. A member that waits counts from the moment after
 * it saw that renewal for the first time. So no two members own a shard by their own clocks, if the clocks run at
 * nearly the same rate. In addition, each commit is checked against the epoch at the server, whatever the clocks say.
 *
 * Rendezvous hashing gives each shard an order of members. The first member claims the shard as soon as no member holds
 * it. Each further member waits a lease and a second longer than the one before, so that a member that cannot serve
 * leaves no shard unserved. An owner that is not the first in the order hands over, one shard at a time.
 */
import type { LeaseState } from "../storage/lease.ts";
import { deadlineOf, type Held, Own } from "./claim.ts";
import type { Member, Ownership } from "./members.ts";
import { Membership } from "./membership.ts";
import type { OwnersCounters, OwnersParts, ShardFacts } from "./owners-parts.ts";
import { SeenLeases, sayOlder } from "./seen-leases.ts";
import { messageOf, Troubles } from "./troubles.ts";

const pollMsMax = 150;
const openingsMax = 8;
/**
 * A member that claimed a shard in place of a better one keeps it for this time, because the better one may fail again
 * soon.
 */
const substituteMs = 60_000;
/** A hand-over ends when a member has the shard, or after a lease and this time. */
const handOverMsMore = 2_000;
/** Shards that are handed over at the same time when the process ends. */
const leavingMax = 8;

export class Owners implements Ownership {
  readonly #parts: OwnersParts;
  readonly #members: Membership;
  readonly #mine = new Map<number, Own>();
  readonly #leases: SeenLeases;
  readonly #claiming = new Set<number>();
  readonly #toOpen: Own[] = [];
  #openings = 0;
  /** The hand-over that is under way. */
  #moving: { readonly shard: number; readonly epoch: number; readonly until: number } | undefined;
  readonly #troubles: Troubles;
  /** The requests that failed in the present look. */
  readonly #failedNow = new Set<"claim" | "older">();
  #isLooking = false;
  #isRenewing = false;
  #isBeating = false;
  #isEnded = false;
  #hasLooked = false;
  #nextRenewal = 0;
  #nextBeat = 0;
  #cancel: () => void = () => {};
  readonly #pollMs: number;
  readonly counters: OwnersCounters = {
    claimed: { first: 0, drained: 0, ended: 0, silent: 0 },
    handedOver: 0,
    lost: 0,
    failed: 0,
  };

  constructor(parts: OwnersParts) {
    this.#parts = parts;
    this.#troubles = new Troubles(parts.told);
    this.#members = new Membership(parts.self, parts.leaseMs);
    this.#leases = new SeenLeases(parts.leaseMs, parts.self.run);
    this.#pollMs = Math.min(pollMsMax, parts.leaseMs / 10);
  }

  /** Begins to watch the leases, and to claim this member's shards. */
  start(): void {
    this.#tick();
  }

  get shards(): number {
    return this.#parts.shards;
  }

  ownerOf(shard: number): "here" | Member | undefined {
    const own = this.#mine.get(shard);
    if (own) return own.phase === "serving" ? "here" : undefined;
    const state = this.#leases.of(shard);
    if (!state || state.isFree) return undefined;
    return this.#members.byRun(state.run, this.#parts.timers.now());
  }

  others(): readonly Member[] {
    return this.#members.others(this.#parts.timers.now());
  }

  get self(): Member {
    return this.#members.self;
  }

  /** Why the server cannot be used now; "" = it can. */
  get trouble(): string {
    return this.#troubles.first;
  }

  /** True if this member has claimed the shards that it should own, and serves all of them. */
  get isSettled(): boolean {
    return this.#hasLooked && this.serving === this.#mine.size;
  }

  /** The number of shards that are served here. */
  get serving(): number {
    let count = 0;
    for (const { phase } of this.#mine.values()) if (phase === "serving") count++;
    return count;
  }

  /** The other members, including silent ones, with the milliseconds since their last beat. */
  known(): ReturnType<Membership["known"]> {
    return this.#members.known(this.#parts.timers.now());
  }

  facts(): ShardFacts[] {
    return Array.from({ length: this.#parts.shards }, (_, shard) => {
      const own = this.#mine.get(shard);
      if (own) return { shard, owner: this.#parts.self.name, epoch: own.epoch, here: own.phase };
      const state = this.#leases.of(shard);
      return { shard, owner: !state || state.isFree ? "" : state.owner, epoch: state?.epoch ?? 0 };
    });
  }

  /**
   * Hands over all shards, one after another; then this member leaves. Returns a sentence if that is not possible; then
   * nothing has changed.
   */
  async drain(): Promise<{ readonly shards: number } | string> {
    if (this.#members.self.isDraining) return "this gateway is handing over already";
    await this.#beat();
    const { timers } = this.#parts;
    const unheard = this.#troubles.of("beat");
    if (unheard !== "") return `the other gateways are not known (${unheard}), so this gateway continues`;
    if (this.#members.others(timers.now()).every(({ isDraining }) => isDraining))
      return "there is no other gateway that takes the shards, so this gateway continues. Start another one: mqtt-sn-gateway fleet status";
    this.#members.drain();
    await this.#beat();
    let shards = 0;
    while (this.#mine.size > 0 && !this.#isEnded) {
      if (!this.#moving) {
        const next = [...this.#mine.values()].find(({ phase }) => phase === "serving");
        if (next) shards++;
        if (next) await this.#handOver(next, true);
      }
      await this.#pause();
    }
    while (this.#moving && !this.#isEnded) await this.#pause();
    await this.#leave();
    return { shards };
  }

  /** Releases all shards, several at a time, and leaves the fleet. */
  async stop(): Promise<void> {
    if (this.#isEnded) return;
    this.#members.drain();
    await this.#beat();
    const work = async (): Promise<void> => {
      for (;;) {
        const next = [...this.#mine.values()].find(({ phase }) => phase === "serving");
        if (!next) return;
        await this.#handOver(next, false);
      }
    };
    await Promise.all(Array.from({ length: leavingMax }, work));
    while ([...this.#mine.values()].some(({ phase }) => phase === "leaving")) await this.#pause();
    await this.#leave();
  }

  async #leave(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#cancel();
    for (const own of [...this.#mine.values()]) {
      this.#mine.delete(own.shard);
      this.#parts.host.drop(own.shard);
      await this.#released(own, "ended");
    }
    await this.#parts.server.leave().catch((error: unknown) => this.#troubles.ails("beat", error)); // the beat then expires by itself
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => void this.#parts.timers.after(this.#pollMs, resolve));
  }

  readonly #tick = (): void => {
    if (this.#isEnded) return;
    const { timers, leaseMs } = this.#parts;
    this.#cancel = timers.after(this.#pollMs, this.#tick);
    const now = timers.now();
    for (const own of [...this.#mine.values()]) own.owns();
    if (now >= this.#nextBeat && !this.#isBeating) void this.#beat();
    if (now >= this.#nextRenewal && !this.#isRenewing) {
      this.#nextRenewal = now + leaseMs / 3;
      void this.#renew();
    }
    if (!this.#isLooking) void this.#look();
  };

  async #beat(): Promise<void> {
    const { server, timers, leaseMs } = this.#parts;
    const asked = timers.now();
    this.#nextBeat = asked + leaseMs / 3;
    this.#isBeating = true;
    try {
      this.#members.heard(await server.beat(this.#members.self), asked);
      this.#troubles.well("beat");
    } catch (error) {
      this.#nextBeat = timers.now() + leaseMs / 10;
      this.#troubles.ails("beat", error);
    } finally {
      this.#isBeating = false;
    }
  }

  async #renew(): Promise<void> {
    const { server, timers, leaseMs } = this.#parts;
    const held = [...this.#mine.values()];
    if (held.length === 0) return this.#troubles.well("renewal"); // there is nothing to renew any more
    this.#isRenewing = true;
    const asked = timers.now();
    try {
      const ours = await server.renew(held.map(({ shard, epoch }) => ({ shard, epoch })));
      for (const [i, own] of held.entries()) {
        if (this.#mine.get(own.shard) !== own) continue;
        if (ours[i] !== true) this.#lose(own, "another gateway has taken it");
        else if (own.owns()) own.deadline = deadlineOf(asked, leaseMs);
      }
      this.#troubles.well("renewal");
    } catch (error) {
      this.#nextRenewal = timers.now() + leaseMs / 10;
      this.#troubles.ails("renewal", error);
    } finally {
      this.#isRenewing = false;
    }
  }

  async #look(): Promise<void> {
    const { server, timers, shards } = this.#parts;
    const wanted = Array.from({ length: shards }, (_, shard) => shard).filter((shard) => !this.#mine.has(shard));
    this.#isLooking = true;
    try {
      const states = wanted.length > 0 ? await server.look(wanted) : [];
      const now = timers.now();
      for (const [i, shard] of wanted.entries()) {
        const state = states[i];
        if (state && !this.#mine.has(shard)) this.#note(shard, state, now);
      }
      this.#troubles.well("look");
      this.#failedNow.clear();
      await this.#decide(wanted);
      // An earlier problem with a claim is over: another member has the shard, or the server has the newer data again.
      for (const what of ["claim", "older"] as const) if (!this.#failedNow.has(what)) this.#troubles.well(what);
    } catch (error) {
      this.#troubles.ails("look", error);
    } finally {
      this.#isLooking = false;
    }
  }

  #note(shard: number, state: LeaseState, now: number): void {
    this.#leases.note(shard, state, now);
    const { memory } = this.#parts;
    if (state.epoch > memory.highest(shard)) memory.keep(shard, state.epoch);
    if (this.#moving?.shard === shard && state.epoch > this.#moving.epoch) this.#moving = undefined;
  }

  /** Claims shards and hands them over, by the states that were just seen. */
  async #decide(looked: readonly number[]): Promise<void> {
    const { timers } = this.#parts;
    if (this.#isEnded || !this.#members.isFresh(timers.now())) return;
    await Promise.all(looked.filter((shard) => this.#isToBeClaimed(shard)).map((shard) => this.#claim(shard)));
    this.#hasLooked = true;
    const now = timers.now();
    if (this.#moving && now >= this.#moving.until) this.#moving = undefined;
    if (this.#moving || this.#members.self.isDraining) return;
    const next = [...this.#mine.values()].find((own) => this.#isAnothers(own, now));
    if (next) void this.#handOver(next, true);
  }

  #isToBeClaimed(shard: number): boolean {
    const { timers, self, memory } = this.#parts;
    const now = timers.now();
    if (this.#mine.has(shard) || this.#claiming.has(shard)) return false;
    const state = this.#leases.of(shard);
    const waitedMs = this.#leases.waitedMs(shard, now);
    if (!state || waitedMs === undefined) return false;
    if (state.epoch < memory.highest(shard)) {
      this.#failedNow.add("older");
      this.#troubles.ails("older", new Error(sayOlder(shard, state.epoch, memory.highest(shard))));
      return false;
    }
    const rank = this.#members.candidates(shard, now).findIndex(({ name }) => name === self.name);
    return rank >= 0 && this.#leases.isTurnOf(rank, waitedMs);
  }

  async #claim(shard: number): Promise<void> {
    const { server, timers, memory, leaseMs, self } = this.#parts;
    const seen = this.#leases.of(shard);
    if (!seen) return;
    this.#claiming.add(shard);
    const asked = timers.now();
    try {
      const claimed = await server.claim(shard, seen);
      this.#troubles.well("claim");
      if (!claimed) return;
      const { epoch, handover } = claimed;
      memory.keep(shard, epoch);
      if (this.#isEnded) return void this.#released({ shard, epoch }, "ended");
      const isFirst = this.#members.candidates(shard, timers.now())[0]?.name === self.name;
      const own = new Own(shard, epoch, deadlineOf(asked, leaseMs), {
        now: () => timers.now(),
        isMine: (each) => this.#mine.get(shard) === each,
        lose: (each, why) => this.#lose(each, why),
      });
      own.keptUntil = isFirst ? 0 : timers.now() + substituteMs;
      this.#mine.set(shard, own);
      this.#leases.forget(shard);
      this.counters.claimed[handover?.cause ?? "first"]++;
      this.#toOpen.push(own);
      this.#openNext();
    } catch (error) {
      this.#failedNow.add("claim");
      this.#troubles.ails("claim", error);
    } finally {
      this.#claiming.delete(shard);
    }
  }

  #openNext(): void {
    while (this.#openings < openingsMax) {
      const next = this.#toOpen.shift();
      if (!next) return;
      if (!next.owns()) continue;
      this.#openings++;
      void this.#open(next).finally(() => {
        this.#openings--;
        this.#openNext();
      });
    }
  }

  async #open(own: Own): Promise<void> {
    const { host, timers, told } = this.#parts;
    try {
      await host.open(own);
      if (own.owns()) own.phase = "serving";
    } catch (error) {
      if (this.#mine.get(own.shard) !== own) return; // the shard was dropped meanwhile
      this.counters.failed++;
      this.#leases.noteFailed(own.shard, timers.now());
      told("error", `shard ${own.shard} cannot be served here: ${messageOf(error)}; another gateway may`);
      this.#mine.delete(own.shard);
      host.drop(own.shard);
      await this.#released(own, "ended");
    }
  }

  /** True if rendezvous gives the shard to another member, which has been there for at least a lease. */
  #isAnothers(own: Own, now: number): boolean {
    if (own.phase !== "serving" || now < own.keptUntil) return false;
    const first = this.#members.candidates(own.shard, now)[0];
    return first !== undefined && first.name !== this.#parts.self.name && this.#members.isSettled(first.name, now);
  }

  /** `isWatched`: the next shard waits until another member has this one. */
  async #handOver(own: Own, isWatched: boolean): Promise<void> {
    const { host, timers, leaseMs, told } = this.#parts;
    const { shard, epoch } = own;
    own.phase = "leaving";
    if (isWatched) this.#moving = { shard, epoch, until: timers.now() + leaseMs + handOverMsMore };
    try {
      await host.close(shard);
    } catch (error) {
      told("error", `shard ${shard} could not be closed in order: ${messageOf(error)}`);
      host.drop(shard);
    }
    // The shard was lost meanwhile, so there is nothing to release.
    if (!own.owns()) return;
    this.#mine.delete(shard);
    this.counters.handedOver++;
    if (isWatched) this.#moving = { shard, epoch, until: timers.now() + leaseMs + handOverMsMore };
    await this.#released(own, "drained");
  }

  async #released({ shard, epoch }: Held, cause: "drained" | "ended"): Promise<void> {
    const { server, told } = this.#parts;
    try {
      await server.release({ shard, epoch }, cause);
    } catch (error) {
      told("warn", `the lease of shard ${shard} could not be given back; it expires by itself: ${messageOf(error)}`);
    }
  }

  #lose(own: Own, why: string): void {
    if (this.#mine.get(own.shard) !== own) return;
    this.#mine.delete(own.shard);
    this.counters.lost++;
    if (this.#moving?.shard === own.shard) this.#moving = undefined;
    this.#parts.host.drop(own.shard);
    const trouble = why === "" ? this.trouble || "this process stood still" : why;
    this.#parts.told("error", `shard ${own.shard} (epoch ${own.epoch}) is not this gateway's any more: ${trouble}`);
  }
}
