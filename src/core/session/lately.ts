/**
 * Publications of a client that are done, the latest ones: to know a repetition that comes late. A ring, because
 * something is noted with every message and looked for only when a client repeats itself.
 */
import type { CommitToken, Instant, QoS } from "../types.ts";

export interface Done {
  readonly msgId: number;
  readonly topicId: number;
  readonly qos: QoS;
  readonly hash: number;
  /** The answer waits for this commit, as a repeated one must. */
  readonly after: CommitToken | undefined;
  readonly at: Instant;
}

export class Lately {
  #ring: (Done | undefined)[] = [];
  #next = 0;

  /** Notes the latest; at `max` the earliest is forgotten. Of the same MsgId the latest counts. */
  note(done: Done, max: number): void {
    this.#ring[this.#next] = done;
    this.#next = (this.#next + 1) % max;
  }

  /** The latest with this MsgId. */
  find(msgId: number): Done | undefined {
    const size = this.#ring.length;
    for (let i = 1; i <= size; i++) {
      const done = this.#ring[(this.#next - i + size) % size];
      if (done?.msgId === msgId) return done;
    }
    return undefined;
  }

  /** Forgets all with this MsgId. */
  forget(msgId: number): void {
    for (let i = 0; i < this.#ring.length; i++) if (this.#ring[i]?.msgId === msgId) this.#ring[i] = undefined;
  }

  clear(): void {
    this.#ring = [];
    this.#next = 0;
  }
}
