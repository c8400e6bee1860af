/** The highest epoch of a pair's lease that this machine has seen, in a file. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { LeaseMemory } from "./lease.ts";

export class LeaseFile implements LeaseMemory {
  readonly #path: string;
  readonly #failed: (say: string) => void;
  #highest: number;

  /**
   * Without a file, or if the file has no number, no epoch was seen. `failed` is called if the file cannot be written; then the value lasts
   * until this process ends.
   */
  constructor(path: string, failed: (say: string) => void) {
    this.#path = path;
    this.#failed = failed;
    this.#highest = read(path);
  }

  highest(): number {
    return this.#highest;
  }

  keep(epoch: number): void {
    this.#highest = epoch;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      writeFileSync(`${this.#path}.new`, `${epoch}\n`, { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#failed(`${this.#path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function read(path: string): number {
  try {
    const number = Number(readFileSync(path, "utf8").trim());
    return Number.isSafeInteger(number) && number > 0 ? number : 0;
  } catch {
    return 0;
  }
}
