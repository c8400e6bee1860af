/** What the law of poison (poison-law.ts) knows of clients and kinds of publications. */

import { publicationKey } from "../../src/core/state/packet-key.ts";
import type { Instant, Publication } from "../../src/core/types.ts";
import { exactlyOnceMaximum, type SeenPacket } from "./broker.ts";
import { textOf } from "./texts.ts";

export class Client {
  /** What waits for the broker's answer. */
  readonly waiting = new Set<string>();
  /** How long its line had stood when something of it was answered, or began to wait, last. */
  since = 0;
  /** By its MsgId, what it asked last under it. */
  readonly asked = new Map<number, string>();
  /** The broker has closed the connection for these, for any reason, and they are neither answered nor taken out. */
  readonly poisons = new Set<string>();
  /** Publications that waited when it connected again last. */
  readonly fromBefore = new Set<string>();
  /** QoS and topic of a publication of which it was just reported that it is taken out: the drop of it comes next. */
  readonly reported = new Set<string>();
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

/** What devices have published, by the text of the payload. */
export class Published {
  readonly #byText = new Map<string, { readonly clientId: string; readonly publication: Publication }>();
  readonly #kinds = new Kinds();

  get(text: string) {
    return this.#byText.get(text);
  }

  has(text: string): boolean {
    return this.#byText.has(text);
  }

  set(text: string, of: { readonly clientId: string; readonly publication: Publication }): void {
    this.#byText.set(text, of);
  }

  kindOf(text: string): Kind | undefined {
    const of = this.#byText.get(text);
    return of && this.#kinds.of(of.clientId, of.publication);
  }

  /** As it stands on disk, if it is a client's own; what is nobody's goes by its text. */
  keyOnDisk(publication: Publication): string {
    const text = textOf(publication);
    const clientId = this.#byText.get(text)?.clientId;
    return clientId === undefined ? text : publicationKey(clientId, publication);
  }

  /** Could the broker close for it, at some place or time? */
  isPoisonous(text: string, mayClose: (packet: SeenPacket) => boolean): boolean {
    const publication = this.#byText.get(text)?.publication;
    if (!publication) return false;
    const { topicName: topic, qos, retain, payload } = publication;
    const place = { connection: "", ordinal: 0, at: 0 };
    return mayClose({ kind: "publish", topic, qos, retain, text, bytes: payload.byteLength, ...place });
  }
}
