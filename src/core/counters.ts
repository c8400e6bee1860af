/** Plain numbers, read when somebody scrapes. Counting never costs more than an addition. */
import type { MessageType } from "../wire/v12/messages.ts";
import { type DropReason, dropReasons } from "./event.ts";

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
  /** Messages waiting for clients now, and their size. */
  bufferedMessages = 0;
  bufferedBytes = 0;
  /** Publications accepted while the broker was away, ever; and those that wait on disk now, with their size. */
  acceptedUp = 0;
  backlogMessages = 0;
  backlogBytes = 0;

  countReceived(type: MessageType): void {
    this.received[type] = (this.received[type] ?? 0) + 1;
  }

  countSent(type: MessageType): void {
    this.sent[type] = (this.sent[type] ?? 0) + 1;
  }
}
