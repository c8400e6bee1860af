/** What the topics and payloads of a world say: whose they are, and which number. */
import type { Publication } from "../../src/core/types.ts";

/** Topics are `d/<client>/…` or `d/all/…`, and payloads begin with them: `d/<client>/…|number`. */
export function isForAll(topicName: string): boolean {
  return topicName.startsWith("d/all/");
}

export function numberOf(payload: string): number {
  return Number(payload.split("|")[1]);
}

/** Topics of wills are `w/<client>`, or begin like that. */
export function willOf({ topicName }: Publication): string {
  return topicName.split("/")[1] ?? "";
}

export function versionOf(will: string | undefined): number {
  return Number(will?.split(" will ")[1] ?? 0);
}

export function textOf(publication: Publication): string {
  return Buffer.from(publication.payload).toString();
}
