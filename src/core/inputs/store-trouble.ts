/**
 * The store refuses commits (it is full, read-only or fails), or it takes too long. Requests that need the store are
 * refused with congestion, everything else continues, and the gateway tries again until the store works.
 */
import type { Context } from "../context.ts";
import { drainSoon } from "../session/backlog.ts";
import { acknowledgeAwaitingStore } from "../session/fan-out.ts";
import type { CommitToken } from "../types.ts";
import type { FromClient } from "../words.ts";

const probeMs = 2_000;

/** Devices repeat a message after 10 to 15 seconds [§7.2]. An answer should come before that. */
const slowMs = 5_000;

/**
 * At most so many commits may be unanswered once the store counts as failing. Each commit holds what was requested and
 * what would have been answered, and a disk that does not answer for a week must not fill the memory.
 */
const unansweredMax = 10_000;

/** Messages that change nothing on disk, or that only remove what is on disk already. */
const needNoStore: ReadonlySet<string> = new Set([
  "SEARCHGW",
  "PUBLISH",
  "PUBACK",
  "PUBREC",
  "PUBREL",
  "PUBCOMP",
  "REGACK",
]);

/**
 * Whether too many commits wait for a store that does not answer, so that this message cannot be accepted. The device
 * asks again, here or at another gateway.
 */
export function isBeyondStore(context: Context, message: FromClient): boolean {
  const { store, journal } = context;
  if (!store.fails || journal.lastCommit - store.answered < unansweredMax) return false;
  return !needNoStore.has(message.type) && !(message.type === "PINGREQ" && message.clientId === "");
}

/** Called at the end of each turn. From now on the store has to answer. */
export function watchStore(context: Context): void {
  const { store, journal, now } = context;
  if (store.busySince !== undefined || journal.lastCommit <= store.answered) return;
  store.busySince = now;
  if (store.probe.at === undefined) context.deadlines.set(store.probe, now + slowMs);
}

export function onPersistFailed(context: Context, token: CommitToken, why: string): void {
  const { store, journal } = context;
  store.noteAnswer(token, journal.lastCommit, context.now);
  context.out.report({ event: "persist_failed", why });
  for (const undo of journal.settle(token)) undo();
  store.fails = true;
  context.deadlines.set(store.probe, context.now + probeMs);
}

export function onPersisted(context: Context, token: CommitToken): void {
  const { store, journal } = context;
  store.noteAnswer(token, journal.lastCommit, context.now);
  if (!store.fails) return;
  store.fails = false;
  context.deadlines.clear(store.probe);
  context.out.report({ event: "persist_recovered" });
  for (const upstream of context.upstreams.all)
    for (const shared of upstream.allShared()) acknowledgeAwaitingStore(context, shared);
  for (const session of [...context.sessions.live()]) {
    context.touch(session);
    drainSoon(context, session);
  }
}

/**
 * Checks whether the store is slow. If it failed before, an empty commit is made: it also writes what the store could
 * not write before.
 */
export function probeStore(context: Context): void {
  const { store } = context;
  const since = store.busySince;
  if (since === undefined) {
    if (store.fails) context.journal.touch();
    return;
  }
  const isSlow = context.now - since >= slowMs;
  if (isSlow && !store.fails) {
    store.fails = true;
    context.out.report({ event: "persist_failed", why: `it has not answered for ${slowMs / 1_000} s` });
  }
  context.deadlines.set(store.probe, isSlow ? context.now + probeMs : since + slowMs);
}
