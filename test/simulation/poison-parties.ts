/** What the law of poison (poison-law.ts) knows of connections, clients and kinds of publications. */
import type { Instant, Publication } from "../../src/core/types.ts";
import { exactlyOnceMaximum, type SeenPacket } from "./broker.ts";

/** A connection to the broker, and how long it has stood. */
/** The longest pause after so many connections in a row that ended without an answer. */
function pauseMs(ends: number): number {
  return Math.min(60_000, 1_000 * 2 ** Math.max(0, ends - 1));
}

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

export class Client {
  /** What waits for the broker's answer. */
  readonly waiting = new Set<string>();
  /** How long its line had stood when something of it was answered, or began to wait, last. */
  since = 0;
  /** By its MsgId, what it asked last under it. */
  readonly asked = new Map<number, string>();
  /** The broker has closed the connection for these, for any reason, and they are neither answered nor taken out. */
  readonly poisons = new Set<string>();
  /** MsgIds of QoS 2 for which it has its PUBREC, and the gateway not its PUBREL. */
  readonly unreleased = new Set<number>();
  /** The last that it said of the kind was a CONNECT, and it is not answered. */
  connects = false;
}

/** Publications of one client, topic, QoS and retain. */
export interface Kind {
  /** Taken out since one got through, and the shortest of them. */
  taken: number;
  shortest: number;
  /** The value before that: an answer may have been in flight. */
  takenBefore: number;
  savedAt: Instant;
}

export class Kinds {
  readonly #kinds = new Map<string, Kind>();

  of(clientId: string, { topicName, qos, retain }: Publication): Kind {
    const key = `${clientId} ${topicName} ${qos} ${retain}`;
    let kind = this.#kinds.get(key);
    if (!kind) {
      const shortest = Number.POSITIVE_INFINITY;
      kind = { taken: 0, shortest, takenBefore: 0, savedAt: Number.NEGATIVE_INFINITY };
      this.#kinds.set(key, kind);
    }
    return kind;
  }
}

/** A commit takes no longer. */
const commitMs = 500;

/** Copies of a payload that came to the gateway, and for how many of them it has reported that it took them out. */
export class Copies {
  readonly #copies = new Map<string, { came: number; reported: number }>();
  /** The reports of the present gateway. */
  readonly #reports: { readonly text: string; readonly at: Instant }[] = [];

  came(text: string): void {
    this.#of(text).came++;
  }

  reported(text: string, now: Instant): void {
    this.#of(text).reported++;
    this.#reports.push({ text, at: now });
  }

  /** More copies of it came than were taken out. */
  hasMore(text: string): boolean {
    const { came, reported } = this.#of(text);
    return reported < came;
  }

  /** The gateway is dead: what it took out at the last moment may not be on disk yet. */
  died(now: Instant): void {
    for (const { text, at } of this.#reports) if (now - at < commitMs) this.#of(text).reported--;
    this.#reports.length = 0;
  }

  #of(text: string): { came: number; reported: number } {
    let copies = this.#copies.get(text);
    if (!copies) {
      copies = { came: 0, reported: 0 };
      this.#copies.set(text, copies);
    }
    return copies;
  }
}

/** With so many different packets in a row, it cannot be known that the broker is not at fault. */
export const differentMin = 3;

/** Of one client's line so many are tried where the broker seems sick. */
export const triedOfOne = 8;

/** The broker's window for QoS 2 is full of exchanges that the client does not finish, or one of its own packets has to be tested. */
export function isItsOwnFault({ poisons, unreleased }: Client): boolean {
  return poisons.size > 0 || unreleased.size >= exactlyOnceMaximum;
}

/**
 * Whether the client waits for a packet for which the broker has closed when another client had sent it, or waits behind one: requests for
 * one filter are sent in their order. `ends`: by key, how often the broker has closed for it.
 */
export function waitsForPoison({ waiting }: Client, ends: ReadonlyMap<string, number>): boolean {
  for (const key of waiting) {
    const [kind, filter] = key.split(" ");
    const before =
      kind === "subscribe" ? `unsubscribe ${filter}` : kind === "unsubscribe" ? `subscribe ${filter}` : key;
    if (ends.has(key) || ends.has(before)) return true;
  }
  return false;
}

export const notSupported = 3;

/** What a client said was not taken up, and it may say it again. */
export const unheard: ReadonlySet<string> = new Set([
  "unknown-sender",
  "link-down",
  "too-many-pending",
  "backlog-full",
]);

export function keyOf({ kind, topic, text }: SeenPacket): string {
  return `${kind} ${kind === "publish" ? text : topic}`;
}

export function textIn(key: string): string {
  return key.slice("publish ".length);
}
