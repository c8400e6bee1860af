/**
 * Writes the core's events as log lines, by the table of events. A flood of one kind makes one line, and then a count
 * once a minute: the log of a gateway that is attacked must stay readable and small.
 */
import { performance } from "node:perf_hooks";
import type { GatewayEvent } from "../core/event.ts";
import { type After, ComingsAndGoings } from "./comings.ts";
import { floodKeyOf, levelOf, sentenceOf } from "./events.ts";
import type { Log } from "./log.ts";

const quietMs = 60_000;
/** Different lines a minute of one kind and level. There is a limit because attackers can invent client ids. */
const differentMax = 100;
/** Kinds of repeated lines remembered at a time; beyond, the oldest is forgotten and may be logged again. */
const rememberedMax = 1_000;

export class ReportLog {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #seen = new Map<string, { since: number; held: number }>();
  readonly #minutes = new Map<string, { since: number; lines: number; leftOut: number }>();

  readonly #comings: ComingsAndGoings;

  constructor(log: Log, now: () => number = () => performance.now(), after?: After) {
    this.#log = log;
    this.#now = now;
    this.#comings = new ComingsAndGoings(
      (say, counts) => log.info({ event: "clients_came_and_went", counts }, say),
      after,
    );
  }

  readonly report = (event: GatewayEvent): void => {
    const level = levelOf(event);
    if (!this.#log.isLevelEnabled(level)) return;
    if (!this.#log.isLevelEnabled("debug") && !this.#comings.hasLine(event)) return;
    const key = floodKeyOf(event);
    const before = key === undefined ? "" : this.#heldBefore(`${event.event} ${level}`, key);
    if (before !== undefined) this.#log[level]({ ...event }, sentenceOf(event) + before);
  };

  /** Logs a notice of an edge for the operator. */
  notice(level: "info" | "warn", say: string, kind = say): void {
    if (!this.#log.isLevelEnabled(level)) return;
    const before = this.#heldBefore(`told ${level}`, `told ${kind}`);
    if (before !== undefined) this.#log[level]({}, say + before);
  }

  /**
   * The count of suppressed lines since the last one that was logged, in words; undefined: this line is suppressed too.
   */
  #heldBefore(kind: string, key: string): string | undefined {
    const now = this.#now();
    const seen = this.#seen.get(key);
    if (seen && now - seen.since < quietMs) {
      seen.held++;
      return undefined;
    }
    const leftOut = this.#leftOutBefore(kind, now);
    if (leftOut === undefined) return undefined;
    this.#seen.delete(key);
    this.#seen.set(key, { since: now, held: 0 });
    if (this.#seen.size > rememberedMax) {
      const oldest = this.#seen.keys().next();
      if (!oldest.done) this.#seen.delete(oldest.value);
    }
    const more = seen && seen.held > 0 ? ` (and ${seen.held} more like it since)` : "";
    return leftOut > 0 ? `${more} (${leftOut} others of this kind were left out)` : more;
  }

  /**
   * The number of lines of this kind that were left out in the minute before; undefined: this minute has reached its
   * limit.
   */
  #leftOutBefore(kind: string, now: number): number | undefined {
    const minute = this.#minutes.get(kind);
    if (!minute || now - minute.since >= quietMs) {
      this.#minutes.set(kind, { since: now, lines: 1, leftOut: 0 });
      return minute?.leftOut ?? 0;
    }
    if (minute.lines >= differentMax) {
      minute.leftOut++;
      return undefined;
    }
    minute.lines++;
    return 0;
  }
}
