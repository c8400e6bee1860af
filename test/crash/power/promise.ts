/** What a store must hold after a power cut, worked out from what it had been given. */
import type { Change } from "../../../src/core/record.ts";
import { changesOf } from "./workload.mjs";

/** Which commit wrote each key; a key that is not there was deleted, or never written. */
export type Content = ReadonlyMap<string, number>;

export const keyOf = ({ of, clientId, id }: Pick<Change, "of" | "clientId" | "id">) => `${of} ${clientId} ${id}`;

/** A run's commits, from `first` on, over what the store held before. */
export class Promised {
  readonly #seed: number;
  readonly #first: number;
  readonly #last: number;
  /** Content after each commit since `first`, kept for every hundredth. */
  readonly #kept = new Map<number, Content>();

  constructor(seed: number, before: Content, first: number, last: number) {
    this.#seed = seed;
    this.#first = first;
    this.#last = last;
    this.#kept.set(first - 1, before);
  }

  after(commit: number): Map<string, number> {
    let from = commit;
    while (!this.#kept.has(from)) from--;
    const content = new Map(this.#kept.get(from));
    for (let n = from + 1; n <= commit; n++) {
      this.#apply(content, n);
      if ((n - this.#first) % 100 === 0) this.#kept.set(n, new Map(content));
    }
    return content;
  }

  #apply(content: Map<string, number>, n: number): void {
    for (const change of changesOf(this.#seed, n)) {
      if (change.record) content.set(keyOf(change), n);
      else content.delete(keyOf(change));
    }
  }

  /** Is this what the store held after some commit from `acknowledged` on, no more and no less? */
  isExactly(content: Content, acknowledged: number): boolean {
    const state = this.after(acknowledged);
    for (let n = acknowledged; ; ) {
      if (isSame(state, content)) return true;
      if (++n > this.#last) return false;
      this.#apply(state, n);
    }
  }

  /** What is not as some commit from `acknowledged` on left it; `revived`: a deletion that is undone. */
  compare(content: Content, acknowledged: number): { readonly lost: string[]; readonly revived: string[] } {
    const promised = this.after(acknowledged);
    const possible = new Map<string, Set<number>>();
    for (let n = acknowledged + 1; n <= this.#last; n++) {
      for (const change of changesOf(this.#seed, n)) {
        const key = keyOf(change);
        possible.set(key, (possible.get(key) ?? new Set()).add(change.record ? n : 0));
      }
    }
    const lost: string[] = [];
    const revived: string[] = [];
    for (const key of new Set([...promised.keys(), ...content.keys()])) {
      const was = promised.get(key) ?? 0;
      const is = content.get(key) ?? 0;
      if (is === was || possible.get(key)?.has(is)) continue;
      if (was === 0) revived.push(key);
      else lost.push(`${key}: of commit ${was}, found ${is === 0 ? "nothing" : `that of ${is}`}`);
    }
    return { lost, revived };
  }
}

export function isSame(a: Content, b: Content): boolean {
  if (a.size !== b.size) return false;
  for (const [key, n] of a) if (b.get(key) !== n) return false;
  return true;
}
