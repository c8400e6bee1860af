/**
 * A store on a slow disk that fails now and then. When the gateway dies, of the commits that were not answered some are
 * on the disk, in their order, and the rest never happened.
 */
import type { Change } from "../../src/core/record.ts";
import { GatewayError } from "../../src/errors.ts";
import type { DrivenStore } from "../../src/runtime/perform.ts";
import type { StateTable } from "../../src/storage/state-table.ts";
import type { Store } from "../../src/storage/store.ts";
import type { Plans } from "./broker.ts";
import type { Rng } from "./rng.ts";

/** Where many commits wait, a disk takes several at once. */
const delayMaxMs = 250;

const loadMaxMs = 50;

interface Pending {
  readonly changes: readonly Change[];
  isOver: boolean;
}

export class SimStore {
  readonly store: Store;
  /** As the driver uses it. */
  readonly driven: DrivenStore;
  readonly #time: Plans;
  readonly #rng: Rng;
  readonly #table: StateTable;
  readonly #fails: () => boolean;
  readonly #onDisk: (change: Change) => void;
  #freeAt = 0;
  /** Of commits that failed: written with the next that does not. */
  readonly #owed: Change[] = [];
  #pending: Pending[] = [];

  /** One run's end of the disk that `table` stands for. `asked`: a commit was asked for; `onDisk`: it is there. */
  constructor(init: {
    time: Plans;
    rng: Rng;
    table: StateTable;
    fails: () => boolean;
    asked: (changes: readonly Change[]) => void;
    onDisk: (change: Change) => void;
  }) {
    this.#time = init.time;
    this.#rng = init.rng;
    this.#table = init.table;
    this.#fails = init.fails;
    this.#onDisk = init.onDisk;
    this.store = {
      open: async () => ({ notices: [], highest: { queued: 0, letter: 0 } }),
      sessions: async () => [],
      foremost: async () => undefined,
      load: async () => undefined,
      due: async () => [],
      known: async () => [],
      letters: async () => [],
      secure: async () => [],
      snapshot: () => undefined,
      fetch: (clientId, from, limit, done) => this.#fetch(clientId, from, limit, done),
      close: async () => {},
      commit: (changes, done) => {
        init.asked(changes);
        this.#commit(changes, done);
      },
    };
    const { commit, fetch } = this.store;
    this.driven = { commit, fetch, load: (...words) => this.#load(...words) };
  }

  #load(...[clientId, done]: Parameters<DrivenStore["load"]>): void {
    this.#time.plan(this.#rng.between(0, loadMaxMs), () => {
      if (this.#fails()) return done(undefined, new GatewayError("ERR_STORE_OPEN"));
      done(this.#table.state(clientId), undefined);
    });
  }

  /** kill -9, or the power: what was not answered may be on the disk, up to any commit. */
  crash(share: number): void {
    const pending = this.#pending;
    this.#pending = [];
    const survive = Math.round(share * pending.length);
    for (const [i, commit] of pending.entries()) {
      commit.isOver = true;
      if (i < survive) this.#write(commit.changes);
    }
  }

  #commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void {
    const commit: Pending = { changes, isOver: false };
    this.#pending.push(commit);
    const now = this.#time.now();
    const inTurn = Math.max(this.#freeAt, now) + this.#rng.between(0, 30);
    this.#freeAt = Math.max(this.#freeAt, Math.min(inTurn, now + delayMaxMs));
    this.#time.plan(this.#freeAt - now, () => {
      if (commit.isOver) return;
      this.#pending.shift();
      if (this.#fails()) {
        this.#owed.push(...changes);
        return done(new GatewayError("ERR_STORE_WRITE"));
      }
      this.#write(changes);
      done(undefined);
    });
  }

  #write(changes: readonly Change[]): void {
    for (const change of [...this.#owed.splice(0), ...changes]) {
      this.#table.apply(change);
      this.#onDisk(change);
    }
  }

  #fetch(...[clientId, from, limit, done]: Parameters<Store["fetch"]>): void {
    this.#freeAt = Math.max(this.#freeAt, this.#time.now());
    this.#time.plan(this.#freeAt - this.#time.now() + 1, () => {
      if (this.#fails()) return done([], new GatewayError("ERR_STORE_OPEN"));
      done(this.#table.read(clientId, from, limit), undefined);
    });
  }
}
