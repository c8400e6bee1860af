import { expect, test } from "vitest";
import { Counters } from "../../../src/core/counters.ts";
import { backlogBytes } from "../../../src/core/record.ts";
import { Backlog } from "../../../src/core/state/backlog.ts";
import { Outbox } from "../../../src/core/state/outbox.ts";
import { entryBytes, type OutboxEntry } from "../../../src/core/state/outbox-entry.ts";
import type { Publication } from "../../../src/core/types.ts";

const publication = (octets: number): Publication => ({
  topicName: "t",
  payload: new Uint8Array(octets),
  qos: 1,
  retain: false,
});

test("each outbox counts what waits in it into the gateway's total, and takes it out of that again", () => {
  const counters = new Counters();
  const [one, other] = [new Outbox(0, counters.buffered), new Outbox(0, counters.buffered)];
  const [a, b, c] = [entry(1), entry(10), entry(100)];
  one.push(a);
  one.push(b);
  other.push(c);
  expect(counters).toMatchObject({ bufferedMessages: 3, bufferedBytes: entryBytes(a) + entryBytes(b) + entryBytes(c) });
  one.remove(b);
  one.remove(b); // is not there any more
  one.shift();
  one.shift(); // nothing is there
  expect(counters).toMatchObject({ bufferedMessages: 1, bufferedBytes: entryBytes(c) });
  one.push(a);
  other.push(b);
  other.clear();
  expect(counters).toMatchObject({ bufferedMessages: 1, bufferedBytes: entryBytes(a) });
  expect(one).toMatchObject({ length: 1, bytes: entryBytes(a) });
  expect(other).toMatchObject({ length: 0, bytes: 0 });
});

test("each backlog counts what waits in it into the gateway's total, and takes it out of that again", () => {
  const counters = new Counters();
  const [one, other] = [new Backlog(counters.backlog), new Backlog(counters.backlog)];
  const [a, b] = [publication(1), publication(10)];
  const bytes = backlogBytes(a) + backlogBytes(b);
  expect([one.add(a), one.add(b)]).toEqual([1, 2]);
  other.restore({ count: 2, octets: 13, first: 7, last: 8 });
  expect(other).toMatchObject({ count: 2, bytes: 213, next: 9, readUpTo: 6, unread: 2 });
  expect(counters).toMatchObject({ backlogMessages: 4, backlogBytes: bytes + 213 });
  one.withdraw(2, b);
  one.head.push({ id: 1, publication: a, at: 0 });
  expect(one.shift()?.id).toBe(1);
  expect(one.shift()).toBeUndefined();
  expect(one).toMatchObject({ count: 0, bytes: 0 });
  other.head.push({ id: 8, publication: a, at: 0 });
  other.recount(); // one of the two was damaged
  expect(counters).toMatchObject({ backlogMessages: 1, backlogBytes: backlogBytes(a) });
});

function entry(octets: number): OutboxEntry {
  return {
    publication: publication(octets),
    policy: {
      timeToLiveSeconds: 0,
      messagesMax: 9,
      bytesMax: 9_999,
      atLimit: "oldest",
      keep: "all",
      qos0WhileAsleep: true,
    },
    since: 0,
    sinceWall: 0,
    expiresAt: undefined,
    due: 0,
    dueStands: false,
    received: undefined,
    msgId: 0,
    fresh: false,
    released: false,
    topicIdRefused: false,
    registeredAgain: false,
    dupRefused: false,
    refusedAgain: false,
    seq: 0,
    waitedForId: false,
    unanswered: undefined,
  };
}
