/**
 * Asks the address book. Each question gets one answer: the entry, too late, or failed. There are never two look-ups of
 * one address at the same time.
 */
import type { Timers } from "../transports/timers.ts";
import type { FrontCounters } from "./front-counters.ts";
import type { AddressBook, AddressFacts } from "./members.ts";

/** A device repeats a message within some seconds, so a datagram that waits longer is of no use. */
const lookUpMsMax = 2_000;
/** Look-ups at one time, including those for which no datagram waits. */
const lookUpsMax = 2_048;

export type Answer = AddressFacts | undefined | "failed" | "late";

export class LookUps {
  readonly #book: AddressBook;
  readonly #timers: Timers;
  readonly #counters: FrontCounters;
  readonly #shards: number;
  /** The callbacks of each peer that is looked up. */
  readonly #asked = new Map<string, ((answer: Answer) => void)[]>();
  readonly #cancels = new Set<() => void>();
  #isClosed = false;

  constructor(parts: { book: AddressBook; timers: Timers; counters: FrontCounters; shards: number }) {
    this.#book = parts.book;
    this.#timers = parts.timers;
    this.#counters = parts.counters;
    this.#shards = parts.shards;
  }

  /** @returns false: too many look-ups are in progress. */
  ask(peer: string, answered: (answer: Answer) => void): boolean {
    const waiting = this.#asked.get(peer);
    if (waiting) {
      waiting.push(answered);
      return true;
    }
    if (this.#asked.size >= lookUpsMax || this.#isClosed) return false;
    const asking = [answered];
    this.#asked.set(peer, asking);
    this.#counters.lookUps++;
    const end = (answer: Answer) => {
      if (this.#asked.get(peer) !== asking) return;
      this.#asked.delete(peer);
      this.#cancels.delete(cancel);
      cancel();
      for (const each of asking) each(answer);
    };
    const cancel = this.#timers.after(lookUpMsMax, () => end("late"));
    this.#cancels.add(cancel);
    void this.#found(peer).then(end);
    return true;
  }

  /** From now on no question is answered. */
  close(): void {
    this.#isClosed = true;
    this.#asked.clear();
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  async #found(peer: string): Promise<Answer> {
    let facts: AddressFacts | undefined;
    try {
      facts = await this.#book.find(peer);
    } catch {
      return "failed";
    }
    // The address book may contain a shard number of a larger fleet.
    if (!facts || !(facts.shard >= 0 && facts.shard < this.#shards)) return undefined;
    this.#counters.lookUpsFound++;
    return facts;
  }
}
