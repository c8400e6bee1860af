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
}

/** Where the lease lies. All of these may throw: the server is away, and what was asked may have been done or not. */
export interface LeaseServer {
  look(): Promise<LeaseState>;
  /** Takes it if it is still as it was seen; answers the new epoch. undefined: it is not. */
  claim(seen: LeaseState): Promise<number | undefined>;
  /** false: it is another one's by now. */
  renew(epoch: number): Promise<boolean>;
  /** Gives it back, if it is ours. */
  release(epoch: number): Promise<void>;
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
}

const pollMsMax = 200;

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
  #seen = { what: "", at: 0 };

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
    };
  }

  /** Somebody else has it, or it is over. Nothing comes after that. */
  lose(why: string): void {
    if (this.#role !== "active") return;
    this.#become("ended");
    this.#cancelBeat();
    this.#parts.lost(why);
  }

  /** Gives it back: the other one need not wait for its end. */
  async release(): Promise<void> {
    const wasActive = this.#role === "active";
    if (this.#role === "ended") return;
    this.#become("ended");
    this.#cancelBeat();
    if (!wasActive) return;
    try {
      await this.#parts.server.release(this.#epoch);
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
      if (!state.isFree && state.run !== run && !isOver) return undefined;
      const asked = timers.now();
      const epoch = await server.claim(state);
      this.#well();
      if (epoch === undefined || this.#role !== "standby") return undefined;
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
    const what = `${state.run} ${state.epoch} ${state.renewals} ${state.isFree}`;
    if (what === this.#seen.what) return this.#well();
    const isAnother = state.epoch !== this.#epoch || state.owner !== this.#owner;
    this.#seen = { what, at: now };
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
      const isOurs = await server.renew(this.#epoch);
      if (!isOurs) return this.lose("another gateway has taken over");
      if (!this.owns()) return;
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
