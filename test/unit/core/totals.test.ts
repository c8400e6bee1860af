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

test("after a restart MsgIds begin elsewhere in each run, far from the one that was stored, also while the same message waits", () => {
  const { buffered } = new Counters();
  const firstIn = (start: number) => {
    const outbox = new Outbox(start, buffered);
    outbox.skipMsgId(30_000);
    return outbox.freeMsgId();
  };
  const starts = [0, 1, 4_096, 8_191, 24_574, 24_575, 32_766, 65_535];
  const ids = starts.map(firstIn);
  expect(new Set(ids).size).toBeGreaterThan(5);
  for (const id of ids) {
    const above = (id - 30_000 + 32_767) % 32_767;
    expect(above).toBeGreaterThan(4_000);
    expect(above).toBeLessThan(32_767 - 4_000);
  }
});
