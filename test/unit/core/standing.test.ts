import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Flags, isPossible, standingOf, standings } from "../../../src/core/state/standing.ts";

const states = ["active", "asleep", "awake", "disconnected", "lost"] as const;
const either = [false, true] as const;

/** Every combination of state and flags. */
const combinations: readonly Flags[] = states.flatMap((state) =>
  either.flatMap((pendingConnect) =>
    either.flatMap((willPending) =>
      either.flatMap((awaitsForwarding) =>
        either.flatMap((clean) =>
          either.map((brokerRefused) => ({
            state,
            pendingConnect: pendingConnect ? {} : undefined,
            willPending,
            awaitsForwarding,
            clean,
            brokerRefused,
          })),
        ),
      ),
    ),
  ),
);

const session = (flags: Partial<Flags>): Flags => ({
  state: "active",
  pendingConnect: undefined,
  willPending: false,
  awaitsForwarding: false,
  clean: false,
  brokerRefused: false,
  ...flags,
});

describe("how a session may stand [6.14]", () => {
  test("each way occurs, and of all 160 combinations 45 are one of them", () => {
    const found = combinations.map(standingOf).filter((name) => name !== undefined);
    expect(new Set(found)).toEqual(new Set(Object.keys(standings)));
    expect(found).toHaveLength(45);
  });

  test("no two ways fit the same session", () => {
    const names = Object.keys(standings) as (keyof typeof standings)[];
    for (const flags of combinations) {
      const fitting = names.filter((name) => {
        const { states, pendingConnect, willPending, awaitsForwarding, clean } = standings[name];
        const isIts = (states as readonly string[]).includes(flags.state);
        const isSame =
          pendingConnect === (flags.pendingConnect !== undefined) &&
          willPending === flags.willPending &&
          awaitsForwarding === flags.awaitsForwarding;
        return isIts && isSame && (clean === "either" || clean === flags.clean);
      });
      expect(fitting.length).toBeLessThan(2);
    }
  });

  test.each<[string, Partial<Flags>]>([
    ["a client that is there has no will on the way", { willPending: true }],
    ["nor has one that sleeps", { state: "asleep", willPending: true }],
    ["nor one that said goodbye", { state: "disconnected", willPending: true }],
    ["who connects again has none either", { state: "lost", willPending: true, pendingConnect: {} }],
    ["what is accepted from a client that is there is not waited for", { state: "awake", awaitsForwarding: true }],
    ["a clean session ends with its client", { state: "disconnected", clean: true }],
    ["also when that is lost", { state: "lost", clean: true }],
    ["while a CONNECT waits, the refusal is its answer", { pendingConnect: {}, brokerRefused: true }],
  ])("impossible: %s", (_why, flags) => {
    expect(isPossible(session(flags))).toBe(false);
  });

  test.each<[keyof typeof standings, Partial<Flags>]>([
    ["served", { brokerRefused: true }],
    ["servedAndConnecting", { state: "asleep", pendingConnect: {} }],
    ["kept", { state: "lost" }],
    ["keptAndConnecting", { state: "disconnected", pendingConnect: {} }],
    ["cleanAndConnecting", { state: "disconnected", pendingConnect: {}, clean: true }],
    ["awaitingForwarding", { state: "disconnected", awaitsForwarding: true, clean: true }],
    ["awaitingForwardingAndConnecting", { state: "lost", awaitsForwarding: true, pendingConnect: {} }],
    ["publishingWill", { state: "lost", willPending: true, clean: true }],
    ["awaitingForwardingThenWill", { state: "lost", willPending: true, awaitsForwarding: true }],
  ])("possible: %s", (name, flags) => {
    expect(standingOf(session(flags))).toBe(name);
  });
});

test("nobody sets or takes back a flag but those whom the theory in standing.ts names", () => {
  const core = new URL("../../../src/core/", import.meta.url);
  const files = readdirSync(core, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const writers = (flag: string) =>
    files.filter((name) => new RegExp(`\\.${flag} = `).test(readFileSync(new URL(name, core), "utf8"))).sort();
  expect(writers("pendingConnect")).toEqual(["session/pending-connects.ts"]);
  expect(writers("willPending")).toEqual(["inputs/restore.ts", "session/departure.ts", "session/will-delivery.ts"]);
  expect(writers("awaitsForwarding")).toEqual([
    "inputs/restore.ts",
    "session/connect-outcome.ts",
    "session/leave.ts",
    "session/will-delivery.ts",
  ]);
  expect(writers("brokerRefused")).toEqual(["broker/links.ts", "inputs/link.ts"]);
  expect(writers("clean")).toEqual(["session/connect-outcome.ts", "session/departure.ts", "state/session.ts"]);
});
