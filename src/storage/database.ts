/**
 * A LevelDB database as a store needs it: opened, or repaired if it is damaged, and with a folder that a power cut does
 * not undo.
 */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ClassicLevel } from "classic-level";
import { GatewayError } from "../errors.ts";

export type Database = ClassicLevel<string, Uint8Array>;

export async function openDatabase(folder: string): Promise<Database> {
  const database: Database = new ClassicLevel<string, Uint8Array>(folder, { valueEncoding: "view" });
  await database.open();
  return database;
}

/** What is wrong with a database that could not be opened, read or written. */
export type Ailment =
  /** Another process has it. */
  | "locked"
  /** Nothing wrong with what is there: the disk is full or read-only, or memory or files are lacking. It may pass. */
  | "disk"
  /** The gateway must not use it: the operator has to act. */
  | "rights"
  /** What is there cannot be read. */
  | "damaged";

export function ailmentOf(error: unknown): Ailment {
  if (codeOf(error) === "LEVEL_LOCKED") return "locked";
  const message = messageOf(error);
  if (rights.test(message)) return "rights";
  return passing.test(message) ? "disk" : "damaged";
}

/** LevelDB says what the system said, in words; Node says its code. */
const rights = /permission denied|not permitted|EACCES|EPERM/i;
const passing =
  /no space left|quota exceeded|read-only file system|too many open files|cannot allocate|ENOSPC|EDQUOT|EROFS|EMFILE|ENFILE|ENOMEM/i;

/**
 * Opens a database with `use`, which also reads its content. If there is damage, the folder is copied aside, repaired and opened again. If
 * this fails too, a new database is begun, and the old one is kept beside it. `notices` gets what happened.
 * @throws what `use` threw, if the database belongs to another program, the disk has a fault, or `use` demands it (GatewayError).
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
  const second = await tryUse(folder, use, () => ClassicLevel.repair(folder));
  if ("result" in second) {
    notices.push("it was repaired; messages that were done with may come once more");
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

/** It could not be used, so closing it may fail too. It is opened again in any case. */
export async function closeQuietly(database: Database | undefined): Promise<void> {
  try {
    await database?.close();
  } catch {
    // See above.
  }
}

/** The repair moves what it cannot read into a folder `lost`; a copy is better, where there is room for one. */
function copyAside(folder: string, aside: string): string {
  try {
    cpSync(folder, aside, { recursive: true });
    return `as it was found, it is at ${aside}`;
  } catch (error) {
    rmSync(aside, { recursive: true, force: true });
    return `it could not be copied aside: ${messageOf(error)}`;
  }
}

/**
 * Makes the names in a folder as durable as what is in the files. LevelDB flushes its log before it answers, but not the
 * folder in which a new log was made; some file systems do that on their own, POSIX does not ask it of them.
 */
export class FolderSync {
  readonly #folder: string;
  #synced: bigint | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Costs one `stat` if no file was created or removed. */
  async sync(): Promise<void> {
    const { mtimeNs } = statSync(this.#folder, { bigint: true });
    if (mtimeNs === this.#synced) return;
    await syncFolder(this.#folder);
    // A second change within the same tick of the file system's clock would look like none.
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

/** With what is missing above it. Node's own `recursive` says ENOENT where a file system is read-only. */
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
