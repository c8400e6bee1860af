/**
 * The lease decides which gateway of a pair is active: the gateway that holds it. The lease is a record at a server that both
 * gateways can reach. Each takeover has an epoch, which is one higher than the last.
 *
 * The clocks of two machines are never compared. The holder counts the length of the lease from the moment before it asked for the
 * last granted renewal, and gives up a tenth of the length before the end. The other gateway counts from the moment after it saw
 * this renewal for the first time, and claims the lease when the whole length has passed without a change. So both are never active
 * at the same time, if their clocks run at nearly the same rate. While a machine is suspended, its clock stands still. Then the
 * epoch, which the server checks with each commit, protects the sessions.
 */

export interface LeaseTimers {
  /** The time of a monotonic clock, in milliseconds. */
  now(): number;
  /** Calls `call` once. @returns a function that cancels the call. */
  after(ms: number, call: () => void): () => void;
}

export interface LeaseState {
  /** Name of the gateway that holds the lease; "": no gateway ever held it. */
  readonly owner: string;
  /** Identifies one start of that gateway. */
  readonly run: string;
  /** Grows by one with each takeover. */
  readonly epoch: number;
  readonly renewals: number;
  readonly leaseMs: number;
  /** No gateway holds the lease, or the last holder gave it back. */
  readonly isFree: boolean;
  /** Version of the gateway that holds the lease; "": not known. */
  readonly version: string;
  /** How the lease passed to its present or last holder; undefined: it never had one, or this is not known. */
  readonly handover: Handover | undefined;
}

/**
 * `first`: the lease had no holder before. `drained`: an operator told the last holder to hand it over. `ended`: the last holder gave
 * it back at its end. `silent`: the last holder did not renew it.
 */
export const handoverCauses = ["first", "drained", "ended", "silent"] as const;
export type HandoverCause = (typeof handoverCauses)[number];

export interface Handover {
  /** Name of the last holder; "": none. */
  readonly from: string;
  readonly cause: HandoverCause;
  readonly secondsAgo: number;
}

/** The other gateway of the pair, as the server shows it. */
export interface OtherOne {
  readonly name: string;
  readonly version: string;
  /** Time since it wrote its presence record, or renewed the lease. */
  readonly secondsAgo: number;
}

/**
 * The server that has the lease. Each function may throw if the server cannot be reached; then the server may or may not have carried
 * out the request.
 */
export interface LeaseServer {
  look(): Promise<LeaseState>;
  /**
   * Takes the lease if it has not changed since `seen`.
   * @returns the new epoch, and how the lease passed to this gateway; undefined: the lease has changed.
   */
  claim(seen: LeaseState): Promise<{ readonly epoch: number; readonly handover: Handover | undefined } | undefined>;
  /** Renews the lease. @returns `standby`: the gateway that stands by, if there is one; `isOurs` false: another gateway holds the lease. */
  renew(epoch: number): Promise<{ readonly isOurs: boolean; readonly standby: OtherOne | undefined }>;
  /** Gives the lease back, if this gateway holds it. */
  release(epoch: number, cause: "drained" | "ended"): Promise<void>;
  /** Writes the presence record that the active gateway reads, or removes it. The record expires after the length of the lease. */
  stand(isThere: boolean): Promise<void>;
}

/** The highest epoch that this machine has seen. A server with a lower one has lost data. */
export interface LeaseMemory {
  highest(): number;
  keep(epoch: number): void;
}

export interface LeaseParts {
  readonly server: LeaseServer;
  readonly timers: LeaseTimers;
  readonly memory: LeaseMemory;
  /** Name of this gateway, and the identifier of this start. */
  readonly name: string;
  readonly run: string;
  readonly leaseMs: number;
  /** Called with plain sentences, for the log. */
  readonly told: (level: "info" | "warn" | "error", say: string) => void;
  /** Called once, as soon as the loss is known. From then on this gateway must send nothing. */
  readonly lost: (why: string) => void;
}

export type PairRole = "active" | "standby" | "ended";

export interface PairFacts {
  readonly role: PairRole;
  readonly name: string;
  /** If this gateway is active, its own epoch; otherwise the last epoch that it saw. */
  readonly epoch: number;
  /** Name of the active gateway, as far as it is known; "": none. */
  readonly owner: string;
  readonly leaseSeconds: number;
  /** Time in this role, in seconds. */
  readonly sinceSeconds: number;
  /** Why the lease cannot be read or claimed at present; "": it can. */
  readonly trouble: string;
  /**
   * If this gateway is active: the time until it gives up by its own clock, if no renewal is granted. If it stands by:
   * the time until it claims the lease, if no renewal comes. 0: no gateway holds the lease.
   */
  readonly leaseLeftSeconds: number;
  /** The other gateway of the pair, if it was seen. */
  readonly other?: OtherOne;
  /** How the lease passed to its holder. */
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
  /** Until this time, by its own clock, the gateway holds the lease. */
  #deadline = 0;
  #renewAt = 0;
  #isRenewing = false;
  #cancelBeat: () => void = () => {};
  /** The last renewal of the holder, and when this gateway saw it for the first time. */
  #seen = { what: "", at: 0, leaseMs: 0, version: "" };
  #handover: { readonly is: Handover; readonly at: number } | undefined;
  /** The gateway that stands by while this one is active, and when the server reported it. */
  #standby: { readonly is: OtherOne; readonly at: number } | undefined;
  #tracedAt = Number.NEGATIVE_INFINITY;

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#pollMs = Math.min(pollMsMax, parts.leaseMs / 5);
    this.#beatMs = parts.leaseMs / 30;
    this.#since = parts.timers.now();
  }

  /** Waits until this gateway holds the lease. @returns the epoch; undefined: the lease was given back or lost meanwhile. */
  async acquire(): Promise<number | undefined> {
    while (this.#role === "standby") {
      const epoch = await this.#tried();
      if (epoch !== undefined) return epoch;
      await new Promise<void>((resolve) => this.#parts.timers.after(this.#pollMs, resolve));
    }
    return undefined;
  }

  /** Whether this gateway may send; called before everything that is sent. If its clock has passed the deadline, the lease is lost before this returns. */
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
   * Asks the server which gateway would take over now; undefined: none.
   * @throws {Error} if the server cannot be reached, or this gateway does not hold the lease any more.
   */
  async whoStandsBy(): Promise<OtherOne | undefined> {
    if (this.owns()) await this.#renew();
    if (!this.owns()) throw new Error("this gateway does not hold the lease any more");
    if (this.#trouble !== "") throw new Error(this.#trouble);
    return this.#standby?.is;
  }

  /**
   * Gives the lease back, and waits until another gateway holds it.
   * @returns undefined: no gateway took it within its length and two seconds, or the server does not answer.
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

  /** Another gateway holds the lease, or it has expired. This state is final. */
  lose(why: string): void {
    if (this.#role !== "active") return;
    this.#become("ended");
    this.#cancelBeat();
    this.#parts.lost(why);
  }

  /** Gives the lease back, so that the other gateway need not wait until it expires. If this gateway stands by, removes its presence record. */
  async release(cause: "drained" | "ended" = "ended"): Promise<void> {
    const wasActive = this.#role === "active";
    if (this.#role === "ended") return;
    this.#become("ended");
    this.#cancelBeat();
    if (!wasActive) return this.#parts.server.stand(false).catch(() => {}); // if this fails, the record expires
    try {
      await this.#parts.server.release(this.#epoch, cause);
    } catch (error) {
      this.#parts.told("warn", `the lease could not be given back; it expires by itself: ${messageOf(error)}`);
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
      // A lease with this run's id can exist here: the server granted the claim, but its answer was lost.
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
      this.#ails(`the lease cannot be read: ${messageOf(error)}`);
      return undefined;
    }
  }

  /** Tells the active gateway that this one stands by. */
  async #trace(now: number): Promise<undefined> {
    const { server, leaseMs } = this.#parts;
    if (now - this.#tracedAt < leaseMs / 3) return;
    await server.stand(true);
    this.#tracedAt = now;
  }

  /** Whether the server has older data than before. A gateway that continued with them would lose acknowledged messages. */
  #isOlder({ epoch }: LeaseState): boolean {
    const { memory } = this.#parts;
    const highest = memory.highest();
    if (epoch > highest) memory.keep(epoch);
    if (epoch >= highest) return false;
    this.#ails(
      `the server came back with older data (epoch ${epoch}, and ${highest} was there before). This gateway does not become active with these data. ` +
        "Restore the newer data. Or, to continue with the older data, stop both gateways, delete pair-epoch in store.folder of both, and start them",
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

  /** Reports trouble with the lease once, until the lease works again or the reason changes. */
  #ails(trouble: string): void {
    if (trouble !== this.#trouble) this.#parts.told("error", trouble);
    this.#trouble = trouble;
  }

  #well(): void {
    if (this.#trouble !== "") this.#parts.told("info", "the lease can be read again");
    this.#trouble = "";
  }
}

/** Adds the time that has passed since the report. */
function aged<Is extends { readonly secondsAgo: number }>(
  { is, at }: { readonly is: Is; readonly at: number },
  now: number,
): Is {
  return { ...is, secondsAgo: tenths(is.secondsAgo + (now - at) / 1_000) };
}

/** Rounds to tenths, for display. */
function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
