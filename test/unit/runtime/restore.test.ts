/** A store is handed to the core in slices, and nothing else happens between them. */
import { expect, test } from "vitest";
import { GatewayCore } from "../../../src/core/gateway-core.ts";
import type { Input } from "../../../src/core/input.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import { restore } from "../../../src/runtime/restore.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { commit, queued, session } from "../../conformance/store-suite.ts";
import { testOptions } from "../../simulation/options.ts";

type Restored = Extract<Input, { kind: "restored" }>;

async function slicesOf(store: MemoryStore): Promise<{ slices: Restored[]; log: string[]; sums: unknown }> {
  const slices: Restored[] = [];
  const log: string[] = [];
  const sums = await restore(
    store,
    { queued: 7, letter: 8 },
    {
      handle: (input) => {
        expect(input.kind).toBe("restored");
        slices.push(input as Restored);
        log.push("slice");
      },
      hasTransport: (name) => name === "udp",
      pause: async () => {
        log.push("turn");
      },
    },
  );
  return { slices, log, sums };
}

test("in slices of bounded size, with a turn of the event loop after each; letters and known clients first", async () => {
  const store = new MemoryStore();
  for (let i = 0; i < 230; i++) await commit(store, session(`c${i}`), queued(`c${i}`, i + 1));
  const letter = { direction: "up", reason: "expired", publication: publicationOf(), at: 0 } as const;
  for (let id = 1; id <= 1_500; id++) await commit(store, { of: "letter", clientId: "x", id, record: letter });
  for (let i = 0; i < 1_001; i++) await commit(store, { of: "known", clientId: `k${i}`, id: 0, record: {} });
  const { slices, log, sums } = await slicesOf(store);
  expect(slices[0]).toEqual({ kind: "restored", highest: { queued: 7, letter: 8 } });
  expect(slices.map(({ letters, known, states }) => [letters?.length, known?.length, states?.length])).toEqual([
    [undefined, undefined, undefined],
    ...[1_000, 500].map((count) => [count, undefined, undefined]),
    ...[1_000, 1].map((count) => [undefined, count, undefined]),
    ...Array.from({ length: 23 }, () => 10).map((count) => [undefined, undefined, count]),
  ]);
  expect(log.slice(1)).toEqual(slices.slice(1).flatMap(() => ["slice", "turn"]));
  expect(sums).toEqual({ sessions: 230, down: 230, up: 0 });
  const clients = slices.flatMap(({ states = [] }) => states.map(({ session: { clientId } }) => clientId));
  expect(new Set(clients).size).toBe(230);
});

test("the store is asked for the next sessions before the core has the last ones", async () => {
  const log: string[] = [];
  class Watched extends MemoryStore {
    override sessions(after: string | undefined, limit: number) {
      log.push("asked");
      return super.sessions(after, limit);
    }
  }
  const store = new Watched();
  for (let i = 0; i < 120; i++) await commit(store, session(`c${i}`));
  await restore(
    store,
    { queued: 0, letter: 0 },
    {
      handle: (input) => {
        if ("states" in input) log.push("handed over");
      },
      hasTransport: () => true,
      pause: async () => {},
    },
  );
  const handed = (count: number) => Array.from({ length: count }, () => "handed over");
  expect(log).toEqual(["asked", "asked", ...handed(5), "asked", ...handed(5), ...handed(2)]);
});

test("sessions that cannot be read end the start, also if the core is not ready with the last ones", async () => {
  let asked = 0;
  class Failing extends MemoryStore {
    override async sessions(after: string | undefined, limit: number) {
      if (++asked === 2) throw new Error("the store is gone");
      return super.sessions(after, limit);
    }
  }
  const store = new Failing();
  for (let i = 0; i < 120; i++) await commit(store, session(`c${i}`));
  let handed = 0;
  const restored = restore(
    store,
    { queued: 0, letter: 0 },
    {
      handle: (input) => {
        if ("states" in input) handed += input.states?.length ?? 0;
      },
      hasTransport: () => true,
      pause: () => new Promise((done) => setImmediate(done)),
    },
  );
  await expect(restored).rejects.toThrow("the store is gone");
  expect(handed).toBe(50);
});

test("a client of a transport that is gone is known by its id alone", async () => {
  const store = new MemoryStore();
  await commit(store, session("a"), session("b", { peer: "gone/192.0.2.1:1" }));
  const { slices } = await slicesOf(store);
  const peers = slices.flatMap(({ states = [] }) => states.map(({ session: { peer } }) => peer));
  expect(peers).toEqual(["udp/192.0.2.1:1", undefined]);
});

test("no deadline comes up before the driver is started, however long the slices take", () => {
  const wakeUps: number[] = [];
  const core = new GatewayCore(testOptions, {
    maxMessageBytes: () => 1_024,
    hostOf: (peer) => peer,
    identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
    wallClock: () => undefined,
    random: () => 0,
  });
  const opened: string[] = [];
  const driver = new Driver(
    core,
    {
      transports: new Map(),
      upstream: { open: ({ mqttClientId }: { mqttClientId: string }) => opened.push(mqttClientId) } as never,
      store: new MemoryStore(),
      report: () => {},
    },
    { now: () => 1_000_000, wakeAt: (at) => at !== undefined && wakeUps.push(at), afterReading: (call) => call() },
  );
  driver.handle({ kind: "restored", known: ["a"] });
  driver.handle({ kind: "restored", states: [] });
  expect([wakeUps, opened]).toEqual([[], []]);
  driver.start();
  expect(wakeUps).toHaveLength(1); // the gateway's own connection, shared or not, opens now
});

function publicationOf() {
  return { topicName: "t", payload: new Uint8Array(0), qos: 1 as const, retain: false };
}
