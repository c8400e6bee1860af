/**
 * Shows the progress of long work: a bar on a terminal, otherwise a line every few seconds. It is written to standard
 * error, so that the command's output does not change. Short work shows nothing.
 */
import { performance } from "node:perf_hooks";
import process from "node:process";
import { shown } from "../observe/terminal.ts";

export interface ProgressPlace {
  readonly isTerminal: boolean;
  readonly write: (text: string) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

const barEveryMs = 100;
const lineEveryMs = 5_000;
const barCharacters = 30;

export class Progress {
  readonly #what: string;
  readonly #unit: string;
  readonly #place: ProgressPlace;
  readonly #startedAt: number;
  #saidAt: number;
  #isBar = false;

  /** @param what the work, as in "replay" @param unit the counted unit, as in "datagrams" */
  constructor(what: string, unit: string, place: ProgressPlace = standardError) {
    this.#what = what;
    this.#unit = unit;
    this.#place = place;
    this.#startedAt = this.#saidAt = place.now();
  }

  /** `total` absent: the number is not known. */
  at(done: number, total?: number): void {
    const { isTerminal, write, now } = this.#place;
    const at = now();
    if (at - this.#saidAt < (isTerminal ? barEveryMs : lineEveryMs)) return;
    this.#saidAt = at;
    const numbers = total === undefined ? `${done} ${this.#unit}` : `${done} of ${total} ${this.#unit}`;
    const share = total === undefined || total === 0 ? undefined : Math.min(1, done / total);
    const percent = share === undefined ? "" : ` (${Math.floor(share * 100)} %)`;
    if (!isTerminal) {
      const seconds = Math.round((at - this.#startedAt) / 1_000);
      return write(shown(`${this.#what}: ${numbers}${percent} after ${seconds} s\n`));
    }
    this.#isBar = true;
    const full = Math.round((share ?? 0) * barCharacters);
    const bar = share === undefined ? "" : `[${"#".repeat(full)}${"-".repeat(barCharacters - full)}] `;
    write(`\r${shown(`${this.#what} ${bar}${numbers}${percent}`)}\u001b[K`);
  }

  /** Removes the bar, when the work has succeeded or failed. */
  end(): void {
    if (this.#isBar) this.#place.write("\r\u001b[K");
    this.#isBar = false;
  }
}

const standardError: ProgressPlace = {
  isTerminal: process.stderr.isTTY === true,
  write: (text) => void process.stderr.write(text),
  now: () => performance.now(),
};

/** Passes the same octets on, and shows how many have passed. */
export async function* watched(octets: AsyncIterable<Uint8Array>, progress: Progress): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const part of octets) {
    bytes += part.byteLength;
    progress.at(bytes);
    yield part;
  }
}
