/** The answers of the shards' gateways become one answer of the process. */
import { describe, expect, test } from "vitest";
import { lookAtFleet } from "../../../src/cli/doctor/doctor.ts";
import { statusLines } from "../../../src/cli/status.ts";
import type { OutputOf } from "../../../src/runtime/commands.ts";
import {
  letterOf,
  mergedDepth,
  mergedLetters,
  mergedOverview,
  mergedTopics,
} from "../../../src/runtime/merged-answers.ts";

type Overview = OutputOf<"overview.show">;

const members = [
  { name: "barn", version: "1", place: "a:1", isDraining: false, secondsAgo: 0, sinceSeconds: 90, shards: 2 },
  { name: "silo", version: "1", place: "b:1", isDraining: false, secondsAgo: 0.5, sinceSeconds: 90, shards: 1 },
];
const fleet = {
  name: "barn",
  leaseSeconds: 3,
  shards: 3,
  trouble: "",
  members,
  owners: [
    { shard: 0, owner: "barn", epoch: 1, here: "serving" as const },
    { shard: 1, owner: "silo", epoch: 1 },
    { shard: 2, owner: "barn", epoch: 1, here: "serving" as const },
  ],
  counters: { claimed: { first: 2, drained: 0, ended: 0, silent: 0 }, handedOver: 0, lost: 0, failed: 0 },
};
const ofTheProcess = {
  version: "1.2.3",
  uptimeSeconds: 90,
  memoryBytes: 1,
  at: 5,
  fleet,
  frontDrops: [
    { reason: "no-owner", count: 4, meaning: "Nobody owns it." },
    { reason: "repeated", count: 0, meaning: "Twice." },
  ],
  knocks: 2,
  keepsWhenAway: true,
};

function shard(total: number, more: Partial<Overview> = {}): Overview {
  return {
    version: "1.2.3",
    at: 5,
    uptimeSeconds: 7,
    memoryBytes: 1,
    sessions: { total, active: total, asleep: 0, awake: 0, disconnected: 0, lost: 1, late: 0 },
    brokers: [broker(true, 10)],
    transports: [{ name: "udp", place: "0.0.0.0:1883" }],
    addresses: ["192.0.2.1"],
    waiting: { forClients: 1, forBroker: 2, deadLetters: 3 },
    storeKind: "redis",
    storeFails: false,
    dropped: [{ reason: "malformed", count: 2, meaning: "m", advice: "a" }],
    needs: [],
    ...more,
  };
}

function broker(isThere: boolean, octets: number, name = "") {
  return {
    name,
    url: "mqtt://b",
    isThere,
    why: isThere ? "" : "refused",
    octets: [{ date: "2026-11-29", in: octets, out: 1 }],
  };
}

describe("the overview", () => {
  test("sums what the shards count, and takes from the process what there is once", () => {
    const merged = mergedOverview([shard(3), shard(4)], ofTheProcess);
    expect(merged).toMatchObject({
      uptimeSeconds: 90,
      sessions: { total: 7, active: 7, lost: 2 },
      waiting: { forClients: 2, forBroker: 4, deadLetters: 6 },
      transports: [{ name: "udp", place: "0.0.0.0:1883" }],
      storeFails: false,
      brokers: [{ isThere: true, octets: [{ date: "2026-11-29", in: 20, out: 2 }] }],
    });
    expect(merged.dropped.map(({ reason, count }) => `${reason} ${count}`)).toEqual(["malformed 4", "no-owner 4"]);
    expect(merged.needs.map(({ says }) => says)).toEqual([
      "2 clients were not admitted.",
      "2 devices are lost.",
      "6 messages are dead letters.",
    ]);
  });

  test("a broker is there if every shard has its connection; a store fails if one does", () => {
    const away = shard(1, { brokers: [broker(false, 1), broker(true, 1, "other")], storeFails: true });
    const merged = mergedOverview([shard(1), away, shard(1)], ofTheProcess);
    expect(merged.brokers.map(({ name, isThere, why }) => [name, isThere, why])).toEqual([
      ["", false, "refused"],
      ["other", true, ""],
    ]);
    expect(merged.storeFails).toBe(true);
    expect(merged.needs.some(({ says }) => says.startsWith("The broker mqtt://b"))).toBe(true);
  });

  test("with no shard it is empty and valid; what is wrong with the fleet is a need", () => {
    const alone = {
      ...fleet,
      members: members.slice(0, 1),
      owners: [{ shard: 0, owner: "", epoch: 0 }],
      trouble: "no answer",
    };
    const merged = mergedOverview([], { ...ofTheProcess, fleet: alone, knocks: 0 });
    expect(merged.sessions).toEqual({ total: 0, active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0, late: 0 });
    const says = merged.needs.map((need) => need.says).join("\n");
    expect(says).toContain("no answer");
    expect(says).toContain("Shards without an owner: 1 of 1");
    expect(says).toContain("No other gateway of the fleet is there");
    const silent = { ...fleet, members: members.map((member) => ({ ...member, secondsAgo: 9 })) };
    const needs = mergedOverview([], { ...ofTheProcess, fleet: silent, knocks: 0 }).needs;
    expect(needs.map((need) => need.says)).toEqual(["The gateway silo is silent."]);
  });

  test("status says which shards the rest is about", () => {
    const lines = statusLines(mergedOverview([shard(3)], ofTheProcess));
    expect(lines[1]).toBe("fleet: barn serves 2 of 3 shards; others: silo (1); below: the shards of barn");
  });
});

describe("doctor", () => {
  const first = (is: Parameters<typeof lookAtFleet>[0]) => lookAtFleet(is).map((finding) => [finding.is, finding.what]);

  test("says who owns what, or that no gateway runs here", () => {
    expect(first(fleet)).toEqual([["ok", "barn owns 2 of 3 shards; the other gateways: silo"]]);
    expect(first(undefined)).toEqual([
      ["skipped", "the gateways of the fleet are known only while a gateway runs here"],
    ]);
  });

  test("finds a gateway that is alone or silent, shards without an owner, and a Redis that does not answer", () => {
    expect(first({ ...fleet, trouble: "no answer" })).toEqual([["wrong", "barn: no answer"]]);
    const alone = { ...fleet, members: members.slice(0, 1), owners: [{ shard: 0, owner: "", epoch: 0 }] };
    expect(first(alone)).toEqual([
      ["doubtful", "barn is the only gateway: when it ends, no gateway takes over"],
      ["doubtful", "shards without an owner: 1 of 3"],
    ]);
    const silent = { ...fleet, members: members.map((member) => ({ ...member, secondsAgo: 9 })) };
    expect(first(silent)).toEqual([["doubtful", "silo is silent for 9 s"]]);
  });
});

test("queues: sums, and the clients of all shards", () => {
  const depth = (clientId: string) => ({
    forBroker: { messages: 1, bytes: 10, clients: [{ clientId, messages: 1, bytes: 10, oldestAt: 0 }] },
    forClients: {
      messages: 2,
      bytes: 20,
      clients: [{ clientId, state: "asleep" as const, messages: 2, bytes: 20, dropped: 0 }],
    },
    deadLetters: 1,
    dropped: { malformed: 1 },
    storeFails: false,
  });
  const merged = mergedDepth([depth("a"), depth("b")]);
  expect(merged).toMatchObject({
    forBroker: { messages: 2, bytes: 20, clients: [{ clientId: "a" }, { clientId: "b" }] },
    forClients: { messages: 4, bytes: 40 },
    deadLetters: 2,
    dropped: { malformed: 2 },
  });
});

test("topics: one row for each, with the clients of all shards; some of them are named", () => {
  const some = Array.from({ length: 15 }, (_, i) => `c${i}`);
  const topics = { predefined: [], used: [{ name: "a", isFilter: false, clients: 15, some }], isCut: false };
  const merged = mergedTopics([topics, { ...topics, isCut: true }]);
  expect(merged).toMatchObject({ used: [{ name: "a", clients: 30 }], isCut: true });
  expect(merged.used[0]?.some).toHaveLength(20);
});

test("dead letters have numbers of their own over all shards, which lead back", () => {
  const letter = (id: number, at: number) => ({
    ...{ id, at, clientId: "c", direction: "up" as const, reason: "r", topic: "t" },
    ...{ qos: 1 as const, retain: false, bytes: 1 },
  });
  const all = mergedLetters(
    [
      [0, [letter(1, 30), letter(2, 10)]],
      [15, [letter(1, 20)]],
    ],
    16,
  );
  expect(all.map(({ id }) => id)).toEqual([32, 31, 16]);
  expect(all.map(({ id }) => letterOf(id, 16))).toEqual([
    { shard: 0, id: 2 },
    { shard: 15, id: 1 },
    { shard: 0, id: 1 },
  ]);
});
