/**
 * Keeps the files of a LevelDB database under second names while the database is opened.
 *
 * An open writes the log into a table, renames the new CURRENT into its place, and removes the log and the manifest that
 * CURRENT named before, all in one call and without a flush of the folder after the rename. If the power fails then,
 * POSIX allows a file system to keep the removals and to lose the rename: CURRENT names a manifest that is gone, and the
 * log is gone too. With second names in the folder, flushed before the open and removed only after the next flush, the
 * next open finds the files and gives them their names back.
 *
 * LevelDB does not touch files whose names it does not know. It numbers files upwards and replays only logs that CURRENT's
 * manifest does not have in a table, so a file that has its name back without need is ignored and removed.
 */
import { existsSync, linkSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const suffix = ".kept";
const ofDatabase = /^(?:\d+\.(?:log|ldb|sst)|MANIFEST-\d+)$/;

/**
 * Gives files that a power cut took their names back, and gives each file of the database a second name. The caller
 * flushes the folder before it opens the database. False: there is no database yet.
 * @throws the error of the system if a file cannot have its name back: opened now, the database would lose it.
 */
export function keepNames(folder: string): boolean {
  if (!existsSync(join(folder, "CURRENT"))) return false;
  const names = new Set(readdirSync(folder));
  for (const kept of names) {
    const name = kept.slice(0, -suffix.length);
    if (!kept.endsWith(suffix) || !ofDatabase.test(name) || names.has(name)) continue;
    linkSync(join(folder, kept), join(folder, name));
    names.add(name);
  }
  try {
    for (const name of names)
      if (ofDatabase.test(name) && !names.has(name + suffix)) linkSync(join(folder, name), join(folder, name + suffix));
  } catch {
    // A file system without hard links, or a full disk: the database is opened with the second names that there are.
  }
  return true;
}

/** Removes the second names. Call it after a flush of the folder. */
export function dropKeptNames(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.endsWith(suffix) && ofDatabase.test(name.slice(0, -suffix.length))) rmSync(join(folder, name));
}
