/** `sessions list`: which, in which order. */
import { expect, test } from "vitest";
import { type Choice, chosenSessions, type ListedSession } from "../../../src/cli/session-list.ts";

const session = (clientId: string, more: Partial<ListedSession> = {}): ListedSession => ({
  clientId,
  state: "active",
  clean: false,
  keepAliveSeconds: 60,
  sleepSeconds: 0,
  secondsSilent: 1,
  waitingMessages: 0,
  waitingBytes: 0,
  droppedMessages: 0,
  owedToBroker: 0,
  owedBytes: 0,
  topics: 0,
  subscriptions: 0,
  linkUp: true,
  ...more,
});
const all = [
  session("meter-2", { state: "asleep", isLate: true, secondsSilent: 90, waitingMessages: 1 }),
  session("meter-1", { state: "asleep", secondsSilent: 10, droppedMessages: 4 }),
  session("lamp", { secondsSilent: 20, waitingMessages: 7 }),
];

test.each<[Choice, string[]]>([
  [{}, ["meter-2", "meter-1", "lamp"]],
  [{ state: "asleep" }, ["meter-2", "meter-1"]],
  [{ state: "late" }, ["meter-2"]],
  [{ match: "meter-*", sort: "client" }, ["meter-1", "meter-2"]],
  [{ match: "Meter-*" }, []],
  [{ sort: "silent" }, ["meter-2", "lamp", "meter-1"]],
  [{ sort: "waiting" }, ["lamp", "meter-2", "meter-1"]],
  [{ sort: "dropped", state: "asleep" }, ["meter-1", "meter-2"]],
])("%j", (choice, names) => {
  expect(chosenSessions(all, choice).map(({ clientId }) => clientId)).toEqual(names);
});
