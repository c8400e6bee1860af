/**
 * What the core reports, as log lines, by the table of events. A flood of one kind makes one line and then a count once
 * a minute: the log of a gateway that is attacked must stay readable and small.
 */
import { performance } from "node:perf_hooks";
import type { GatewayEvent } from "../core/event.ts";
import { floodKeyOf, levelOf, sentenceOf } from "./events.ts";
import type { Log } from "./log.ts";

const quietMs = 60_000;
/** Kinds of repeated lines remembered at a time; beyond, the oldest is forgotten and may be logged again. */
const rememberedMax = 1_000;

export class ReportLog {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #seen = new Map<string, { since: number; held: number }>();

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  readonly report = (event: GatewayEvent): void => {
    const level = levelOf(event);
    if (!this.#log.isLevelEnabled(level)) return;
    const key = floodKeyOf(event);
    const held = key === undefined ? 0 : this.#heldBefore(key);
    if (held === undefined) return;
    this.#log[level]({ ...event }, sentenceOf(event) + (held > 0 ? ` (and ${held} more like it since)` : ""));
  };

  /** How many like it were held back since the last one that was logged; undefined: this one is held back too. */
  #heldBefore(key: string): number | undefined {
    const now = this.#now();
    const seen = this.#seen.get(key);
    if (seen && now - seen.since < quietMs) {
      seen.held++;
      return undefined;
    }
    this.#seen.delete(key);
    this.#seen.set(key, { since: now, held: 0 });
    if (this.#seen.size > rememberedMax) {
      const oldest = this.#seen.keys().next();
      if (!oldest.done) this.#seen.delete(oldest.value);
    }
    return seen?.held ?? 0;
  }
}
