/**
 * A LevelDB database as a store needs it: it is opened, or repaired if it is damaged, and a power cut does not undo
 * changes of its folder.
 */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ClassicLevel } from "classic-level";
import { GatewayError } from "../errors.ts";
import { dropKeptNames, keepNames } from "./kept-names.ts";

export type Database = ClassicLevel<string, Uint8Array>;

/** Opens a database. A power cut at any moment of this leaves one that can be opened, with all that was flushed. */
export async function openDatabase(folder: string): Promise<Database> {
  const database: Database = new ClassicLevel<string, Uint8Array>(folder, { valueEncoding: "view" });
  const isKept = keepNames(folder);
  if (isKept) await syncFolder(folder);
  try {
    await database.open();
  } catch (error) {
    if (isKept) await settleNames(folder).catch(() => {}); // The second names stay: the next open keeps or uses them.
    throw error;
  }
  try {
    if (isKept) await settleNames(folder);
  } catch (error) {
    await closeQuietly(database);
    throw error;
  }
  return database;
}

async function settleNames(folder: string): Promise<void> {
  await syncFolder(folder);
  dropKeptNames(folder);
}

/** The cause why a database could not be opened, read or written. */
export type Ailment =
  /** Another process uses the database. */
  | "locked"
  /**
   * The data are not damaged: the disk is full or read-only, or memory or file descriptors are exhausted. This may be
   * temporary.
   */
  | "disk"
  /** The gateway has no right to use the database: the operator has to act. */
  | "rights"
  /** The data cannot be read. */
  | "damaged";

export function ailmentOf(error: unknown): Ailment {
  if (codeOf(error) === "LEVEL_LOCKED") return "locked";
  const message = messageOf(error);
  if (rights.test(message)) return "rights";
  return passing.test(message) ? "disk" : "damaged";
}

/** LevelDB's message has the words of the system; Node's message has the error code. */
const rights = /permission denied|not permitted|EACCES|EPERM/i;
const passing =
  /no space left|quota exceeded|read-only file system|too many open files|cannot allocate|ENOSPC|EDQUOT|EROFS|EMFILE|ENFILE|ENOMEM/i;

/**
 * Opens a database with `use`, which also reads its content. If it is damaged, its folder is copied aside, repaired and
 * opened again. If this fails too, a new database is begun, and the old one is kept beside it. `notices` gets a
 * sentence about each of these steps.
 * @throws what `use` threw, if the database belongs to another program, the disk has a fault, or `use` demands it
 * (GatewayError).
 */
export async function openOrRepair<T>(
  folder: string,
  notices: string[],
  use: (database: Database) => Promise<T>,
): Promise<T> {
  const first = await tryUse(folder, use);
  if ("result" in first) return first.result;
  const hadOne = existsSync(join(folder, "LOCK"));
  const isDamaged = !(first.error instanceof GatewayError) && ailmentOf(first.error) === "damaged";
  if (!hadOne || !isDamaged) throw first.error;
  notices.push(`the store at ${folder} did not open: ${messageOf(first.error)}`);
  const aside = `${folder}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, "-")}`;
  notices.push(copyAside(folder, aside));
  const second = await tryUse(folder, use, async () => {
    await settleNames(folder); // A repair numbers its manifests anew: no older file may have its name back after it.
    await ClassicLevel.repair(folder);
  });
  if ("result" in second) {
    notices.push("it was repaired; messages that were finished may be delivered once more");
    return second.result;
  }
  if (ailmentOf(second.error) !== "damaged") throw second.error;
  notices.push(`it could not be repaired (${messageOf(second.error)}): a new, empty one was begun`);
  renameSync(folder, `${aside}-not-repaired`);
  const third = await tryUse(folder, use);
  if ("result" in third) return third.result;
  throw third.error;
}

async function tryUse<T>(
  folder: string,
  use: (database: Database) => Promise<T>,
  before?: () => Promise<void>,
): Promise<{ readonly result: T } | { readonly error: unknown }> {
  let database: Database | undefined;
  try {
    await before?.();
    database = await openDatabase(folder);
    return { result: await use(database) };
  } catch (error) {
    await closeQuietly(database);
    return { error };
  }
}

/**
 * Closes a database that could not be used. Closing may fail too; this is ignored, because the database is opened again
 * in any case.
 */
export async function closeQuietly(database: Database | undefined): Promise<void> {
  try {
    await database?.close();
  } catch {
    // See the comment of the function.
  }
}

/**
 * A repair moves what it cannot read into a folder `lost`. A copy of the whole folder is better, if the disk has room
 * for it.
 */
function copyAside(folder: string, aside: string): string {
  try {
    cpSync(folder, aside, { recursive: true });
    return `a copy of it as it was found is at ${aside}`;
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    return `it could not be copied aside: ${messageOf(error)}`;
  }
}

/**
 * Makes the names in a folder as durable as the content of its files. LevelDB flushes its log before it answers, but it
 * does not flush the folder in which a new log was made. Some file systems do that without being asked, but POSIX does
 * not require it.
 */
export class FolderSync {
  readonly #folder: string;
  #synced: bigint | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Flushes the folder, if necessary. Costs one `stat` if no file was created or removed. */
  async sync(): Promise<void> {
    const { mtimeNs } = statSync(this.#folder, { bigint: true });
    if (mtimeNs === this.#synced) return;
    await syncFolder(this.#folder);
    // A second change in the same tick of the file system's clock would not change the time.
    const isSettled = BigInt(Date.now()) * 1_000_000n - mtimeNs > tickNs;
    this.#synced = isSettled ? mtimeNs : undefined;
  }
}

const tickNs = 50_000_000n;

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a folder, and the folders above it that are missing. Node's own `recursive` reports ENOENT if a file system is
 * read-only.
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST" && statSync(path).isDirectory()) return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    makeFolder(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}

export function codeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

export function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
