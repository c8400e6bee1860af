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

/** Ids up to here cannot be taken for the two octets of a short name. */
const preferredMax = 0x1fff;

const idMax = 0xfffe;

export interface Topic {
  readonly id: number;
  readonly name: string;
  /** It is used without a REGISTER before it: the client was told on this connection, or showed that it knows it. */
  known: boolean;
  /** A SUBACK, or the REGACK to a REGISTER of the client, has said it; the client may have lost it since. */
  told: boolean;
  /** An answer of the client, or its own use, showed that it knows: the next run of the gateway may build on that. */
  confirmed: boolean;
  /** The client refused it in REGACK; not offered again before the next CONNECT. */
  refused: boolean;
  /** When a SUBACK told it last. */
  toldAt: Instant;
}

/**
 * As it is stored. The last messages to the client may not have been sent. So a later run treats an id as known only if an answer has
 * confirmed it.
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
  /** Ids of which the store knows something else, while there are such. */
  #changed: Set<number> | undefined = undefined;

  /** `start`: first id to try; `limit`: names at most; `isKept`: there is a store for it. */
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

  /** The store knows something else of some ids. */
  get hasChanged(): boolean {
    return this.#changed !== undefined && this.#changed.size > 0;
  }

  /** Of all names. */
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

  /** Puts a topic back under the id it had. `known`: the client had confirmed it. */
  restore({ id, name, known, told }: { id: number; name: string; known: boolean; told: boolean }): Topic {
    // Written out: for `{ ...topic, refused }` V8 makes a new hidden class each time, 250 octets for every topic.
    const entry: Topic = { id, name, known, told, confirmed: known, refused: false, toldAt: Number.NEGATIVE_INFINITY };
    if (!this.#byName.has(name)) this.#octets += utf8Length(name);
    this.#byName.set(entry.name, entry);
    this.#byId.set(entry.id, entry);
    return entry;
  }

  /** The next id to try, after a restart: not below those that are there. */
  goOnAt(next: number): void {
    this.#next = next;
    for (const id of this.#byId.keys()) if (id >= this.#next) this.#next = id + 1;
  }

  /** What the client knows of this one is not what the store has. */
  noteChanged({ id }: Topic): void {
    if (!this.#isKept) return;
    this.#changed ??= new Set();
    this.#changed.add(id);
  }

  /** What has to be written since the last call; undefined: this id means nothing any more. */
  takeChanged(): readonly (readonly [id: number, record: TopicRecord | undefined])[] {
    const changed = this.#changed;
    if (!changed) return [];
    this.#changed = undefined;
    return [...changed].map((id) => {
      const topic = this.#byId.get(id);
      return [id, topic && recordOfTopic(topic)];
    });
  }

  /** All ids of which the store may have a record. */
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

  /** The client may have lost its table. */
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
