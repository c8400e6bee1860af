/** How far long work is: a bar on a terminal, else a line now and then; and logs that the journal and people can read. */
import { expect, test } from "vitest";
import { Progress } from "../../../src/cli/progress.ts";
import type { GatewayEvent } from "../../../src/core/event.ts";
import { ComingsAndGoings, namedMax } from "../../../src/observe/comings.ts";
import { goesToJournal, hasColors, withPriority } from "../../../src/observe/log.ts";

function place(isTerminal: boolean) {
  let now = 0;
  const said: string[] = [];
  return {
    said,
    later: (ms: number) => (now += ms),
    at: { isTerminal, now: () => now, write: (text: string) => said.push(text) },
  };
}

test("without a terminal: a line every five seconds, none of what is over at once", () => {
  const { said, later, at } = place(false);
  const progress = new Progress("restore", "records", at);
  progress.at(1, 100);
  later(4_999);
  progress.at(40, 100);
  expect(said).toEqual([]);
  later(1);
  progress.at(50, 100);
  later(6_000);
  progress.at(80);
  progress.end();
  expect(said).toEqual(["restore: 50 of 100 records (50 %) after 5 s\n", "restore: 80 records after 11 s\n"]);
});

test("on a terminal: a bar that goes when it is over", () => {
  const { said, later, at } = place(true);
  const progress = new Progress("replay", "datagrams", at);
  later(100);
  progress.at(1, 2);
  progress.end();
  expect(said).toEqual([`\rreplay [${"#".repeat(15)}${"-".repeat(15)}] 1 of 2 datagrams (50 %)\u001b[K`, "\r\u001b[K"]);
});

test("two thousand clients that come and go: a few lines, and one a minute with numbers", () => {
  const said: string[] = [];
  let endMinute = () => {};
  const comings = new ComingsAndGoings(
    (say) => said.push(say),
    (_ms, call) => {
      endMinute = call;
    },
  );
  const event = (state: "active" | "lost" | "asleep", i: number): GatewayEvent => ({
    event: "client_state",
    clientId: `c${i}`,
    state,
    peer: "udp/192.0.2.1:1",
    why: "",
  });
  let lines = 0;
  for (let i = 0; i < 2_000; i++)
    for (const state of ["active", "lost"] as const) if (comings.hasLine(event(state, i))) lines++;
  expect(lines).toBe(namedMax);
  expect(comings.hasLine(event("asleep", 0))).toBe(true); // it is at debug, and decided there
  endMinute();
  expect(said).toEqual([
    'clients in the last minute, besides the 20 above: 1990 connected, 1990 were lost (log.level "debug" names each)',
  ]);
  expect(comings.hasLine(event("active", 1))).toBe(true);
  endMinute();
  expect(said).toHaveLength(1);
});

test("the journal gets a priority with each line, where it reads that file itself", () => {
  expect(withPriority('{"level":50,"msg":"a"}\n')).toBe('<3>{"level":50,"msg":"a"}\n');
  expect(withPriority('{"level":40,"msg":"a"}\n')).toMatch(/^<4>/);
  expect(withPriority('{"level":20,"msg":"a"}\n')).toMatch(/^<7>/);
  expect(withPriority('{"level":30,"msg":"\u009b"}\n')).toBe('<6>{"level":30,"msg":"\\u009b"}\n');
  expect(goesToJournal(undefined, 1)).toBe(false);
  expect(goesToJournal("1:1", 1)).toBe(false);
  expect(hasColors({}, true)).toBe(true);
  expect(hasColors({ NO_COLOR: "1" }, true)).toBe(false);
  expect(hasColors({}, false)).toBe(false);
});
