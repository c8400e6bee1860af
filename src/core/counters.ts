/** Plain numbers, read when somebody scrapes. Counting never costs more than an addition. */
import { type DropReason, dropReasons } from "./event.ts";

/** A number of messages, and their size. */
export interface Tally {
  messages: number;
  bytes: number;
}

export class Counters {
  /** Messages from and to peers, by type. */
  readonly received: Record<string, number> = {};
  readonly sent: Record<string, number> = {};
  readonly dropped: Record<DropReason, number> = Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as Record<
    DropReason,
    number
  >;
  publishedUp = 0;
  deliveredDown = 0;
  retransmissions = 0;
  clientsLost = 0;
  qos2Uncertain = 0;
  /** Publications that the broker answered as if of another QoS. */
  otherQoSAnswers = 0;
  payloadsUnfit = 0;
  /** Publications accepted while the broker was away, ever. */
  acceptedUp = 0;
  /** Messages waiting for clients now. Each outbox counts its own in here, and nobody else does. */
  readonly buffered: Readonly<Tally> = { messages: 0, bytes: 0 };
  /** Publications that wait on disk for the broker now. Each backlog counts its own in here, and nobody else does. */
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

  countReceived(type: string): void {
    this.received[type] = (this.received[type] ?? 0) + 1;
  }

  countSent(type: string): void {
    this.sent[type] = (this.sent[type] ?? 0) + 1;
  }
}
