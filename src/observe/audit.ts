/** Logs the actions of operators: one line for each command that changes something or hands out data in bulk. */
import type { Log } from "./log.ts";

export interface Audited {
  /** The user, and the way in. */
  readonly who: string;
  readonly command: string;
  /** The input as JSON, shortened to one line. */
  readonly input: string;
  readonly outcome: string;
}

export function logAudit(log: Log, { who, command, input, outcome }: Audited): void {
  log.info({ event: "operator_command", who, command, input, outcome }, `${who}: ${command} ${input}: ${outcome}`);
}
