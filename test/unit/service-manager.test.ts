/** The messages for systemd, and when they are sent. */
import { expect, test } from "vitest";
import { ServiceManager } from "../../src/observe/service-manager.ts";
import { ScriptedTimers } from "../helpers/scripted-central.ts";

function bench(environment: Record<string, string>) {
  const timers = new ScriptedTimers();
  const said: string[] = [];
  const warnings: string[] = [];
  const running: ((error: Error | null) => void)[] = [];
  const manager = new ServiceManager({
    environment,
    every: (ms, call) => timers.every(ms, call),
    run: (words, done) => {
      said.push(words.join(" "));
      running.push(done);
    },
    warn: (say) => warnings.push(say),
  });
  return { manager, timers, said, warnings, running };
}

test("without systemd nothing is said and nothing ticks", () => {
  const { manager, timers, said } = bench({ WATCHDOG_USEC: "60000000" });
  manager.ready("serving");
  manager.stopping();
  timers.pass(600_000);
  expect(said).toEqual([]);
  expect(timers.size).toBe(0);
});

test("ready once; the watchdog three times per period, one process at a time, until the end", () => {
  const { manager, timers, said, running } = bench({ NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "60000000" });
  manager.ready("serving");
  expect(said).toEqual(["READY=1 STATUS=serving"]);
  timers.pass(20_000);
  timers.pass(60_000); // the first one hangs
  expect(said.slice(1)).toEqual(["WATCHDOG=1"]);
  running[1]?.(null);
  timers.pass(20_000);
  expect(said.slice(1)).toEqual(["WATCHDOG=1", "WATCHDOG=1"]);
  manager.stopping();
  expect(said.at(-1)).toBe("STOPPING=1");
  manager.close();
  timers.pass(600_000);
  expect(said.length).toBe(4);
});

test("no watchdog in the unit: ready only", () => {
  const { manager, timers, said } = bench({ NOTIFY_SOCKET: "/run/x" });
  manager.ready("serving");
  timers.pass(600_000);
  expect(said).toEqual(["READY=1 STATUS=serving"]);
});

test("a systemd-notify that is not there is said once, and tried again", () => {
  const { manager, timers, said, warnings, running } = bench({ NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "3000000" });
  manager.ready("serving");
  running[0]?.(new Error("spawn systemd-notify ENOENT"));
  timers.pass(1_000);
  running[1]?.(new Error("spawn systemd-notify ENOENT"));
  timers.pass(1_000);
  expect(said.length).toBe(3);
  expect(warnings).toEqual(['systemd cannot be told "READY=1" (systemd-notify: spawn systemd-notify ENOENT)']);
});
