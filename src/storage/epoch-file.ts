/** A file with the highest epoch of each shard of a fleet that this machine has seen. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export class EpochFile {
  readonly #path: string;
  readonly #failed: (say: string) => void;
  readonly #highest: Map<number, number>;
  #isToBeWritten = false;

  /**
   * Without a file, or if it cannot be read, no epoch was seen. `failed` is called if the file cannot be written; then
   * the values last until this process ends.
   */
  constructor(path: string, failed: (say: string) => void) {
    this.#path = path;
    this.#failed = failed;
    this.#highest = read(path);
  }

  highest(shard: number): number {
    return this.#highest.get(shard) ?? 0;
  }

  /**
   * Keeps an epoch. It is written at the end of this turn of the event loop, because many shards are claimed at once.
   */
  keep(shard: number, epoch: number): void {
    this.#highest.set(shard, epoch);
    if (this.#isToBeWritten) return;
    this.#isToBeWritten = true;
    setImmediate(() => this.#write());
  }

  #write(): void {
    this.#isToBeWritten = false;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      const text = [...this.#highest].map(([shard, epoch]) => `${shard} ${epoch}\n`).join("");
      writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
      renameSync(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#failed(`${this.#path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function read(path: string): Map<number, number> {
  const highest = new Map<number, number>();
  try {
    for (const line of readFileSync(path, "utf8").split("\n")) {
      const [, shard, epoch] = /^(\d{1,3}) (\d{1,15})$/.exec(line) ?? [];
      if (shard !== undefined) highest.set(Number(shard), Number(epoch));
    }
  } catch {
    highest.clear(); // the file does not exist yet
  }
  return highest;
}
