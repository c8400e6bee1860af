/**
 * The store does not take what it is given (full, read-only, failing), or takes too long over it: what needs it is
 * refused with congestion, the rest goes on, and it is tried again until it does.
 */
import type { Message } from "../../wire/v12/messages.ts";
import type { Context } from "../context.ts";
import { drainSoon } from "../session/backlog.ts";
import { acknowledgeUnkept } from "../session/fan-out.ts";
import type { CommitToken } from "../types.ts";

const probeMs = 2_000;

/** Devices repeat themselves after 10 to 15 seconds [§7.2]: an answer should come before. */
const slowMs = 5_000;

/**
 * Commits without an answer, once the store counts as failing. Each holds what was asked for and what was to be said; a
 * disk that hangs for a week must not fill the memory.
 */
const unansweredMax = 10_000;

/** Messages that change nothing on disk, or only what is there already and goes away. */
const needNoStore: ReadonlySet<Message["type"]> = new Set([
  "SEARCHGW",
  "PUBLISH",
  "PUBACK",
  "PUBREC",
  "PUBREL",
  "PUBCOMP",
  "REGACK",
]);

/** Has too much gathered for a store that does not answer to let this in? The device asks again, here or elsewhere. */
export function isBeyondStore(context: Context, message: Message): boolean {
  if (!context.storeFails || context.journal.lastCommit - context.answeredCommit < unansweredMax) return false;
  return !needNoStore.has(message.type) && !(message.type === "PINGREQ" && message.clientId === "");
}

/** At the end of each turn: an answer is owed from now on. */
export function watchStore(context: Context): void {
  if (context.storeBusySince !== undefined || context.journal.lastCommit <= context.answeredCommit) return;
  context.storeBusySince = context.now;
  if (context.probe.at === undefined) context.deadlines.set(context.probe, context.now + slowMs);
}

function noteAnswer(context: Context, token: CommitToken): void {
  context.answeredCommit = Math.max(context.answeredCommit, token);
  context.storeBusySince = context.journal.lastCommit > context.answeredCommit ? context.now : undefined;
}

export function onPersistFailed(context: Context, token: CommitToken, why: string): void {
  noteAnswer(context, token);
  context.out.report({ event: "persist_failed", why });
  for (const undo of context.journal.settle(token)) undo();
  context.storeFails = true;
  context.deadlines.set(context.probe, context.now + probeMs);
}

export function onPersisted(context: Context, token: CommitToken): void {
  noteAnswer(context, token);
  if (!context.storeFails) return;
  context.storeFails = false;
  context.deadlines.clear(context.probe);
  context.out.report({ event: "persist_recovered" });
  for (const { trunks } of context.upstreams.all) for (const trunk of trunks) acknowledgeUnkept(context, trunk);
  for (const session of [...context.sessions.all()]) {
    context.touch(session);
    drainSoon(context, session);
  }
}

/** Is it slow? Otherwise a commit of nothing, if it failed: what the store could not write before goes with it. */
export function probeStore(context: Context): void {
  const since = context.storeBusySince;
  if (since === undefined) {
    if (context.storeFails) context.journal.touch();
    return;
  }
  const isSlow = context.now - since >= slowMs;
  if (isSlow && !context.storeFails) {
    context.storeFails = true;
    context.out.report({ event: "persist_failed", why: `it has not answered for ${slowMs / 1_000} s` });
  }
  context.deadlines.set(context.probe, isSlow ? context.now + probeMs : since + slowMs);
}
