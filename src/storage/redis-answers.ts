/** Converts Redis's answers to the store's types, and changes to the arguments of a script. */
import type { Change } from "../core/record.ts";
import type { Answer } from "./redis-connection.ts";
import { octetsOf } from "./state-table.ts";

export function textOf(answer: Answer | undefined): string {
  if (Buffer.isBuffer(answer)) return answer.toString("utf8");
  return typeof answer === "number" ? String(answer) : "";
}

export function listOf(answer: Answer | undefined): readonly Answer[] {
  return Array.isArray(answer) ? answer : [];
}

/**
 * The number that a script needs with a change: when a queued message expires, how many octets a backlog record
 * counts, or 1 for the session of an active client.
 */
export function numberOf(change: Change): string {
  if (change.of === "queued") return change.record?.due === undefined ? "" : String(change.record.due);
  if (change.of === "backlog") return String(change.record ? octetsOf(change.record) : 0);
  if (change.of === "session") return change.record?.state === "active" ? "1" : "";
  return "";
}

/** The start of a slice of names, for Redis: behind `after`. */
export function behindName(after: string | undefined): string {
  return after === undefined ? "-" : `(${encodeURIComponent(after)}`;
}

/** A sentence for the operator: the server has lost commits. */
export function sayOlder(acknowledged: number, stored: string): string {
  const what = stored === "0" ? "came back empty" : `came back with older data (commit ${stored})`;
  return (
    `the server ${what}: commit ${acknowledged} was acknowledged and is missing. The gateway overwrites nothing. ` +
    "Restore the newer data, or start the gateway again to continue with the older data"
  );
}
