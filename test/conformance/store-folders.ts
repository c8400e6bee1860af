import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A new folder, which is gone after the tests of this file. */
export function folder(at = tmpdir()): string {
  const made = mkdtempSync(join(at, "store-"));
  folders.push(made);
  return made;
}

export const disk = (at: string, more: Record<string, unknown> = {}) =>
  new DiskStore(storeOptions.parse({ folder: at, ...more }));
