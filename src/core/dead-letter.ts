/** A message that was dropped, kept for a while so that the operator can see it and send it again. */
import type { DropReason } from "./event.ts";
import type { Publication } from "./types.ts";

export interface DeadLetter {
  readonly clientId: string;
  /** `up`: it was on its way to the broker; `down`: to the client. */
  readonly direction: "up" | "down";
  readonly reason: DropReason;
  readonly publication: Publication;
}
