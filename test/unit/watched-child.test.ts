/** A child process that is kept running, with processes that only pretend, and time that is moved. */
import { expect, test } from "vitest";
import { type Gone, type Spawned, WatchedChild } from "../../src/watched-child.ts";
import { FakeChild } from "../helpers/fake-child.ts";
import { ScriptedTimers } from "../helpers/scripted-central.ts";

function bench() {
  const timers = new ScriptedTimers();
  const children: FakeChild[] = [];
  const said: unknown[] = [];
  const gone: Gone[] = [];
  let began = 0;
  const spawn = () => {
    const child = new FakeChild();
    children.push(child);
    return child as unknown as Spawned;
  };
  const watched = new WatchedChild(
    { timers, spawn, firstPauseMs: 1_000, pauseMsMax: 8_000 },
    { began: () => began++, said: (message) => said.push(message), gone: (each) => gone.push(each) },
  );
  watched.begin();
  const child = () => {
    const last = children.at(-1);
    if (!last) throw new Error("no child");
    return last;
  };
  return { timers, children, said, gone, began: () => began, watched, child };
}

test("a process that ends is followed by the next after the pause, and not before", () => {
  const { timers, children, gone, child, watched, began } = bench();
  child().exits(3);
  expect(gone).toEqual([{ why: "it exited with 3", isHung: false, pauseMs: 1_000 }]);
  expect([watched.isThere, watched.pid]).toEqual([false, undefined]);
  timers.pass(999);
  expect(children).toHaveLength(1);
  timers.pass(1);
  expect([children.length, began(), watched.restarts]).toEqual([2, 2, 1]);
});

test("the pause doubles up to its limit while none comes to work", () => {
  const { timers, gone, child } = bench();
  for (let i = 0; i < 6; i++) {
    child().exits(1);
    timers.pass(8_000);
  }
  expect(gone.map(({ pauseMs }) => pauseMs)).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
});

test("behind one that worked for a minute the pause is the first again; behind one that only lived it is not", () => {
  const { timers, gone, child, watched } = bench();
  const ends = (isReady: boolean, livesMs: number) => {
    if (isReady) watched.ready();
    timers.pass(livesMs);
    child().exits(1);
    timers.pass(8_000);
  };
  ends(true, 59_999);
  ends(false, 3_600_000);
  ends(true, 60_000);
  ends(false, 0);
  expect(gone.map(({ pauseMs }) => pauseMs)).toEqual([1_000, 2_000, 1_000, 2_000]);
});

test("one that is ended is not waited for, nothing more is heard of it, and its late exit ends nobody", () => {
  const { timers, children, said, gone, watched, child } = bench();
  watched.end("it said nothing for 10 s", true);
  expect(child().signals).toEqual(["SIGKILL"]);
  expect(gone).toEqual([{ why: "it said nothing for 10 s", isHung: true, pauseMs: 1_000 }]);
  watched.end("again");
  timers.pass(1_000);
  children[0]?.says("late");
  children[0]?.exits(null, "SIGKILL");
  child().says("in time");
  expect(said).toEqual(["in time"]);
  expect([gone.length, children.length, watched.restarts]).toEqual([1, 2, 1]);
});

test("one that is renewed is followed soon, however long the pauses were", () => {
  const { timers, gone, child, watched } = bench();
  for (let i = 0; i < 4; i++) {
    child().exits(1);
    timers.pass(8_000);
  }
  watched.renew("it had grown");
  expect(gone.at(-1)).toEqual({ why: "it had grown", isHung: false, pauseMs: 1_000 });
});

test("why it ended has its signal and its last line, cut to its limit", () => {
  const { timers, gone, child } = bench();
  child().writes("first\nsecond ");
  child().writes("line\n");
  child().exits(null, "SIGSEGV");
  timers.pass(1_000);
  child().emit("error", new Error("spawn ENOENT"));
  timers.pass(2_000);
  child().writes("x".repeat(5_000));
  child().exits(1);
  expect(gone.map(({ why }) => why)).toEqual([
    "it got SIGSEGV: second line",
    "spawn ENOENT",
    `it exited with 1: ${"x".repeat(200)}`,
  ]);
});

test("what is sent is taken by the process of now alone", () => {
  const { timers, children, watched, child } = bench();
  let taken = 0;
  child().takes = false;
  watched.send("one", () => taken++);
  expect([child().sent, taken]).toEqual([["one"], 0]);
  child().takes = true;
  watched.send("two", () => taken++);
  expect(taken).toBe(1);
  child().exits(1);
  watched.send("nobody hears it", () => taken++);
  timers.pass(1_000);
  child().connected = false;
  watched.send("its pipe is gone", () => taken++);
  expect([taken, children.map(({ sent }) => sent)]).toEqual([1, [["one", "two"], []]]);
});

test("close asks it to end, kills it after two seconds, and begins none", async () => {
  const { timers, children, gone, watched, child } = bench();
  let closed = false;
  const closing = watched.close().then(() => {
    closed = true;
  });
  timers.pass(1_999);
  expect(child().signals).toEqual(["SIGTERM"]);
  timers.pass(1);
  expect(child().signals).toEqual(["SIGTERM", "SIGKILL"]);
  expect(closed).toBe(false);
  child().exits(null, "SIGKILL");
  await closing;
  watched.begin();
  timers.pass(60_000);
  expect([children.length, gone.length]).toEqual([1, 0]);
});

test("close within a pause begins none, and waits for nothing", async () => {
  const { timers, children, watched, child } = bench();
  child().exits(1);
  await watched.close();
  timers.pass(60_000);
  expect(children).toHaveLength(1);
});
