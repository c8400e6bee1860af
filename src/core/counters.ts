/** Plain numbers, which are read at each scrape. Counting costs one addition. */
import { type DropReason, dropReasons } from "./event.ts";

/** A number of messages, and their size. */
export interface Tally {
  messages: number;
  bytes: number;
}

export class Counters {
  readonly #received = new Map<string, { count: number }>();
  readonly #sent = new Map<string, { count: number }>();
  readonly dropped: Record<DropReason, number> = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<
    DropReason,
    number
  >;
  publishedUp = 0;
  deliveredDown = 0;
  retransmissions = 0;
  clientsLost = 0;
  qos2Uncertain = 0;
  /** Publications that the broker answered as if they had another QoS. */
  otherQoSAnswers = 0;
  payloadsUnfit = 0;
  /** Publications that were accepted while the broker was away, since the start. */
  acceptedUp = 0;
  /** Messages that wait for clients now. Only the outboxes change these counts, each for itself. */
  readonly buffered: Readonly<Tally> = { messages: 0, bytes: 0 };
  /** Publications that wait on disk for the broker now. Only the backlogs change these counts, each for itself. */
  readonly backlog: Readonly<Tally> = { messages: 0, bytes: 0 };

  get bufferedMessages(): number {
    return this.buffered.messages;
  }

  get bufferedBytes(): number {
    return this.buffered.bytes;
  }

  get backlogMessages(): number {
    return this.backlog.messages;
  }

  get backlogBytes(): number {
    return this.backlog.bytes;
  }

  /** Messages from peers, by type. */
  get received(): Record<string, number> {
    return numbersOf(this.#received);
  }

  /** Messages to peers, by type. */
  get sent(): Record<string, number> {
    return numbersOf(this.#sent);
  }

  countReceived(type: string): void {
    countOne(this.#received, type);
  }

  countSent(type: string): void {
    countOne(this.#sent, type);
  }
}

/** Counts one message. With an object, V8 would look for the property of the type's name twice each time. */
function countOne(counts: Map<string, { count: number }>, type: string): void {
  const known = counts.get(type);
  if (known) known.count++;
  else counts.set(type, { count: 1 });
}

function numbersOf(counts: ReadonlyMap<string, { readonly count: number }>): Record<string, number> {
  return Object.fromEntries([...counts].map(([type, { count }]) => [type, count]));
}
