/**
 * The latest completed publications of a client, so that a late repetition is recognized. It is a ring, because every
 * publication is recorded and the record is read only when a client repeats itself.
 */
import type { CommitToken, Instant, QoS } from "../types.ts";

export interface Done {
  readonly msgId: number;
  readonly topicId: number;
  readonly qos: QoS;
  readonly hash: number;
  /** The commit that the answer waits for. A repeated answer waits for it too. */
  readonly after: CommitToken | undefined;
  readonly at: Instant;
}

/** The positions of the parts of an entry, and their number. */
const msgIdAt = 0;

const topicIdAt = 1;

const qosAt = 2;

const hashAt = 3;

const afterAt = 4;

const timeAt = 5;

const entrySize = 6;

/** In place of a MsgId: the entry was forgotten. In place of a commit: there is none. */
const nothing = -1;

export class RecentPublishes {
  /**
   * All entries in one array of numbers. An entry is recorded with every message, and an object for each would live
   * long enough to burden the garbage collector.
   */
  readonly #ring: number[] = [];
  #next = 0;

  /**
   * Records the latest publication. When there are `max` entries, the earliest one is overwritten. If several have the
   * same MsgId, the latest one counts.
   */
  note(done: Done, max: number): void {
    const ring = this.#ring;
    const at = this.#next * entrySize;
    ring[at + msgIdAt] = done.msgId;
    ring[at + topicIdAt] = done.topicId;
    ring[at + qosAt] = done.qos;
    ring[at + hashAt] = done.hash;
    ring[at + afterAt] = done.after ?? nothing;
    ring[at + timeAt] = done.at;
    this.#next = (this.#next + 1) % max;
  }

  /** Finds the latest publication with this MsgId. */
  find(msgId: number): Done | undefined {
    const size = this.#ring.length / entrySize;
    for (let i = 1; i <= size; i++) {
      const at = ((this.#next - i + size) % size) * entrySize;
      if (this.#ring[at + msgIdAt] === msgId) return this.#entry(at);
    }
    return undefined;
  }

  /** Forgets all publications with this MsgId. */
  forget(msgId: number): void {
    for (let at = 0; at < this.#ring.length; at += entrySize) {
      if (this.#ring[at + msgIdAt] === msgId) this.#ring[at + msgIdAt] = nothing;
    }
  }

  /** The number of publications that are remembered. */
  get size(): number {
    return this.#ring.length / entrySize;
  }

  /** The publications since this time, the earliest first, without those that were forgotten. */
  since(from: Instant): readonly Done[] {
    const done: Done[] = [];
    for (let i = this.size; i >= 1; i--) {
      const at = ((this.#next - i + this.size) % this.size) * entrySize;
      if (this.#ring[at + msgIdAt] !== nothing && (this.#ring[at + timeAt] ?? 0) >= from) done.push(this.#entry(at));
    }
    return done;
  }

  clear(): void {
    this.#ring.length = 0;
    this.#next = 0;
  }

  #entry(at: number): Done {
    const part = (which: number) => this.#ring[at + which] ?? 0;
    const after = part(afterAt);
    return {
      msgId: part(msgIdAt),
      topicId: part(topicIdAt),
      qos: part(qosAt) as QoS,
      hash: part(hashAt),
      after: after === nothing ? undefined : after,
      at: part(timeAt),
    };
  }
}
