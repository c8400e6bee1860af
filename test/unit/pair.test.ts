/** What a pair says of itself, and what is said of its configuration. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { lookAtPair } from "../../src/cli/doctor/doctor.ts";
import { fleetLines } from "../../src/cli/fleet.ts";
import { statusLines } from "../../src/cli/status.ts";
import { parseConfig } from "../../src/config/load.ts";
import { warningsOf } from "../../src/config/warnings.ts";
import { saysStandby } from "../../src/gateway-pair.ts";
import { addServiceMetrics } from "../../src/observe/service-metrics.ts";
import { needsOf } from "../../src/runtime/needs.ts";
import type { PairFacts } from "../../src/storage/lease.ts";
import { LeaseFile } from "../../src/storage/lease-memory.ts";
import { quietServiceSources } from "../helpers/metric-sources.ts";
import { threeForTwo } from "../helpers/waiting.ts";

const facts = (more: Partial<PairFacts> = {}): PairFacts => ({
  role: "standby",
  name: "barn-b",
  owner: "barn-a",
  epoch: 4,
  leaseSeconds: 3,
  leaseLeftSeconds: 2.4,
  sinceSeconds: 60,
  trouble: "",
  other: { name: "barn-a", version: "1.0.0", secondsAgo: 0.6 },
  handover: { from: "barn-b", cause: "drained", secondsAgo: 62.4 },
  ...more,
});

/** The same, as the active one sees it. */
const active = (more: Partial<PairFacts> = {}): PairFacts =>
  facts({ role: "active", name: "barn-a", other: { name: "barn-b", version: "1.0.0", secondsAgo: 0.4 }, ...more });

/** No other gateway is seen. */
function alone({ other: _, ...rest }: PairFacts): PairFacts {
  return rest;
}

const config = (more: object = {}) => ({
  upstream: { url: "mqtt://127.0.0.1:1884", will: { held: "gateway" } },
  store: { kind: "redis", pair: { enabled: true } },
  ...more,
});

test("a pair needs a store that both have, and a broker that outlives either", () => {
  expect(warningsOf(parseConfig(config()))).toEqual([]);
  expect(parseConfig(config()).store.pair).toEqual({ enabled: true, leaseSeconds: 3 });
  expect(() => parseConfig(config({ store: { pair: { enabled: true } } }))).toThrow();
  expect(() => parseConfig(config({ store: { kind: "redis", pair: { leaseSeconds: 0.5 } } }))).toThrow();
  expect(() => parseConfig(config({ tryOutBroker: true, upstream: { url: "mqtt://127.0.0.1:1884" } }))).toThrow();
});

test("what the other one cannot take over is warned of", () => {
  const radio = { transports: [{ type: "udp" }, { type: "ble", name: "radio" }] };
  expect(warningsOf(parseConfig(config(radio)))).toEqual([expect.stringMatching(/"radio" is a ble transport/)]);
  const held = { upstream: { url: "mqtt://127.0.0.1:1884" } };
  expect(warningsOf(parseConfig(config(held)))).toEqual([
    expect.stringMatching(/upstream.will.held: "broker" publishes the wills of living devices/),
  ]);
  expect(warningsOf(parseConfig(config({ upstream: { ...held.upstream, mode: "aggregating" } })))).toEqual([]);
});

test("whoever stands by says who is active", () => {
  expect(saysStandby(undefined)).toBeUndefined();
  expect(saysStandby(facts({ role: "active" }))).toBeUndefined();
  expect(saysStandby(facts())).toBe("this gateway (barn-b) stands by: barn-a is active and has the sessions; ask it");
  expect(saysStandby(facts({ owner: "" }))).toMatch(/no gateway is active/);
  expect(saysStandby(facts({ role: "ended" }))).toMatch(/is not active any more, and ends/);
});

test("doctor: who is active, and what is wrong with the lease", () => {
  expect(lookAtPair(undefined)).toMatchObject({ is: "skipped" });
  expect(lookAtPair(facts())).toMatchObject({ is: "ok", what: "barn-b stands by; barn-a is active, epoch 4" });
  expect(lookAtPair(active())).toMatchObject({ is: "ok", what: "barn-a is active, epoch 4; barn-b stands by" });
  expect(lookAtPair(alone(active()))).toMatchObject({
    is: "doubtful",
    what: "barn-a is active, epoch 4, and no gateway stands by: when it ends, no gateway takes over",
  });
  expect(lookAtPair(facts({ name: "barn-a" }))).toMatchObject({
    is: "doubtful",
    what: "both are called barn-a, so logs and metrics mix them up",
  });
  expect(lookAtPair(facts({ owner: "" }))).toMatchObject({ is: "doubtful" });
  expect(lookAtPair(facts({ trouble: "no answer" }))).toMatchObject({
    is: "wrong",
    what: "barn-b (standby): no answer",
  });
});

test("metrics: absent for whoever is alone", async () => {
  const text = async (pair?: PairFacts) => {
    const registry = new Registry();
    addServiceMetrics(registry, { ...quietServiceSources(), pair: () => pair });
    return (await registry.metrics()).split("\n").filter((line) => line.startsWith("mqttsn_pair"));
  };
  expect(await text()).toEqual([]);
  expect(await text(facts({ trouble: "no answer" }))).toEqual([
    'mqttsn_pair_active{name="barn-b",owner="barn-a"} 0',
    'mqttsn_pair_epoch{name="barn-b",owner="barn-a"} 4',
    'mqttsn_pair_trouble{name="barn-b",owner="barn-a"} 1',
    'mqttsn_pair_other_seen{name="barn-b",owner="barn-a"} 1',
    'mqttsn_pair_lease_left_seconds{name="barn-b",owner="barn-a"} 2.4',
    'mqttsn_pair_handover_seconds{name="barn-b",owner="barn-a",cause="drained"} 62.4',
  ]);
  const { handover: _, ...unknown } = alone(active());
  expect(await text(unknown)).toContain('mqttsn_pair_other_seen{name="barn-a",owner="barn-a"} 0');
  expect((await text(unknown)).join("\n")).not.toMatch(/handover/);
});

test("needs and status: of one that stands by nothing is said of brokers, only what keeps it from taking over", async () => {
  const quiet = {
    brokers: [],
    transports: [],
    storeFails: false,
    keepsWhenAway: true,
    owedToBroker: 0,
    deadLetters: 0,
    late: 0,
    lost: 0,
    knocks: 0,
    clockIsTrusted: true,
    isRestoring: false,
  };
  expect(needsOf({ ...quiet, pair: facts() })).toEqual([]);
  expect(needsOf({ ...quiet, isRestoring: true, pair: active() })).toMatchObject([
    { level: "note", says: expect.stringMatching(/sessions of the last run are still being read/) },
  ]);
  expect(needsOf({ ...quiet, pair: facts({ trouble: "no answer" }) })).toMatchObject([
    { level: "bad", says: "This gateway is the standby, and it cannot take over. no answer" },
  ]);
  expect(needsOf({ ...quiet, pair: active() })).toEqual([]);
  expect(needsOf({ ...quiet, pair: alone(active({ sinceSeconds: 29 })) })).toEqual([]);
  expect(needsOf({ ...quiet, pair: alone(active()) })).toMatchObject([
    { level: "warn", says: "There is no standby: when this gateway ends, no other one takes over." },
  ]);
  const { operator } = threeForTwo();
  const overview = await operator.overview(true);
  const lines = (pair: PairFacts | undefined) => statusLines({ ...overview, needs: [], ...(pair && { pair }) });
  expect(lines(undefined).join("\n")).not.toMatch(/pair/);
  expect(lines(facts()).slice(1)).toEqual(["pair: barn-b stands by, barn-a is active, epoch 4, since 60 s"]);
  expect(lines(active()).slice(1, 3)).toEqual([
    "pair: barn-a is active, barn-b stands by, epoch 4, since 60 s",
    expect.stringMatching(/^sessions: /),
  ]);
  expect(lines(alone(active()))[1]).toBe("pair: barn-a is active, no gateway stands by, epoch 4, since 60 s");
});

test("fleet status: a line for each of the two, the lease, and the last hand-over", () => {
  const lines = (pair: PairFacts) =>
    fleetLines({ ...pair, version: "1.0.1" }).flatMap((line) =>
      line.split("\n").map((each) => each.replace(/ {2,}/g, " | ")),
    );
  expect(lines(active())).toEqual([
    "gateway | role | version | seen | since",
    "barn-a (asked) | active | 1.0.1 | now | 60 s",
    "barn-b | stands by | 1.0.0 | 0.4 s ago",
    "lease: 3 s; if it is not renewed, this gateway gives up in 2.4 s",
    "epoch 4, 62 s ago from barn-b to barn-a: it was drained",
  ]);
  expect(lines(facts({ trouble: "no answer" })).slice(1)).toEqual([
    "barn-b (asked) | stands by | 1.0.1 | now | 60 s",
    "barn-a | active | 1.0.0 | 0.6 s ago",
    "lease: 3 s; if it is not renewed, this gateway takes over in 2.4 s",
    "epoch 4, 62 s ago from barn-b to barn-a: it was drained",
    "trouble: no answer",
  ]);
  expect(lines(alone(active())).slice(2, 3)).toEqual([
    "no gateway stands by: when this one ends, no gateway takes over",
  ]);
  const nobody = alone(facts({ owner: "", epoch: 0, leaseLeftSeconds: 0 }));
  expect(lines(nobody).slice(2)).toEqual(["no gateway is active", "lease: 3 s, no gateway has it"]);
});

test("the highest epoch outlives the process; a file that says nothing counts as none, and one that cannot be written is spoken of", () => {
  const folder = mkdtempSync(join(tmpdir(), "pair-epoch-"));
  const said: string[] = [];
  const open = (path = join(folder, "data", "pair-epoch")) => new LeaseFile(path, (say) => said.push(say));
  try {
    expect(open().highest()).toBe(0);
    open().keep(7);
    expect(open().highest()).toBe(7);
    expect(readFileSync(join(folder, "data", "pair-epoch"), "utf8")).toBe("7\n");
    writeFileSync(join(folder, "data", "pair-epoch"), "seven");
    expect(open().highest()).toBe(0);
    expect(said).toEqual([]);
    const nowhere = open(join(folder, "data", "pair-epoch", "below"));
    nowhere.keep(3);
    expect(nowhere.highest()).toBe(3);
    expect(said).toEqual([expect.stringMatching(/cannot be written/)]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
