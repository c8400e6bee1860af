/**
 * All records at Redis, for a backup. A server has no snapshot that can be read while others write. So the records are read in slices while
 * the gateway continues. What the gateway itself wrote meanwhile is added at the end and replaces what was read; no other process writes
 * there. The result is the state at the end of the reading. A record that was deleted meanwhile has an empty value.
 */
import type { Change } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import { encodeRecord, encodeValue, resealed } from "./encoding.ts";
import { markKey } from "./keys.ts";
import { behindName, listOf, textOf } from "./redis-answers.ts";
import type { Answer } from "./redis-connection.ts";
import { backlogScript, knownScript, lettersScript, type Script, sessionsScript } from "./redis-scripts.ts";

type Read = (script: Script, words: readonly string[]) => Promise<readonly Answer[]>;
type Entry = readonly [key: string, value: Uint8Array];

const clientsAtOnce = 50;
const recordsAtOnce = 200;
const namesAtOnce = 1_000;
/** Limit of records that change while the store is read. Beyond it, the reading might never end. */
const changedMax = 500_000;
/** All records get the number of one commit, so a reader of the backup finds no commit missing. */
const commit = 1;

/** The changes that are written while a backup is read, the latest one for each key. */
export class Meanwhile {
  readonly #changed = new Map<string, Change>();
  #isTooMuch = false;

  note(key: string, change: Change): void {
    if (this.#changed.size >= changedMax && !this.#changed.has(key)) this.#isTooMuch = true;
    else this.#changed.set(key, change);
  }

  /** @throws {GatewayError} ERR_BACKUP if there were too many changes to keep. */
  *entries(): Generator<Entry> {
    if (this.#isTooMuch) {
      const say = `more than ${changedMax} records changed while the store was read: take the backup when there is less traffic`;
      throw new GatewayError("ERR_BACKUP", {}, { say });
    }
    for (const [key, change] of this.#changed)
      yield [key, change.record ? encodeRecord(change, commit) : new Uint8Array(0)];
  }
}

/** @throws {GatewayError} ERR_STORE_OPEN if the store cannot be read. Damaged records are left out. */
export async function* recordsAt(read: Read): AsyncGenerator<Entry> {
  yield [markKey(commit), encodeValue(null, commit)];
  for (let from = behindName(undefined); ; ) {
    const found = await read(sessionsScript, [from, String(clientsAtOnce)]);
    for (const each of found) {
      const [name, backlog, , , , fields] = listOf(each);
      yield* entriesOf(textOf(name), listOf(fields));
      if (typeof backlog === "number" && backlog > 0) yield* backlogOf(read, textOf(name));
    }
    if (found.length < clientsAtOnce) break;
    from = `(${textOf(listOf(found.at(-1))[0])}`;
  }
  for (let after: string | undefined; ; ) {
    const [found] = await read(knownScript, [behindName(after), String(namesAtOnce)]);
    const names = listOf(found).map((name) => decodeURIComponent(textOf(name)));
    for (const clientId of names)
      yield [
        `k${encodeURIComponent(clientId)}`,
        encodeRecord({ of: "known", clientId, id: 0, record: {} }, commit),
      ] as const;
    if (names.length < namesAtOnce) break;
    after = names.at(-1);
  }
  for (let after = 0; ; ) {
    const found = await read(lettersScript, [String(after), String(recordsAtOnce)]);
    for (const each of found) {
      const [key, stored] = listOf(each);
      after = Math.max(after, Number.parseInt(textOf(key).split("/")[1] ?? "0", 16));
      yield* entry(textOf(key), stored);
    }
    if (found.length < recordsAtOnce) break;
  }
}

function* entriesOf(name: string, fields: readonly Answer[]): Generator<Entry> {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const field = textOf(fields[i]);
    const id = field.slice(1);
    yield* entry(`${field.charAt(0)}${name}${id === "" ? "" : `/${id}`}`, fields[i + 1]);
  }
}

async function* backlogOf(read: Read, name: string): AsyncGenerator<Entry> {
  for (let from = "-"; ; ) {
    const found = await read(backlogScript, [name, from, String(recordsAtOnce)]);
    for (const each of found) {
      const [id, stored] = listOf(each);
      from = `(${textOf(id)}`;
      yield* entry(`b${name}/${textOf(id)}`, stored);
    }
    if (found.length < recordsAtOnce) break;
  }
}

function* entry(key: string, stored: Answer | undefined): Generator<Entry> {
  const record = Buffer.isBuffer(stored) ? resealed(stored, commit) : undefined;
  if (record) yield [key, record];
}
