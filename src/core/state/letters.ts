/** The list of dead letters that are kept, with their clients. Their contents are on disk. */
import type { DropReason } from "../event.ts";
import type { Publication } from "../types.ts";

export interface DeadLetter {
  readonly clientId: string;
  /** `up`: the message was for the broker; `down`: for the client. */
  readonly direction: "up" | "down";
  readonly reason: DropReason;
  readonly publication: Publication;
  /** It has QoS 2 and was in flight when it was taken out, so the broker may have it. */
  readonly mayBeThere?: boolean;
}

/** The numbers of the letters, the oldest first, and the client of each. */
export class Letters {
  readonly present = new Map<number, string>();
  last = 0;

  /** Restores a letter of an earlier run. */
  restore(id: number, clientId: string): void {
    this.present.set(id, clientId);
    this.last = Math.max(this.last, id);
  }
}
