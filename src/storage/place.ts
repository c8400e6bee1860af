/**
 * Checks if the open database is still the one in its folder. LevelDB does not check this. If the folder is removed, a
 * process that has the files open loses nothing, but the next process finds nothing. Therefore the folder is checked,
 * and if everything was removed, it is written again from the open database (`saveCopy`, `putInPlace`).
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { codeOf, type Database, makeFolder, openDatabase, syncFolder } from "./database.ts";

export type Whereabouts =
  | "there"
  /** The folder was removed, in whole or in part. */
  | "gone"
  /** The folder has another database, e.g. a backup that was restored. */
  | "replaced"
  /** The file system with the database is not mounted there any more. */
  | "elsewhere";

/** A second change in the same tick of the file system's clock would not change the time. */
const tickNs = 50_000_000n;

interface Found {
  readonly device: bigint;
  readonly folder: bigint;
  readonly lock: bigint;
}

export class Place {
  readonly #folder: string;
  #found: Found | undefined;
  /** Time of the last known change of the folder. */
  #seen: bigint | undefined;

  constructor(folder: string) {
    this.#folder = resolve(folder);
  }

  /** Tells that the database was opened: from now on its folder is checked. */
  note(): void {
    const { dev, ino } = statSync(this.#folder, { bigint: true });
    const lock = statSync(join(this.#folder, "LOCK"), { bigint: true });
    this.#found = { device: dev, folder: ino, lock: lock.ino };
    this.#seen = undefined;
  }

  /**
   * Checks the folder. Costs one `stat` if no file was created or removed. Also "there" if it cannot be known (before
   * `note`, or while the file system does not answer): a write will report the error.
   */
  look(): Whereabouts {
    try {
      return this.#found ? this.#compare(this.#found) : "there";
    } catch {
      return "there";
    }
  }

  #compare(found: Found): Whereabouts {
    const folder = statOf(this.#folder);
    if (!folder) return this.#deviceAbove() === found.device ? "gone" : "elsewhere";
    if (folder.dev !== found.device) return "elsewhere";
    if (folder.ino === found.folder && folder.mtimeNs === this.#seen) return "there";
    const names = readdirSync(this.#folder);
    const lock = statOf(join(this.#folder, "LOCK"));
    const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
    if (has(/^CURRENT$/) && lock && lock.ino !== found.lock) return "replaced";
    if (!lock || !has(/^CURRENT$/) || !has(/^MANIFEST-/) || !has(/\.log$/)) return "gone";
    const isSettled = BigInt(Date.now()) * 1_000_000n - folder.mtimeNs > tickNs;
    this.#seen = isSettled ? folder.mtimeNs : undefined;
    return "there";
  }

  /** The device of the nearest folder above that exists. */
  #deviceAbove(): bigint | undefined {
    for (let above = dirname(this.#folder); ; above = dirname(above)) {
      const found = statOf(above);
      if (found) return found.dev;
      if (above === dirname(above)) return undefined;
    }
  }
}

function statOf(path: string): { dev: bigint; ino: bigint; mtimeNs: bigint } | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

const copiedAtOnce = 500;
const savedName = (folder: string) => `${folder}.saved`;

/** Writes everything in an open database into a copy beside its folder. Returns the number of records. */
export async function saveCopy(source: Database, folder: string): Promise<number> {
  const unfinished = `${folder}.saving`;
  makeFolder(dirname(resolve(folder)));
  for (const path of [unfinished, savedName(folder)]) rmSync(path, { recursive: true, force: true });
  const copy = await openDatabase(unfinished);
  let records = 0;
  try {
    let batch: { type: "put"; key: string; value: Uint8Array }[] = [];
    for await (const [key, value] of source.iterator({ highWaterMarkBytes: 262_144, fillCache: false })) {
      batch.push({ type: "put", key, value });
      records++;
      if (batch.length < copiedAtOnce) continue;
      await copy.batch(batch);
      batch = [];
    }
    await copy.batch(batch, { sync: true });
  } finally {
    await copy.close();
  }
  await syncFolder(unfinished);
  renameSync(unfinished, savedName(folder));
  await syncFolder(dirname(resolve(folder)));
  return records;
}

/**
 * Moves a saved copy into the place of the store. What is in that place is moved aside, because the copy is complete,
 * and newer. False: there is no copy. No database of this process may be open in that place, because LevelDB knows its
 * files by their names.
 */
export async function putInPlace(folder: string): Promise<boolean> {
  if (!existsSync(savedName(folder))) return false;
  if (existsSync(folder)) renameSync(folder, `${folder}.remains-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`);
  renameSync(savedName(folder), folder);
  await syncFolder(dirname(resolve(folder)));
  return true;
}

/** Removes the saved copy. Called when the store was replaced on purpose. */
export function dropCopy(folder: string): void {
  rmSync(savedName(folder), { recursive: true, force: true });
}
