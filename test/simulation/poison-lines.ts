/** The time that counts for the law of poison (poison-law.ts): how long each connection to the broker has stood. */
import type { Instant } from "../../src/core/types.ts";
import { differentMin } from "./poison-parties.ts";

/** The longest pause after so many connections in a row that ended without an answer. */
function pauseMs(ends: number): number {
  return Math.min(60_000, 1_000 * 2 ** Math.max(0, ends - 1));
}

/** A connection to the broker, and how long it has stood. */
export class Line {
  standsSince: Instant | undefined;
  #before = 0;
  /** Connections in a row that ended without an answer: for the predicate, and for any reason. */
  #deaths = 0;
  #ends = 0;
  #isUp = false;
  #hadAnswer = false;
  /**
   * The part of the pause after a death that does not count: the pauses double with each such end, also with cuts, for
   * which the gateway is not to blame.
   */
  #excused: { readonly from: Instant; readonly to: Instant } | undefined;
  /** Packets that are sent and not answered, by packet id. */
  readonly outside = new Map<number, string>();
  /** When they were so many last that it may as well be the broker. */
  sickAt = Number.NEGATIVE_INFINITY;
  /** How long it had stood each time when they became so many. */
  readonly #sickSpells: number[] = [];
  closedAt = Number.NEGATIVE_INFINITY;
  /** Different packets for which it ended in a row, without an answer in between. */
  readonly row = new Set<string>();

  stood(now: Instant): number {
    return this.#before + (this.standsSince === undefined ? 0 : now - this.standsSince - this.#excusedMs(now));
  }

  #excusedMs(now: Instant): number {
    return this.#excused ? Math.max(0, Math.min(now, this.#excused.to) - this.#excused.from) : 0;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** CONNACK came. */
  up(now: Instant): void {
    if (this.standsSince !== undefined) this.#before -= this.#excusedMs(now);
    this.#excused = undefined;
    this.#isUp = true;
    this.#hadAnswer = false;
  }

  answered(): void {
    this.#hadAnswer = true;
  }

  /** The broker closed it for a packet. */
  died(now: Instant): void {
    this.closedAt = now;
    this.#ended();
    this.#deaths++;
    const [from, to] = [now + pauseMs(this.#deaths), now + pauseMs(this.#ends)];
    this.#excused = to > from ? { from, to } : undefined;
  }

  /** It ended for another reason. */
  cut(now: Instant): void {
    this.stop(now);
    this.#excused = undefined;
    this.#ended();
  }

  #ended(): void {
    if (this.#hadAnswer) [this.#deaths, this.#ends] = [0, 0];
    this.#hadAnswer = false;
    if (this.#isUp) this.#ends++;
    this.#isUp = false;
  }

  /** Until the next answer it may as well be the broker that is sick. */
  seemsSick(now: Instant): void {
    if (this.standsSince !== undefined) this.#sickSpells.push(this.stood(now));
    this.sickAt = now;
    this.stop(now);
  }

  /** How often it began to seem sick since it had stood for so long. */
  sickSpellsSince(stood: number): number {
    return this.#sickSpells.filter((at) => at >= stood).length;
  }

  stop(now: Instant): void {
    this.#before = this.stood(now);
    this.standsSince = undefined;
  }
}

/** All connections, and whether the gateway runs. */
export class Lines {
  readonly #now: () => Instant;
  readonly #lines = new Map<string, Line>();
  /** Lines that stood when the gateway stopped running. */
  #paused: Line[] = [];
  #isStill = false;

  constructor(now: () => Instant) {
    this.#now = now;
  }

  of(connection: string): Line {
    let line = this.#lines.get(connection);
    if (!line) {
      line = new Line();
      this.#lines.set(connection, line);
    }
    return line;
  }

  connections(): Iterable<string> {
    return this.#lines.keys();
  }

  up(connection: string): void {
    const line = this.of(connection);
    line.up(this.#now());
    line.outside.clear();
    if (line.row.size < differentMin) this.stands(line);
  }

  /**
   * From now on it counts; while the gateway stands still, from when it goes on. An answer may be read after the end of its connection: then
   * it does not.
   */
  stands(line: Line): void {
    if (!line.isUp) return;
    if (!this.#isStill) line.standsSince ??= this.#now();
    else if (!this.#paused.includes(line)) this.#paused.push(line);
  }

  /** It ended, and not for a packet of the predicate's. */
  broke(connection: string): void {
    const line = this.of(connection);
    line.cut(this.#now());
    this.#paused = this.#paused.filter((other) => other !== line);
  }

  /** The gateway stands still. */
  stop(): void {
    this.#isStill = true;
    for (const line of this.#lines.values()) {
      if (line.standsSince === undefined) continue;
      line.stop(this.#now());
      this.#paused.push(line);
    }
  }

  goOn(): void {
    this.#isStill = false;
    for (const line of this.#paused.splice(0)) line.standsSince ??= this.#now();
  }

  /** The gateway is dead. */
  died(): void {
    this.#isStill = false;
    this.#paused = [];
    for (const line of this.#lines.values()) line.stop(this.#now());
  }
}
