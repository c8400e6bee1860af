/** The ring of completed publications: what it finds, what it forgets, and that its values are returned unchanged. */
import { expect, test } from "vitest";
import { type Done, RecentPublishes } from "../../../src/core/state/recent-publishes.ts";

const done = (msgId: number, more: Partial<Done> = {}): Done => ({
  msgId,
  topicId: 7,
  qos: 1,
  hash: 0xffff_ffff,
  after: undefined,
  at: 12_345.678,
  ...more,
});

test("an entry comes back as it was noted [6.6]", () => {
  const recent = new RecentPublishes();
  const noted = [done(1), done(65_535, { qos: 2, after: 3, topicId: 0xffff, hash: 0 })];
  for (const each of noted) recent.note(each, 4);
  expect(noted.map(({ msgId }) => recent.find(msgId))).toEqual(noted);
  expect(recent.find(2)).toBeUndefined();
});

test("at the limit the earliest is forgotten, and of one MsgId the latest counts [6.6]", () => {
  const recent = new RecentPublishes();
  for (let msgId = 1; msgId <= 6; msgId++) recent.note(done(msgId), 4);
  expect([1, 2, 3, 6].map((msgId) => recent.find(msgId)?.msgId)).toEqual([undefined, undefined, 3, 6]);
  recent.note(done(3, { topicId: 8 }), 4);
  expect(recent.find(3)?.topicId).toBe(8);
});

test("what is forgotten is not found, and the rest stays in its place [6.6]", () => {
  const recent = new RecentPublishes();
  for (let msgId = 1; msgId <= 3; msgId++) recent.note(done(msgId), 4);
  recent.note(done(2), 4);
  recent.forget(2);
  expect([1, 2, 3].map((msgId) => recent.find(msgId)?.msgId)).toEqual([1, undefined, 3]);
  recent.note(done(5), 4);
  expect(recent.find(1)).toBeUndefined();
  recent.clear();
  expect(recent.find(3)).toBeUndefined();
  recent.note(done(9), 4);
  expect(recent.find(9)?.msgId).toBe(9);
});
