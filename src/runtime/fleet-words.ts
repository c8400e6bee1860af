/** How it is with a pair, in words: for a terminal and for the page. */
import type { PairFacts } from "../storage/lease.ts";
import { duration } from "./state-words.ts";

type Facts = Pick<PairFacts, "owner" | "epoch"> & { readonly handover?: PairFacts["handover"] | undefined };

/** How the lease came to whoever has it, in words. */
export function handoverWords({ owner, epoch, handover }: Facts): string {
  const who = owner === "" ? "" : ` to ${owner}`;
  if (!handover) return `epoch ${epoch}; how it came${who} is not known`;
  const { from, cause, secondsAgo } = handover;
  const whence = from === "" ? "" : ` from ${from}`;
  return `epoch ${epoch}, ${duration(Math.floor(secondsAgo))} ago${whence}${who}: ${causeWords[cause]}`;
}

const causeWords = {
  first: "nobody was active before",
  drained: "it was drained",
  ended: "it ended in order",
  silent: "it did not renew the lease",
} as const;
