/** The watch over the process that has the adapter, with processes that only pretend, and time that is moved. */
import { expect, test } from "vitest";
import type { CentralEvent, ChildReport } from "../../../../src/transports/ble/central.ts";
import { bleOptions } from "../../../../src/transports/ble/options.ts";
import { Supervisor } from "../../../../src/transports/ble/supervisor.ts";
import { supervisorOptions } from "../../../../src/transports/ble/supervisor-options.ts";
import type { Spawned } from "../../../../src/watched-child.ts";
import { FakeChild } from "../../../helpers/fake-child.ts";
import { ScriptedTimers } from "../../../helpers/scripted-central.ts";

const ready: ChildReport = { is: "ready", adapter: "a", driver: "d" };
const alive = (more: Partial<Extract<ChildReport, { is: "alive" }>> = {}): ChildReport => ({
  is: "alive",
  rssBytes: 50e6,
  advertisements: 0,
  addresses: 0,
  ...more,
});

function bench(more: Record<string, unknown> = {}) {
  const timers = new ScriptedTimers();
  const children: FakeChild[] = [];
  const events: CentralEvent[] = [];
  const options = supervisorOptions(bleOptions.parse({ type: "ble", supervision: more }));
  const supervisor = new Supervisor(options, timers, () => {
    const child = new FakeChild();
    children.push(child);
    return child as unknown as Spawned;
  });
  supervisor.start((event) => events.push(event));
  const child = () => {
    const last = children.at(-1);
    if (!last) throw new Error("no child");
    return last;
  };
  /** Time passes, and the child lives. */
  const lives = (seconds: number, advertisements: (second: number) => number = () => 0) => {
    for (let s = 1; s <= seconds; s++) {
      timers.pass(1_000);
      child().says(alive({ advertisements: advertisements(s) }));
    }
  };
  return { timers, children, events, supervisor, child, lives };
}

test("silence ends the child for good, and another one is started", () => {
  const { timers, children, events, child, supervisor } = bench();
  child().says(ready);
  supervisor.command({ do: "link", address: "x" });
  timers.pass(9_500);
  expect(child().signals).toEqual([]);
  timers.pass(500);
  expect(child().signals).toEqual(["SIGKILL"]);
  expect(events).toEqual([ready, { is: "unavailable", why: "it said nothing for 10 s", hung: true }]);
  timers.pass(2_000);
  expect(children).toHaveLength(2);
  children[0]?.says(ready); // words of a dead one
  expect(events).toHaveLength(2);
  child().says(ready);
  expect(events).toHaveLength(3);
  expect(supervisor.counters.restarts).toBe(1);
});

test("the pause doubles up to a minute while none comes to work, and is short again after one did", () => {
  const { timers, children, child, lives } = bench();
  const pauses: number[] = [];
  for (let i = 0; i < 8; i++) {
    const before = children.length;
    child().says({ is: "unavailable", why: "there is no Bluetooth adapter" });
    let waited = 0;
    while (children.length === before) {
      timers.pass(1_000);
      waited++;
    }
    pauses.push(waited);
  }
  expect(pauses).toEqual([2, 4, 8, 16, 32, 60, 60, 60]);
  child().says(ready);
  lives(60);
  child().emit("exit", 1, null);
  timers.pass(2_000);
  expect(children).toHaveLength(10);
});

test("where all devices have links and nobody advertises, what they send shows that the adapter works", () => {
  const { events, child, lives } = bench({ quietMinutes: 10 });
  child().says(ready);
  lives(5, (s) => s);
  for (let minute = 0; minute < 30; minute++) {
    child().says({ is: "data", address: "c0:00:00:00:00:01", bytes: Uint8Array.of(2, 0x16) });
    lives(60, () => 5);
  }
  expect(events.filter(({ is }) => is === "unavailable")).toEqual([]);
  lives(560, () => 5);
  expect(events.at(-1)).toMatchObject({ is: "unavailable", why: expect.stringMatching(/no advertisement/) });
});

test("one that never gets as far as working is not waited for without end", () => {
  const { timers, events, child } = bench();
  for (let s = 0; s < 30; s++) {
    timers.pass(1_000);
    child().says(alive());
  }
  expect(events).toMatchObject([{ is: "unavailable", why: expect.stringMatching(/did not answer.*ble check/) }]);
});

test("too much memory, and no advertisement for long though there were some, end it", () => {
  const grown = bench({ memoryMegabytesMax: 100 });
  grown.child().says(ready);
  grown.child().says(alive({ rssBytes: 101 * 2 ** 20 }));
  grown.timers.pass(1_000);
  expect(grown.events.at(-1)).toMatchObject({ is: "unavailable", why: "it had grown to 101 MB" });
  const quiet = bench({ quietMinutes: 10 });
  quiet.child().says(ready);
  quiet.lives(700);
  expect(quiet.events).toHaveLength(1); // there never was one: perhaps there is no device
  quiet.lives(5, (s) => s);
  quiet.lives(601, () => 5);
  expect(quiet.events.at(-1)).toMatchObject({ is: "unavailable", why: expect.stringMatching(/no advertisement/) });
  expect(quiet.supervisor.counters.advertisements).toBe(5);
});

test("a child that takes no commands is ended before they fill the memory", () => {
  const { child, supervisor, events } = bench();
  const first = child();
  first.takes = false;
  first.says(ready);
  for (let i = 0; i < 5_000; i++) supervisor.command({ do: "scan", on: true });
  expect(first.sent.length).toBeLessThanOrEqual(2_000);
  expect(events.at(-1)).toMatchObject({ is: "unavailable", why: "it takes no more commands" });
});

test("commands to nobody are dropped; closing ends the child and starts no other", async () => {
  const { timers, children, child, supervisor, events } = bench();
  supervisor.command({ do: "scan", on: true });
  expect(child().sent).toEqual([]);
  const closing = supervisor.close();
  expect(child().signals).toEqual(["SIGTERM"]);
  timers.pass(2_000);
  expect(child().signals).toEqual(["SIGTERM", "SIGKILL"]);
  child().emit("exit", null, "SIGKILL");
  await closing;
  timers.pass(100_000);
  expect(children).toHaveLength(1);
  expect(events).toEqual([]);
  expect(timers.size).toBe(0);
});

test.each<[string, unknown]>([
  ["nothing", undefined],
  ["null", null],
  ["text", "ready"],
  ["a list", [1]],
  ["no such report", { is: "constructor" }],
  ["a field of another kind", { is: "data", address: "a", bytes: "00" }],
  ["an address that is none", { is: "linked", address: {}, mtu: 20, confirmed: true }],
  ["a number that is none", { is: "alive", rssBytes: Number.NaN, advertisements: 0, addresses: 0 }],
  ["more than there can be", { is: "unavailable", why: "x".repeat(1_000_000) }],
  ["very deep", deep(5_000)],
])("a child that says %s is ended, and another one begins", (_name, said) => {
  const { child, children, events, timers } = bench();
  child().says(ready);
  child().says(said as ChildReport);
  expect(child().signals).toEqual(["SIGKILL"]);
  expect(events.at(-1)).toMatchObject({ is: "unavailable", why: "its message is invalid" });
  timers.pass(2_000);
  expect(children).toHaveLength(2);
});

function deep(levels: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < levels; i++) value = { is: "seen", services: [value] };
  return value;
}
