/** A lease on virtual time: a server that may be away, slow or wrong, and gateways that may stand still. */
import {
  type Handover,
  Lease,
  type LeaseMemory,
  type LeaseServer,
  type LeaseState,
  type LeaseTimers,
  type OtherOne,
} from "../../src/storage/lease.ts";

interface Planned {
  readonly at: number;
  readonly call: () => void;
}

export class VirtualTime {
  now = 0;
  readonly #planned = new Set<Planned>();

  after(ms: number, call: () => void): () => void {
    const planned = { at: this.now + ms, call };
    this.#planned.add(planned);
    return () => this.#planned.delete(planned);
  }

  /** Calls what is due in its order; promises continue in between. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#planned].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#planned.delete(next);
      this.now = Math.max(this.now, next.at);
      next.call();
    }
    this.now = end;
    await settled();
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

/** A model of the lease scripts of `redis-scripts.ts`. `test/interop/pair.test.ts` runs the scripts themselves. */
export class ModelServer {
  life = "";
  owner = "";
  epoch = 0;
  renewals = 0;
  leaseMs = 0;
  isFree = true;
  /** Why it was given back last. */
  gave: "drained" | "ended" = "ended";
  #handover: (Omit<Handover, "secondsAgo"> & { readonly at: number }) | undefined;
  /** The gateway that stands by, and how long its record is valid. */
  #standby: { readonly run: string; readonly name: string; readonly at: number; readonly until: number } | undefined;
  /** Each taking over, and each write that was taken. */
  readonly log: {
    readonly at: number;
    readonly what: "claim" | "write" | "renew";
    readonly run: string;
    readonly epoch: number;
  }[] = [];
  /** A planted fault. */
  checksEpoch = true;

  look(at = 0): LeaseState {
    const { owner, life: run, epoch, renewals, leaseMs, isFree } = this;
    return { owner, run, epoch, renewals, leaseMs, isFree, version: "1", handover: this.#last(at) };
  }

  #last(at: number): Handover | undefined {
    if (!this.#handover) return undefined;
    const { from, cause, at: then } = this.#handover;
    return { from, cause, secondsAgo: (at - then) / 1_000 };
  }

  stand(at: number, { name, run, leaseMs }: { name: string; run: string; leaseMs: number }, isThere: boolean): void {
    if (isThere) this.#standby = { run, name, at, until: at + leaseMs };
    else if (this.#standby?.run === run) this.#standby = undefined;
  }

  standby(at: number): OtherOne | undefined {
    if (!this.#standby || at >= this.#standby.until) return undefined;
    return { name: this.#standby.name, version: "1", secondsAgo: (at - this.#standby.at) / 1_000 };
  }

  claim(at: number, by: { name: string; run: string; leaseMs: number }, seen: LeaseState) {
    if (!this.isFree && (this.life !== seen.run || this.renewals !== seen.renewals)) return undefined;
    const cause = !this.isFree ? "silent" : this.leaseMs === 0 ? "first" : this.gave;
    this.#handover = { from: this.owner, cause, at };
    this.stand(at, by, false);
    Object.assign(this, { life: by.run, owner: by.name, leaseMs: by.leaseMs, renewals: 0, isFree: false });
    this.epoch++;
    this.log.push({ at, what: "claim", run: by.run, epoch: this.epoch });
    return { epoch: this.epoch, handover: this.#last(at) };
  }

  renew(at: number, run: string, epoch: number): boolean {
    if (this.life !== run || this.epoch !== epoch) return false;
    this.renewals++;
    this.log.push({ at, what: "renew", run, epoch });
    return true;
  }

  write(at: number, run: string, epoch: number): boolean {
    if (this.checksEpoch && (this.life !== run || this.epoch !== epoch)) return false;
    this.log.push({ at, what: "write", run, epoch });
    return true;
  }
}

export interface Member {
  readonly lease: Lease;
  /** Of each start. */
  readonly ends: string[];
  readonly said: string[];
  /** Its way to the server: how long a question takes there, and its answer back; `cut`: it never arrives. */
  readonly way: { ms: number; backMs: number; cut: boolean };
  /** It does nothing until then. */
  standStill(ms: number): void;
}

export function member(
  time: VirtualTime,
  server: ModelServer,
  name: string,
  more: { leaseMs?: number; memory?: LeaseMemory } = {},
): Member {
  const { leaseMs = 3_000 } = more;
  const run = `run of ${name} ${Math.random()}`;
  const way = { ms: 1, backMs: 1, cut: false };
  let stillUntil = 0;
  const ends: string[] = [];
  const said: string[] = [];
  // A gateway that stands still is called late, and then reads its clock.
  const after = (ms: number, call: () => void): (() => void) => {
    let cancel = () => {};
    const called = () => {
      if (time.now < stillUntil) cancel = time.after(stillUntil - time.now, called);
      else call();
    };
    cancel = time.after(ms, called);
    return () => cancel();
  };
  const timers: LeaseTimers = { now: () => time.now, after };
  const asked = <T>(what: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      if (way.cut) return void after(leaseMs / 3, () => reject(new Error("no answer")));
      time.after(way.ms, () => {
        const answer = what();
        if (way.cut) after(leaseMs / 3, () => reject(new Error("no answer")));
        else after(way.backMs, () => resolve(answer));
      });
    });
  const holder = { name, run, leaseMs };
  const there: LeaseServer = {
    look: () => asked(() => server.look(time.now)),
    claim: (seen) => asked(() => server.claim(time.now, holder, seen)),
    renew: (epoch) => asked(() => ({ isOurs: server.renew(time.now, run, epoch), standby: server.standby(time.now) })),
    release: (epoch, gave) =>
      asked(() => {
        if (server.life === run && server.epoch === epoch) Object.assign(server, { life: "", isFree: true, gave });
      }),
    stand: (isThere) => asked(() => server.stand(time.now, holder, isThere)),
  };
  let highest = 0;
  const memory: LeaseMemory = more.memory ?? {
    highest: () => highest,
    keep: (epoch) => {
      highest = epoch;
    },
  };
  const lease = new Lease({
    server: there,
    timers,
    memory,
    ...holder,
    told: (_level, say) => said.push(say),
    lost: (why) => ends.push(why),
  });
  return {
    lease,
    ends,
    said,
    way,
    standStill: (ms) => {
      stillUntil = time.now + ms;
    },
  };
}
