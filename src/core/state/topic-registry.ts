/**
 * The topic ids of one client.
 *
 * An id that was given to a name keeps this name as long as the session exists: a wrong match would be "potentially
 * disastrous" (the standard's words). After a reconnect the client may have lost its table. So each id has a bit that
 * says whether the client knows it. If not, a REGISTER with the same id goes before the next PUBLISH. Ids are taken in
 * ascending order. The first number moves on with every session of the client, so an old id of an earlier session is
 * refused and not read as another topic. [MQTT-SN 1.2 §6.5, §7.3; interpretation 6]
 *
 * Ids whose high octet is below 0x20 are taken first. Some clients compare only the number, whatever its type, and no
 * short topic name has such an octet in front. Predefined ids of the client are never assigned.
 */
import { utf8Length } from "../../wire/topic.ts";
import type { TopicRecord } from "../record.ts";
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";

/** Ids up to here cannot be mistaken for the two octets of a short name. */
const preferredMax = 0x1fff;

const idMax = 0xfffe;

export interface Topic {
  readonly id: number;
  readonly name: string;
  /**
   * The id is used without a REGISTER before it: the client was told the id on this connection, or showed that it knows
   * it.
   */
  known: boolean;
  /**
   * A SUBACK, or the REGACK to a REGISTER of the client, has told the client the id. The client may have lost it since
   * then.
   */
  told: boolean;
  /**
   * An answer of the client, or its use of the id, showed that it knows the id. The next run of the gateway may rely on
   * that.
   */
  confirmed: boolean;
  /** The client refused the id in REGACK. It is not offered again before the next CONNECT. */
  refused: boolean;
  /** When a SUBACK last told the client the id. */
  toldAt: Instant;
}

/**
 * The record of a topic. The last messages to the client may not have been sent. So a later run treats an id as known
 * only if an answer has confirmed it.
 */
export function recordOfTopic({ name, confirmed, told }: Topic): TopicRecord {
  return told && !confirmed ? { name, known: false, told } : { name, known: confirmed };
}

export class Registry {
  readonly #byName = new SmallMap<string, Topic>();
  readonly #byId = new SmallMap<number, Topic>();
  readonly #limit: number;
  readonly #isPredefined: (id: number) => boolean;
  readonly #isKept: boolean;
  #next: number;
  #octets = 0;
  /** Ids whose record in the store is out of date, while there are any. */
  #changed: Set<number> | undefined = undefined;

  /**
   * `start`: the first id to try. `limit`: the largest number of names. `isKept`: a store has records of the topics.
   */
  constructor(options: { start: number; limit: number; isPredefined: (id: number) => boolean; isKept: boolean }) {
    this.#next = options.start;
    this.#limit = options.limit;
    this.#isPredefined = options.isPredefined;
    this.#isKept = options.isKept;
  }

  /** The first id of the client's next session. */
  get next(): number {
    return this.#next;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** The records of some ids in the store are out of date. */
  get hasChanged(): boolean {
    return this.#changed !== undefined && this.#changed.size > 0;
  }

  /** The octets of all names. */
  get octets(): number {
    return this.#octets;
  }

  topics(): IterableIterator<Topic> {
    return this.#byName.values();
  }

  byName(name: string): Topic | undefined {
    return this.#byName.get(name);
  }

  byId(id: number): Topic | undefined {
    return this.#byId.get(id);
  }

  /** The topic of this name, with a new id if it has none; undefined when the table is full. */
  assign(name: string): Topic | undefined {
    const present = this.#byName.get(name);
    if (present) return present;
    const id = this.#byName.size < this.#limit ? this.#freeId() : undefined;
    if (id === undefined) return undefined;
    const topic = this.restore({ id, name, known: false, told: false });
    this.noteChanged(topic);
    return topic;
  }

  /** Restores a topic with the id that it had. `known`: the client had confirmed it. */
  restore({ id, name, known, told }: { id: number; name: string; known: boolean; told: boolean }): Topic {
    // The fields are written out, because `{ ...topic, refused }` makes V8 create a new hidden class each time: 250
    // octets for each topic.
    const entry: Topic = { id, name, known, told, confirmed: known, refused: false, toldAt: Number.NEGATIVE_INFINITY };
    if (!this.#byName.has(name)) this.#octets += utf8Length(name);
    this.#byName.set(entry.name, entry);
    this.#byId.set(entry.id, entry);
    return entry;
  }

  /** Sets the next id to try after a restart. It is not below the existing ids. */
  goOnAt(next: number): void {
    this.#next = next;
    for (const id of this.#byId.keys()) if (id >= this.#next) this.#next = id + 1;
  }

  /** The record of this topic in the store is out of date. */
  noteChanged({ id }: Topic): void {
    if (!this.#isKept) return;
    this.#changed ??= new Set();
    this.#changed.add(id);
  }

  /** The records that must be written since the last call; undefined: the id has no meaning any more. */
  takeChanged(): readonly (readonly [id: number, record: TopicRecord | undefined])[] {
    const changed = this.#changed;
    if (!changed) return [];
    this.#changed = undefined;
    return [...changed].map((id) => {
      const topic = this.#byId.get(id);
      return [id, topic && recordOfTopic(topic)];
    });
  }

  /** All ids for which the store may have a record. */
  storedIds(): ReadonlySet<number> {
    return new Set([...this.#byId.keys(), ...(this.#changed ?? [])]);
  }

  /** A new session: earlier ids have no meaning, and the numbers continue. */
  clear(): void {
    for (const topic of this.#byName.values()) this.noteChanged(topic);
    this.#byName.clear();
    this.#byId.clear();
    this.#octets = 0;
  }

  /** The client may have lost its table of topic ids. */
  forgetKnown(): void {
    for (const topic of this.#byName.values()) {
      if (topic.confirmed) this.noteChanged(topic);
      topic.known = false;
      topic.confirmed = false;
      topic.refused = false;
    }
  }

  #freeId(): number | undefined {
    const range = this.#limit < preferredMax / 2 ? preferredMax : idMax;
    for (let tries = 0; tries < range; tries++) {
      const id = ((this.#next - 1) % range) + 1;
      this.#next = id + 1;
      if (!this.#byId.has(id) && !this.#isPredefined(id)) return id;
    }
    return undefined;
  }
}
