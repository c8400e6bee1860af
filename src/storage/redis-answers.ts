/** What Redis answers, in the words of the store; and what a script is given of a change. */
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

/** For the script: when a queued message is due, what a backlog record counts. */
export function numberOf(change: Change): string {
  if (change.of === "queued") return change.record?.due === undefined ? "" : String(change.record.due);
  if (change.of === "backlog") return String(change.record ? octetsOf(change.record) : 0);
  return "";
}

/** Where a slice of names begins. */
export function behindName(after: string | undefined): string {
  return after === undefined ? "-" : `(${encodeURIComponent(after)}`;
}

/** The server has less than it had: in words for the operator. */
export function sayOlder(acknowledged: number, stored: string): string {
  const what = stored === "0" ? "came back empty" : `came back with older data (commit ${stored})`;
  return (
    `the server ${what}: commit ${acknowledged} was acknowledged, and it is not there. Nothing is written over it. ` +
    "Put the newer data back, or start the gateway again to go on with what is there"
  );
}
