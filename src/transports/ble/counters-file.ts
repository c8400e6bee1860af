/**
 * Stores the counters of authenticated broadcast sensors on disk, so that no old broadcast is accepted after a restart.
 * Written at most once a second, as a new file that replaces the old one. After a power cut the last second may be
 * missing.
 */
import { readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { z } from "zod";
import type { Timers } from "../timers.ts";

const content = z.record(z.string(), z.int().min(0).max(0xffff_ffff));
const pauseMs = 1_000;

export class CountersFile {
  readonly problems: string[] = [];
  readonly #path: string;
  readonly #timers: Timers;
  readonly #warn: (say: string) => void;
  readonly #counters = new Map<string, number>();
  #waiting: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failing = false;

  constructor(path: string, timers: Timers, warn: (say: string) => void) {
    this.#path = path;
    this.#timers = timers;
    this.#warn = warn;
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      const isNew = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isNew) this.problems.push(`broadcast.countersFile: ${String(error)}`);
      return;
    }
    try {
      for (const [address, counter] of Object.entries(content.parse(JSON.parse(text)))) {
        this.#counters.set(address, counter);
      }
    } catch {
      this.problems.push(`broadcast.countersFile: ${path} is damaged; its counters are lost`);
    }
  }

  read(): ReadonlyMap<string, number> {
    return this.#counters;
  }

  note(address: string, counter: number): void {
    this.#counters.set(address, counter);
    this.#writeSoon();
  }

  /** False: there was no counter. */
  forget(address: string): boolean {
    let wasThere = false;
    // The counters of other formats have a prefix before the address.
    for (const name of this.#counters.keys()) {
      if (name === address || name.endsWith(`/${address}`)) wasThere = this.#counters.delete(name) || wasThere;
    }
    if (wasThere) this.#writeSoon();
    return wasThere;
  }

  async close(): Promise<void> {
    if (this.#waiting) {
      this.#waiting();
      this.#waiting = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    }
    await this.#writing;
  }

  #writeSoon(): void {
    this.#waiting ??= this.#timers.after(pauseMs, () => {
      this.#waiting = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    });
  }

  async #write(): Promise<void> {
    const text = `${JSON.stringify(Object.fromEntries(this.#counters), null, 1)}\n`;
    try {
      const file = await open(`${this.#path}.new`, "w", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${this.#path}.new`, this.#path);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#warn(`broadcast.countersFile cannot be written: ${String(error)}`);
      this.#failing = true;
    }
  }
}
