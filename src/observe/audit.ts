/** What operators did, as log lines: one for each command that changes something or hands out all at once. */
import type { Log } from "./log.ts";

export interface Audited {
  /** Who asked: by which way in. */
  readonly who: string;
  readonly command: string;
  /** As JSON, cut to a line. */
  readonly input: string;
  readonly outcome: string;
}

export function logAudit(log: Log, { who, command, input, outcome }: Audited): void {
  log.info({ event: "operator_command", who, command, input, outcome }, `${who}: ${command} ${input}: ${outcome}`);
}
