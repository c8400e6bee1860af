/** The driver's timer is late: sockets are read first, and the core is told when the process stood still. */
import { expect, test } from "vitest";
import type { Core } from "../../../src/core/core.ts";
import type { Input } from "../../../src/core/input.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import type { Edges } from "../../../src/runtime/perform.ts";

/** A driver with a clock that the test moves, and a core that records its inputs. */
function bench(deadline: number | undefined) {
  const said: string[] = [];
  let now = 0;
  let deadlineAt = deadline;
  let timer: { readonly at: number; readonly call: () => void } | undefined;
  const readings: (() => void)[] = [];
  const core: Core = {
    handle: (input) => {
      said.push(input.kind === "stoodStill" ? `stood still ${input.ms}` : input.kind);
      return [];
    },
    timeout: () => {
      said.push("timeout");
      if (deadlineAt !== undefined && deadlineAt <= now) deadlineAt = undefined;
      return [];
    },
    nextDeadline: () => deadlineAt,
    isConnecting: () => false,
  };
  const clock = {
    now: () => now,
    wakeAt: (at: number | undefined, call: () => void) => {
      timer = at === undefined ? undefined : { at, call };
    },
    afterReading: (call: () => void) => readings.push(call),
  };
  const driver = new Driver(core, {} as Edges, clock);
  driver.start();
  return {
    driver,
    said,
    comes: (kind: Input["kind"]) => driver.handle({ kind } as Input),
    /** Time passes, and no timer comes. */
    pass: (ms: number) => {
      now += ms;
    },
    timerComes: () => {
      if (!timer || timer.at > now) return false;
      const { call } = timer;
      timer = undefined;
      call();
      return true;
    },
    get timerAt() {
      return timer?.at;
    },
    /** What waited was read. */
    read: () => {
      for (const call of readings.splice(0)) call();
    },
  };
}

test("in time: what is due is done at once, and nothing is said about the time", () => {
  const { said, pass, timerComes, timerAt } = bench(400);
  expect(timerAt).toBe(400);
  pass(420);
  timerComes();
  expect(said).toEqual(["timeout"]);
});

test("a little late: what waits is read first, as long as something comes", () => {
  const { said, pass, timerComes, comes, read } = bench(400);
  pass(700);
  timerComes();
  expect(said).toEqual([]);
  comes("datagram");
  read();
  comes("delivered");
  read();
  expect(said).toEqual(["datagram", "delivered"]);
  read();
  expect(said).toEqual(["datagram", "delivered", "timeout"]);
});

test("very late: the core is told before anything else, and for how long; then what waits is read", () => {
  const { said, pass, timerComes, comes, read, timerAt } = bench(400);
  pass(100);
  comes("datagram");
  pass(30_000);
  timerComes();
  comes("datagram");
  read();
  read();
  expect(said).toEqual(["datagram", "stood still 30000", "datagram", "timeout"]);
  expect(timerAt).toBe(400);
});

test("an input that comes before the timer: the same, once", () => {
  const { said, pass, timerComes, comes } = bench(400);
  pass(30_000);
  comes("datagram");
  comes("delivered");
  timerComes();
  expect(said).toEqual(["stood still 30000", "datagram", "delivered", "timeout"]);
});

test("nothing is due: it looks once a second, and a pause is noticed", () => {
  const watched = bench(undefined);
  for (let second = 1; second <= 5; second++) {
    expect(watched.timerAt).toBe(second * 1_000);
    watched.pass(1_000);
    expect(watched.timerComes()).toBe(true);
  }
  expect(watched.said).toEqual([]); // the core asked for nothing
  watched.pass(9_000);
  watched.timerComes();
  expect(watched.said).toEqual(["stood still 9000"]);
});

test("a deadline that was over when it was set is no pause", () => {
  const { said, pass, comes, timerComes, driver } = bench(undefined);
  pass(1_000);
  timerComes();
  const late = bench(-5_000);
  late.pass(20);
  late.timerComes();
  expect(late.said).toEqual(["timeout"]);
  comes("datagram");
  expect(said).toEqual(["datagram"]);
  driver.stop();
  comes("datagram");
  expect(timerComes()).toBe(false);
  expect(said).toHaveLength(1);
});

test("a flood puts off what is due for a fifth of a second at most", () => {
  const { said, pass, timerComes, comes, read } = bench(400);
  pass(500);
  timerComes();
  for (let i = 0; i < 100 && !said.includes("timeout"); i++) {
    pass(10);
    comes("datagram");
    read();
  }
  expect(said.filter((each) => each === "datagram")).toHaveLength(20);
});

test("stopped while what waits is read: nothing more is done", () => {
  const { said, pass, timerComes, read, driver } = bench(400);
  pass(600);
  timerComes();
  driver.stop();
  read();
  expect(said).toEqual([]);
});
