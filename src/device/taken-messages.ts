/**
 * QoS 2 messages that the device has accepted. A message counts once: until the gateway releases it, for any value of
 * DUP; and for a while longer if it has DUP, because a repetition may arrive after the end of its exchange.
 *
 * A message with the same MsgId and other contents is another message. A gateway that was started again, or another
 * gateway in its place, may use a MsgId again that the device remembers.
 */
const finishedMax = 16;

/** What a repetition has in common with the message. */
export interface TakenMessage {
  readonly msgId: number;
  readonly topicId: number;
  readonly data: Uint8Array;
}

interface Finished {
  readonly contents: number;
  readonly at: number;
}

export class TakenMessages {
  /** The hash of the contents, by MsgId. */
  readonly #open = new Map<number, number>();
  /** Released recently, by MsgId; the latest last. */
  readonly #finished = new Map<number, Finished>();
  readonly #repetitionMs: number;

  /** `repetitionMs`: how long the gateway may repeat a message. */
  constructor(repetitionMs: number) {
    this.#repetitionMs = repetitionMs;
  }

  /** Accepts the message. True: the message is new. */
  take(message: TakenMessage, dup: boolean, now: number): boolean {
    const { msgId } = message;
    const contents = contentsOf(message);
    const finished = this.#finished.get(msgId);
    const isLate = dup && finished?.contents === contents && now - finished.at < this.#repetitionMs;
    if (isLate || this.#open.get(msgId) === contents) return false;
    this.#open.set(msgId, contents);
    return true;
  }

  release(msgId: number, now: number): void {
    const contents = this.#open.get(msgId);
    if (contents === undefined) return;
    this.#open.delete(msgId);
    this.#finished.delete(msgId);
    this.#finished.set(msgId, { contents, at: now });
    const oldest = this.#finished.keys().next();
    if (this.#finished.size > finishedMax && !oldest.done) this.#finished.delete(oldest.value);
  }

  clear(): void {
    this.#open.clear();
    this.#finished.clear();
  }
}

/** FNV-1a of the topic id and the data. */
function contentsOf({ topicId, data }: TakenMessage): number {
  let hash = Math.imul(0x811c9dc5 ^ topicId, 0x01000193);
  for (const octet of data) hash = Math.imul(hash ^ octet, 0x01000193);
  return hash;
}
