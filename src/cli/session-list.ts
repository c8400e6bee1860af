/** `sessions list`: selects and sorts the sessions, and shows them once or repeatedly. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { OutputOf } from "../runtime/commands.ts";
import { globToRegExp } from "../upstream/credentials.ts";

export type ListedSession = OutputOf<"sessions.list">[number];

export const sessionStates = ["active", "asleep", "awake", "disconnected", "lost", "late"] as const;
export type SessionState = (typeof sessionStates)[number];

/** The order of states; sessions that need attention are first. */
const orders = {
  client: (a: ListedSession, b: ListedSession) => (a.clientId < b.clientId ? -1 : a.clientId > b.clientId ? 1 : 0),
  silent: (a: ListedSession, b: ListedSession) => b.secondsSilent - a.secondsSilent,
  waiting: (a: ListedSession, b: ListedSession) => b.waitingMessages - a.waitingMessages,
  owed: (a: ListedSession, b: ListedSession) => b.owedToBroker - a.owedToBroker,
  dropped: (a: ListedSession, b: ListedSession) => b.droppedMessages - a.droppedMessages,
} as const;
export type SessionOrder = keyof typeof orders;
export const sessionOrders = Object.keys(orders) as SessionOrder[];

export interface Choice {
  readonly state?: SessionState;
  readonly match?: string;
  readonly sort?: SessionOrder;
}

export function chosenSessions(all: readonly ListedSession[], { state, match, sort }: Choice): ListedSession[] {
  const pattern = match === undefined ? undefined : globToRegExp(match);
  const found = all.filter(
    (session) =>
      (state === undefined || (state === "late" ? session.isLate === true : session.state === state)) &&
      (pattern?.test(session.clientId) ?? true),
  );
  return sort === undefined ? found : found.sort(orders[sort]);
}

/** On a terminal each output replaces the one before, until a signal is received. */
export async function again(seconds: number, show: () => Promise<void>): Promise<never> {
  for (;;) {
    if (process.stdout.isTTY) process.stdout.write("\u001b[2J\u001b[H");
    await show();
    await sleep(seconds * 1_000);
  }
}
