/**
 * The address book of a fleet at a Redis server: one key for each address of a client, which is kept for two days. The
 * reads and writes of one turn of the event loop are sent together. No acknowledged message depends on the book: a
 * client without an entry is answered as an unknown one, and connects again.
 */
import type { AddressBook, AddressFacts } from "./members.ts";

/** An entry is removed if it is not written again within this time. */
export const addressSeconds = 2 * 24 * 3_600;
/** Writes that wait or are not answered yet. Beyond this limit an address is not stored. */
const writesMax = 10_000;
/** A failed write is repeated after this. */
const pauseMs = 1_000;
/** Questions that wait for the next command. */
const questionsMax = 4_096;

/** Commands to the server. Each fails when the server cannot be reached. */
export interface BookServer {
  /** Values in the order of the keys; null where there is none. */
  get(keys: readonly string[]): Promise<readonly (string | null)[]>;
  set(entries: readonly (readonly [key: string, value: string])[], seconds: number): Promise<void>;
}

export interface BookParts {
  readonly server: BookServer;
  /** All keys begin with it, in braces. So one command may name many keys, even if a cluster distributes keys. */
  readonly prefix: string;
  /** Calls at the end of this turn of the event loop; absent = an immediate. */
  readonly later?: (call: () => void) => void;
  /** Calls after a second or so, when a write has failed. */
  readonly pause?: (call: () => void) => void;
}

interface Written {
  readonly value: string;
  readonly seconds: number;
}

interface Question {
  readonly key: string;
  readonly answered: (value: string | null) => void;
  readonly failed: (error: unknown) => void;
}

export class RedisAddressBook implements AddressBook {
  /** Plain numbers since the start. */
  readonly counters = { kept: 0, notKept: 0 };
  readonly #server: BookServer;
  readonly #start: string;
  readonly #later: (call: () => void) => void;
  readonly #pause: (call: () => void) => void;
  #questions: Question[] = [];
  /** The writes that wait, by key; a later write of a key replaces the earlier one. */
  #writes = new Map<string, Written>();
  #onTheirWay = 0;
  #isAsked = false;

  constructor({ server, prefix, later, pause }: BookParts) {
    this.#server = server;
    this.#start = startOf(prefix);
    this.#later = later ?? ((call) => void setImmediate(call));
    this.#pause = pause ?? ((call) => void setTimeout(call, pauseMs).unref());
  }

  async find(peer: string): Promise<AddressFacts | undefined> {
    if (this.#questions.length >= questionsMax) throw new Error("too many look-ups at once");
    const value = await new Promise<string | null>((answered, failed) => {
      this.#questions.push({ key: this.#start + peer, answered, failed });
      this.#soon();
    });
    return value === null ? undefined : factsIn(value);
  }

  keep(peer: string, facts: AddressFacts, seconds = addressSeconds): void {
    if (this.#writes.size + this.#onTheirWay >= writesMax) {
      this.counters.notKept++;
      return;
    }
    this.#writes.set(this.#start + peer, { value: entryOf(facts), seconds });
    this.#soon();
  }

  #soon(): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#later(this.#atEnd);
  }

  readonly #atEnd = (): void => {
    this.#isAsked = false;
    const questions = this.#questions;
    this.#questions = [];
    if (questions.length > 0) void this.#ask(questions);
    const writes = this.#writes;
    this.#writes = new Map();
    if (writes.size > 0) this.#writeAll([...writes]);
  };

  async #ask(questions: readonly Question[]): Promise<void> {
    try {
      const values = await this.#server.get(questions.map(({ key }) => key));
      for (const [i, { answered }] of questions.entries()) answered(values[i] ?? null);
    } catch (error) {
      for (const { failed } of questions) failed(error);
    }
  }

  /** Entries that are kept for the same time are written with one command. */
  #writeAll(entries: readonly (readonly [string, Written])[]): void {
    const bySeconds = new Map<number, (readonly [string, Written])[]>();
    for (const entry of entries) {
      const [, { seconds }] = entry;
      const group = bySeconds.get(seconds);
      if (group) group.push(entry);
      else bySeconds.set(seconds, [entry]);
    }
    for (const [seconds, group] of bySeconds) void this.#write(group, seconds);
  }

  async #write(entries: readonly (readonly [string, Written])[], seconds: number): Promise<void> {
    this.#onTheirWay += entries.length;
    try {
      await this.#server.set(
        entries.map(([key, { value }]) => [key, value]),
        seconds,
      );
      this.counters.kept += entries.length;
    } catch {
      this.counters.notKept += entries.length;
      this.#keepForLater(entries);
    } finally {
      this.#onTheirWay -= entries.length;
    }
  }

  /** Repeats failed writes. A client is written about once a day, so a lost entry would be missing for that long. */
  #keepForLater(entries: readonly (readonly [string, Written])[]): void {
    for (const [key, written] of entries) {
      if (this.#writes.size >= writesMax) break;
      if (!this.#writes.has(key)) this.#writes.set(key, written); // otherwise there is a later entry
    }
    this.#pause(() => this.#soon());
  }
}

/** An entry as it is written, key and value, for code that writes many of them. */
export function bookEntry(prefix: string, peer: string, facts: AddressFacts): readonly [key: string, value: string] {
  return [startOf(prefix) + peer, entryOf(facts)];
}

function startOf(prefix: string): string {
  return `{${prefix}}:addr:`;
}

function entryOf({ shard, front }: AddressFacts): string {
  return front === "" ? `${shard}` : `${shard} ${front}`;
}

/** Undefined: the value was not written by this program, or a later version wrote it. */
function factsIn(value: string): AddressFacts | undefined {
  const found = /^(\d{1,3})(?: (.{1,255}))?$/.exec(value);
  return found ? { shard: Number(found[1]), front: found[2] ?? "" } : undefined;
}
