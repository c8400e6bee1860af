/**
 * QoS 2 messages that the device has accepted. A message counts once: until the gateway releases it, for any value of DUP; and for a while
 * longer if it has DUP, because a repetition may arrive after the end of its exchange.
 */
const finishedMax = 16;

export class TakenMessages {
  readonly #open = new Set<number>();
  /** Released recently, by MsgId; the latest last. */
  readonly #finished = new Map<number, number>();
  readonly #repetitionMs: number;

  /** `repetitionMs`: how long the gateway may repeat a message. */
  constructor(repetitionMs: number) {
    this.#repetitionMs = repetitionMs;
  }

  /** Accepts the message. True: it is new. */
  take(msgId: number, dup: boolean, now: number): boolean {
    const finishedAt = this.#finished.get(msgId);
    const late = dup && finishedAt !== undefined && now - finishedAt < this.#repetitionMs;
    if (late || this.#open.has(msgId)) return false;
    this.#open.add(msgId);
    return true;
  }

  release(msgId: number, now: number): void {
    if (!this.#open.delete(msgId)) return;
    this.#finished.delete(msgId);
    this.#finished.set(msgId, now);
    const oldest = this.#finished.keys().next();
    if (this.#finished.size > finishedMax && !oldest.done) this.#finished.delete(oldest.value);
  }

  clear(): void {
    this.#open.clear();
    this.#finished.clear();
  }
}
