/** A store is handed to the core in slices, and nothing else happens between them. */
import { describe, expect, test } from "vitest";
import { GatewayCore } from "../../../src/core/gateway-core.ts";
import type { Input } from "../../../src/core/input.ts";
import type { Change } from "../../../src/core/record.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import { type RestoreTo, restore } from "../../../src/runtime/restore.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import type { Foremost } from "../../../src/storage/store.ts";
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

describe("clients are served while the rest is restored", () => {
  /** A store that notes what it is asked for, and in which reads can fail. */
  class Noting extends MemoryStore {
    readonly log: string[];
    /** Called before each read of sessions. It may throw. */
    before: (what: "load" | "sessions") => void = () => {};
    /** What it says instead of what it has. */
    says: { readonly foremost: Foremost | undefined } | undefined;

    constructor(log: string[]) {
      super();
      this.log = log;
    }

    override async foremost() {
      this.log.push("foremost?");
      return this.says ? this.says.foremost : super.foremost();
    }

    override async load(clientId: string) {
      this.before("load");
      return super.load(clientId);
    }

    override async sessions(after: string | undefined, limit: number) {
      this.log.push("sessions?");
      this.before("sessions");
      return super.sessions(after, limit);
    }
  }

  const uplink = (clientId: string): Change => ({
    of: "uplink",
    clientId,
    id: 1,
    record: { publication: publicationOf(), origin: undefined, stage: "open", isWill: false },
  });
  const numbered = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${prefix}${String(i).padStart(3, "0")}`);
  /** In the order of their names, the slices begin with others than the needed ones and the active ones. */
  const others = numbered("a", 60);
  const active = numbered("b", 60);
  const needed = ["\0/0", ...numbered("c", 60), "without a session"];

  /** What happens, in order: groups of clients that are handed over one after another are written as one word. */
  async function world(serve?: Partial<NonNullable<RestoreTo["serve"]>>) {
    const log: string[] = [];
    const handed: string[] = [];
    const store = new Noting(log);
    for (const name of others) await commit(store, session(name), queued(name, 1));
    for (const name of active) await commit(store, session(name, { state: "active" }));
    for (const name of needed) await commit(store, ...(name.startsWith("w") ? [] : [session(name)]));
    for (const name of needed.slice(1)) await commit(store, uplink(name));
    const to: RestoreTo = {
      handle: (input) => {
        const { states, goesOn, isComplete } = input as Restored & { goesOn?: boolean; isComplete?: boolean };
        if (isComplete) log.push(goesOn === true ? "complete" : "complete without goesOn");
        for (const {
          session: { clientId },
        } of states ?? []) {
          const group = needed.includes(clientId) ? "needed" : active.includes(clientId) ? "active" : "others";
          handed.push(clientId);
          const word = goesOn === true ? `${group}, goes on` : group;
          if (log.at(-1) !== word) log.push(word);
        }
      },
      hasTransport: () => true,
      pause: () => new Promise((done) => setImmediate(done)),
      ...(serve && {
        serve: {
          isDue: () => false,
          begin: async () => void log.push("begin"),
          failed: async () => {
            throw new Error("no read should fail");
          },
          isOver: () => false,
          ...serve,
        },
      }),
    };
    const run = () => restore(store, { queued: 0, letter: 0 }, to);
    return { store, log, handed, run };
  }

  const each = (names: readonly string[]) => [...names].sort();
  const all = each([...others, ...active, ...needed]);
  /** The slices contain all sessions once more; the words in the log for them, in their order. */
  const slicesInLog = ["needed, goes on", "others, goes on", "active, goes on", "needed, goes on"];

  test("the needed ones come first, then those that were active, then all in slices, and then it is complete", async () => {
    const { log, handed, run } = await world({});
    const sums = await run();
    expect(handed.slice(0, needed.length).sort()).toEqual(each(needed));
    expect(handed.slice(needed.length, needed.length + active.length).sort()).toEqual(each(active));
    expect(handed.slice(needed.length + active.length)).toEqual(all);
    const words = log.filter((word) => word !== "sessions?");
    expect(words.slice(0, 3)).toEqual(["foremost?", "needed, goes on", "active, goes on"]);
    expect(words.filter((word, i) => i > 2 && word !== words[i - 1])).toEqual([...slicesInLog, "complete"]);
    expect(log.filter((word) => word === "complete")).toHaveLength(1);
    // Each session is counted once, however often it was handed over.
    expect(sums).toEqual({ sessions: all.length, down: others.length, up: needed.length - 1 });
  });

  test("the store is not asked for them and nothing goes on if clients are served only after the last session", async () => {
    const { log, handed, run } = await world();
    const sums = await run();
    expect(log.filter((word) => word.includes("?"))).toEqual(Array.from({ length: 4 }, () => "sessions?"));
    expect(log.join()).not.toMatch(/goes on|complete/);
    expect(handed).toEqual(all);
    expect(sums).toEqual({ sessions: all.length, down: others.length, up: needed.length - 1 });
  });

  test("a store that does not know them: all sessions are restored before any client is served", async () => {
    const { store, log, handed, run } = await world({ isDue: () => true });
    store.says = { foremost: undefined };
    await run();
    expect(log[0]).toBe("foremost?");
    expect(log.join()).not.toMatch(/begin|goes on|complete/);
    expect(handed).toEqual(all);
  });

  test("clients are served once, as soon as it is due, but not before all needed ones are handed over", async () => {
    const { log, handed, run } = await world({ isDue: () => true });
    await run();
    expect(log.slice(0, 4)).toEqual(["foremost?", "needed, goes on", "begin", "active, goes on"]);
    expect(log.filter((word) => word === "begin")).toHaveLength(1);
    expect(handed).toHaveLength(needed.length + active.length + all.length);
    expect(log.at(-1)).toBe("complete");
  });

  test("it may become due between two slices, or never", async () => {
    const never = await world({});
    await never.run();
    expect(never.log).not.toContain("begin");
    let asked = 0;
    // Twice before the clients that were active; the third time is behind the first slice of all.
    const third = await world({ isDue: () => ++asked >= 3 });
    await third.run();
    const at = third.log.indexOf("begin");
    expect(third.log.slice(0, at).filter((word) => word === "sessions?")).toHaveLength(2);
    expect(third.log.filter((word) => word === "begin")).toHaveLength(1);
    expect(asked).toBe(3);
  });

  test("nothing is restored until the gateway has begun to serve", async () => {
    let began: () => void = () => {};
    const { log, handed, run } = await world({
      isDue: () => true,
      begin: () =>
        new Promise((resolve) => {
          began = resolve;
        }),
    });
    const running = run();
    for (let i = 0; i < 100; i++) await new Promise((done) => setImmediate(done));
    expect(handed).toHaveLength(needed.length);
    began();
    await running;
    expect(log.at(-1)).toBe("complete");
  });

  test.each(["load", "sessions"] as const)(
    "%s fails while clients are served: it is read again until it succeeds",
    async (what) => {
      const errors: string[] = [];
      let serves = false;
      const { store, log, handed, run } = await world({
        isDue: () => true,
        begin: async () => {
          serves = true;
        },
        failed: async (error) => {
          errors.push(String(error));
          return errors.length > 10;
        },
      });
      let fails = 0;
      store.before = (read) => {
        if (serves && read === what && ++fails <= 3) throw new Error(`away ${fails}`);
      };
      const sums = await run();
      // Several clients are loaded at once, and the first error counts.
      expect(errors).toEqual(what === "load" ? ["Error: away 1"] : [1, 2, 3].map((number) => `Error: away ${number}`));
      expect(handed.slice(needed.length, needed.length + active.length).sort()).toEqual(each(active));
      expect(handed.slice(needed.length + active.length)).toEqual(all);
      expect(sums.sessions).toBe(all.length);
      expect(log.at(-1)).toBe("complete");
    },
  );

  test.each(["load", "sessions"] as const)(
    "%s fails while clients are served, and it is given up: nothing more is read, and it is not complete",
    async (what) => {
      let failed = 0;
      let serves = false;
      const { store, log, handed, run } = await world({
        isDue: () => true,
        begin: async () => {
          serves = true;
        },
        failed: async () => ++failed >= 2,
      });
      store.before = (read) => {
        if (serves && read === what) throw new Error("away");
      };
      await run();
      expect(failed).toBe(2);
      expect(log).not.toContain("complete");
      expect(log.filter((word) => word === "sessions?")).toHaveLength(what === "load" ? 0 : 2);
      expect(handed).toHaveLength(needed.length + (what === "load" ? 0 : active.length));
    },
  );

  test.each(["load", "sessions"] as const)("%s fails before clients are served: the start fails", async (what) => {
    const { store, log, run } = await world({});
    store.before = (read) => {
      if (read === what) throw new Error("away");
    };
    await expect(run()).rejects.toThrow("away");
    expect(log).not.toContain("complete");
  });

  test("a slice that fails to be read ahead, before clients are served, is read again when they are", async () => {
    let asked = 0;
    let failed = 0;
    const { store, log, handed, run } = await world({
      // The second slice is being read when the first one is handed over, and then clients are served.
      isDue: () => ++asked === 3,
      failed: async () => ++failed > 1,
    });
    let reads = 0;
    store.before = (read) => {
      if (read === "sessions" && ++reads === 2) throw new Error("away");
    };
    await run();
    expect(failed).toBe(1);
    expect(handed.slice(needed.length + active.length)).toEqual(all);
    expect(log.at(-1)).toBe("complete");
  });

  test.each([
    ["the clients that were active", 20],
    ["a slice", 75],
    ["the last slice", 235],
  ])(
    "the gateway ends in the middle of %s: what is read ahead is not handed over, and it is not complete",
    async (_what, after) => {
      let isOver = false;
      let count = 0;
      const { store, log, handed, run } = await world({ isDue: () => true, isOver: () => isOver });
      const load = store.load.bind(store);
      store.load = async (clientId) => load(clientId);
      const push = handed.push.bind(handed);
      handed.push = (...names) => {
        const length = push(...names);
        if (length - needed.length === after) isOver = true;
        count = length;
        return length;
      };
      await run();
      // The states that are handed over in one turn are at most ten.
      expect(count - needed.length).toBeLessThan(after + 10);
      expect(log).not.toContain("complete");
      const reads = log.filter((word) => word === "sessions?").length;
      for (let i = 0; i < 20; i++) await new Promise((done) => setImmediate(done));
      expect(log.filter((word) => word === "sessions?")).toHaveLength(reads);
      expect(handed).toHaveLength(count);
    },
  );

  test("the gateway ends while a read fails: it is not asked whether to read again", async () => {
    let isOver = false;
    const { store, log, handed, run } = await world({ isDue: () => true, isOver: () => isOver });
    store.before = (read) => {
      if (read !== "sessions") return;
      // When the read has failed, and not when it is asked for.
      queueMicrotask(() => {
        isOver = true;
      });
      throw new Error("closed");
    };
    await run();
    expect(handed).toHaveLength(needed.length + active.length);
    expect(log).not.toContain("complete");
  });
});

function publicationOf() {
  return { topicName: "t", payload: new Uint8Array(0), qos: 1 as const, retain: false };
}
