/**
 * Who of a pair is active: whoever holds the lease. It lies at a server that all can ask; each taking over has an epoch of its
 * own, one higher than the last.
 *
 * No clock is compared with another one. Whoever holds the lease counts from before it asked for the renewal that was granted last,
 * and gives up a tenth of the lease before its end; whoever waits counts from after it saw that renewal for the first time, and
 * claims it when the whole lease is over and nothing has changed. So both are never active, as long as their clocks run at nearly
 * the same pace (and while a machine sleeps, its clock stands: then what the server checks with each commit is what holds).
 */

export interface LeaseTimers {
  /** Monotonic milliseconds. */
  now(): number;
  /** Calls once; the answer cancels. */
  after(ms: number, call: () => void): () => void;
}

export interface LeaseState {
  /** How the gateway is called that holds it; "": none ever did. */
  readonly owner: string;
  /** The run of that gateway: each start is another one. */
  readonly run: string;
  /** Goes up by one with each taking over. */
  readonly epoch: number;
  readonly renewals: number;
  readonly leaseMs: number;
  /** Nobody holds it, or whoever did gave it back. */
  readonly isFree: boolean;
  /** Of the gateway that holds it; "": it does not say. */
  readonly version: string;
  /** How it came to whoever holds it, or held it last; undefined: nobody ever did, or it does not say. */
  readonly handover: Handover | undefined;
}

/**
 * `first`: nobody had it before. `drained`: the one before was told to hand it over. `ended`: it gave it back at its end.
 * `silent`: it did not renew it.
 */
export const handoverCauses = ["first", "drained", "ended", "silent"] as const;
export type HandoverCause = (typeof handoverCauses)[number];

export interface Handover {
  /** Who had it before; "": nobody. */
  readonly from: string;
  readonly cause: HandoverCause;
  readonly secondsAgo: number;
}

/** The trace of one that stands by. */
export interface OtherOne {
  readonly name: string;
  readonly version: string;
  /** Since it left its trace, or renewed the lease. */
  readonly secondsAgo: number;
}

/** Where the lease lies. All of these may throw: the server is away, and what was asked may have been done or not. */
export interface LeaseServer {
  look(): Promise<LeaseState>;
  /** Takes it if it is still as it was seen; answers the new epoch, and how it came here. undefined: it is not. */
  claim(seen: LeaseState): Promise<{ readonly epoch: number; readonly handover: Handover | undefined } | undefined>;
  /** Answers who stands by, if anybody does. `isOurs` false: it is another one's by now. */
  renew(epoch: number): Promise<{ readonly isOurs: boolean; readonly standby: OtherOne | undefined }>;
  /** Gives it back, if it is ours. */
  release(epoch: number, cause: "drained" | "ended"): Promise<void>;
  /** Leaves a trace for whoever is active, which goes by itself after a lease; or takes it away. */
  stand(isThere: boolean): Promise<void>;
}

/** Highest epoch that this machine has seen: the server shall not come back with less. */
export interface LeaseMemory {
  highest(): number;
  keep(epoch: number): void;
}

export interface LeaseParts {
  readonly server: LeaseServer;
  readonly timers: LeaseTimers;
  readonly memory: LeaseMemory;
  /** How this gateway is called, and its run. */
  readonly name: string;
  readonly run: string;
  readonly leaseMs: number;
  /** Plain sentences, for the log. */
  readonly told: (level: "info" | "warn" | "error", say: string) => void;
  /** Once, and at once when it is known: from now on nothing may leave. */
  readonly lost: (why: string) => void;
}

export type PairRole = "active" | "standby" | "ended";

export interface PairFacts {
  readonly role: PairRole;
  readonly name: string;
  /** Its own where it is active, else the one that it saw last. */
  readonly epoch: number;
  /** Who is active, as far as this one knows; "": nobody. */
  readonly owner: string;
  readonly leaseSeconds: number;
  /** Since when it has this role. */
  readonly sinceSeconds: number;
  /** Why the lease cannot be asked for or claimed just now; "": it can. */
  readonly trouble: string;
  /** Until it gives up by its own clock, if no renewal is granted; where it stands by, until it claims what nobody renews. 0: nobody has it. */
  readonly leaseLeftSeconds: number;
  /** The other one, as far as it is seen: who stands by, or the active one. */
  readonly other?: OtherOne;
  /** How the lease came to whoever has it. */
  readonly handover?: Handover;
}

const pollMsMax = 200;
const handOverPollMs = 25;
const handOverMsMore = 2_000;

export class Lease {
  readonly #parts: LeaseParts;
  readonly #pollMs: number;
  readonly #beatMs: number;
  #role: PairRole = "standby";
  #since: number;
  #epoch = 0;
  #owner = "";
  #trouble = "";
  /** Until then it is ours, by our own clock. */
  #deadline = 0;
  #renewAt = 0;
  #isRenewing = false;
  #cancelBeat: () => void = () => {};
  /** The holder's last renewal, and when we saw it for the first time. */
  #seen = { what: "", at: 0, leaseMs: 0, version: "" };
  #handover: { readonly is: Handover; readonly at: number } | undefined;
  /** Who stands by while this one is active, and when that was heard. */
  #standby: { readonly is: OtherOne; readonly at: number } | undefined;
  #tracedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#pollMs = Math.min(pollMsMax, parts.leaseMs / 5);
    this.#beatMs = parts.leaseMs / 30;
    this.#since = parts.timers.now();
  }

  /** Waits until it is ours; answers the epoch. undefined: it was given back, or lost, meanwhile. */
  async acquire(): Promise<number | undefined> {
    while (this.#role === "standby") {
      const epoch = await this.#tried();
      if (epoch !== undefined) return epoch;
      await new Promise<void>((resolve) => this.#parts.timers.after(this.#pollMs, resolve));
    }
    return undefined;
  }

  /** Asked before anything leaves. When our own clock says no, it is lost before this answers. */
  owns(): boolean {
    if (this.#role !== "active") return false;
    if (this.#parts.timers.now() < this.#deadline) return true;
    const trouble = this.#trouble === "" ? "this process stood still" : this.#trouble;
    this.lose(`it could not be renewed in time (${trouble})`);
    return false;
  }

  get epoch(): number {
    return this.#epoch;
  }

  facts(): PairFacts {
    const { name, leaseMs, timers } = this.#parts;
    return {
      role: this.#role,
      name,
      epoch: this.#epoch,
      owner: this.#role === "active" ? name : this.#owner,
      leaseSeconds: leaseMs / 1_000,
      sinceSeconds: Math.floor((timers.now() - this.#since) / 1_000),
      trouble: this.#trouble,
      leaseLeftSeconds: tenths(this.#leftMs() / 1_000),
      ...this.#other(),
      ...(this.#handover && { handover: aged(this.#handover, timers.now()) }),
    };
  }

  #leftMs(): number {
    const now = this.#parts.timers.now();
    if (this.#role === "active") return Math.max(0, this.#deadline - now);
    if (this.#role === "ended" || this.#owner === "") return 0;
    return Math.max(0, this.#seen.at + Math.max(this.#parts.leaseMs, this.#seen.leaseMs) - now);
  }

  #other(): { readonly other?: OtherOne } {
    const now = this.#parts.timers.now();
    if (this.#role === "active") return this.#standby ? { other: aged(this.#standby, now) } : {};
    if (this.#role === "ended" || this.#owner === "") return {};
    const { at, version } = this.#seen;
    return { other: { name: this.#owner, version, secondsAgo: tenths((now - at) / 1_000) } };
  }

  /**
   * Who would take over now, as the server says at this moment; undefined: nobody.
   * @throws {Error} when it cannot be asked, or the lease is not ours any more.
   */
  async whoStandsBy(): Promise<OtherOne | undefined> {
    if (this.owns()) await this.#renew();
    if (!this.owns()) throw new Error("the lease is not ours any more");
    if (this.#trouble !== "") throw new Error(this.#trouble);
    return this.#standby?.is;
  }

  /**
   * Gives it back, and waits until another one has it. undefined: nobody took it within its length and two seconds, or the server
   * does not answer.
   */
  async handOver(): Promise<{ readonly to: string; readonly epoch: number } | undefined> {
    const { server, timers, leaseMs } = this.#parts;
    const before = this.#epoch;
    await this.release("drained");
    const end = timers.now() + leaseMs + handOverMsMore;
    while (timers.now() < end) {
      const state = await server.look().catch(() => undefined);
      if (state && state.epoch > before) return { to: state.owner, epoch: state.epoch };
      await new Promise<void>((resolve) => timers.after(handOverPollMs, resolve));
    }
    return undefined;
  }

  /** Somebody else has it, or it is over. Nothing comes after that. */
  lose(why: string): void {
    if (this.#role !== "active") return;
    this.#become("ended");
    this.#cancelBeat();
    this.#parts.lost(why);
  }

  /** Gives it back: the other one need not wait for its end. Where it stands by, its trace goes. */
  async release(cause: "drained" | "ended" = "ended"): Promise<void> {
    const wasActive = this.#role === "active";
    if (this.#role === "ended") return;
    this.#become("ended");
    this.#cancelBeat();
    if (!wasActive) return this.#parts.server.stand(false).catch(() => {}); // then it goes by itself
    try {
      await this.#parts.server.release(this.#epoch, cause);
    } catch (error) {
      this.#parts.told("warn", `the lease could not be given back, and ends by itself: ${messageOf(error)}`);
    }
  }

  async #tried(): Promise<number | undefined> {
    const { server, timers, run, leaseMs, memory, name } = this.#parts;
    if (this.#role !== "standby") return undefined;
    try {
      const state = await server.look();
      const now = timers.now();
      if (this.#isOlder(state)) return undefined;
      this.#note(state, now);
      const isOver = now - this.#seen.at >= Math.max(leaseMs, state.leaseMs);
      // What is our own was claimed, and the answer did not come.
      if (!state.isFree && state.run !== run && !isOver) return await this.#trace(now);
      const asked = timers.now();
      const claimed = await server.claim(state);
      this.#well();
      if (claimed === undefined || this.#role !== "standby") return undefined;
      const { epoch, handover } = claimed;
      this.#handover = handover && { is: handover, at: timers.now() };
      this.#epoch = epoch;
      memory.keep(epoch);
      this.#become("active");
      this.#owner = name;
      this.#granted(asked);
      this.#beat();
      return this.owns() ? epoch : undefined;
    } catch (error) {
      this.#ails(`the lease cannot be asked for: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** The active one hears that somebody stands by. */
  async #trace(now: number): Promise<undefined> {
    const { server, leaseMs } = this.#parts;
    if (now - this.#tracedAt < leaseMs / 3) return;
    await server.stand(true);
    this.#tracedAt = now;
  }

  /** The server has less than it had: whoever goes on with that, loses what was acknowledged. */
  #isOlder({ epoch }: LeaseState): boolean {
    const { memory } = this.#parts;
    const highest = memory.highest();
    if (epoch > highest) memory.keep(epoch);
    if (epoch >= highest) return false;
    this.#ails(
      `the server came back with older data (epoch ${epoch}, and ${highest} was there before), and this gateway does not become active on them. ` +
        "Put the newer data back; or, to go on with what is there, stop both gateways, delete pair-epoch in store.folder of both, and start them",
    );
    return true;
  }

  #note(state: LeaseState, now: number): void {
    this.#handover = state.handover && { is: state.handover, at: now };
    const what = `${state.run} ${state.epoch} ${state.renewals} ${state.isFree}`;
    if (what === this.#seen.what) return this.#well();
    const isAnother = state.epoch !== this.#epoch || state.owner !== this.#owner;
    this.#seen = { what, at: now, leaseMs: state.leaseMs, version: state.version };
    this.#epoch = state.epoch;
    this.#owner = state.isFree ? "" : state.owner;
    this.#well();
    if (isAnother && !state.isFree) this.#parts.told("info", `standby: ${state.owner} is active, epoch ${state.epoch}`);
  }

  #granted(asked: number): void {
    const { leaseMs } = this.#parts;
    this.#deadline = asked + leaseMs - leaseMs / 10;
    this.#renewAt = asked + leaseMs / 3;
  }

  readonly #beat = (): void => {
    if (!this.owns()) return;
    const { timers } = this.#parts;
    this.#cancelBeat = timers.after(this.#beatMs, this.#beat);
    if (timers.now() >= this.#renewAt && !this.#isRenewing) void this.#renew();
  };

  async #renew(): Promise<void> {
    const { server, timers, leaseMs } = this.#parts;
    this.#isRenewing = true;
    const asked = timers.now();
    try {
      const { isOurs, standby } = await server.renew(this.#epoch);
      if (!isOurs) return this.lose("another gateway has taken over");
      if (!this.owns()) return;
      this.#standby = standby && { is: standby, at: timers.now() };
      this.#granted(asked);
      this.#well();
    } catch (error) {
      this.#renewAt = timers.now() + leaseMs / 10;
      if (this.owns()) this.#ails(`the lease cannot be renewed: ${messageOf(error)}`);
    } finally {
      this.#isRenewing = false;
    }
  }

  #become(role: PairRole): void {
    this.#role = role;
    this.#since = this.#parts.timers.now();
  }

  /** Said once, until it is well again or another trouble. */
  #ails(trouble: string): void {
    if (trouble !== this.#trouble) this.#parts.told("error", trouble);
    this.#trouble = trouble;
  }

  #well(): void {
    if (this.#trouble !== "") this.#parts.told("info", "the lease can be asked for again");
    this.#trouble = "";
  }
}

/** With the time that has passed since it was heard. */
function aged<Is extends { readonly secondsAgo: number }>(
  { is, at }: { readonly is: Is; readonly at: number },
  now: number,
): Is {
  return { ...is, secondsAgo: tenths(is.secondsAgo + (now - at) / 1_000) };
}

/** As people and programs are shown it. */
function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
