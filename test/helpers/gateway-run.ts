/** A gateway core over a store: commits are kept, and done at once; the next run begins with them. */
import type { Effect } from "../../src/core/effect.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import type { StoredState } from "../../src/core/record.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import { Bench, type Turn } from "./bench.ts";

export class GatewayRun {
  readonly bench: Bench;
  readonly table: StateTable;
  readonly #options: Partial<CoreOptions>;

  /** `wallAhead`: see Bench. */
  constructor(options: Partial<CoreOptions> = {}, table = new StateTable(), wallAhead?: number) {
    this.#options = options;
    this.table = table;
    this.bench = new Bench({ ...options, durable: true });
    this.bench.wallAhead = wallAhead;
    const states: StoredState[] = [...table.states()];
    if (states.length > 0) this.keep(this.bench.input({ kind: "restored", states }));
  }

  /** The store takes what the turn asked for. */
  keep(turn: Turn): Turn {
    for (const effect of turn.effects as readonly Effect[]) {
      if (effect.kind !== "persist") continue;
      for (const change of effect.changes) this.table.apply(change);
      this.bench.input({ kind: "persisted", token: effect.token });
    }
    return turn;
  }

  /** kill -9, and the next run. Its monotonic clock begins again. */
  next(wallAhead?: number): GatewayRun {
    return new GatewayRun(this.#options, this.table, wallAhead);
  }

  get records(): number {
    return [...this.table.states()].reduce(
      (sum, { queued, uplink, received }) => sum + queued.length + uplink.length + received.length,
      0,
    );
  }
}
