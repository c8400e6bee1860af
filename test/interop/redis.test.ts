/** The store at a redis-server: the suite of all stores, and what happens to commits when the server fails. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { lookAtStore } from "../../src/cli/doctor/machine.ts";
import { parseConfig } from "../../src/config/load.ts";
import type { Change } from "../../src/core/record.ts";
import { GatewayError } from "../../src/errors.ts";
import { encodeRecord } from "../../src/storage/encoding.ts";
import { keyOf } from "../../src/storage/keys.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import { commitScript } from "../../src/storage/redis-scripts.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { commit, queued, session, stored, storeSuite } from "../conformance/store-suite.ts";
import { connect, publish, register } from "../helpers/bench.ts";
import { freePorts } from "../helpers/ports.ts";
import type { RedisServer } from "../helpers/redis.ts";
import {
  closeServers,
  closeStores,
  errorOf,
  missing,
  names,
  opened,
  server,
  store,
  stores,
  works,
} from "../helpers/redis-stores.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

describe.skipIf(missing !== undefined)(
  `a store at redis-server${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let shared: RedisServer;
    beforeAll(async () => {
      shared = await server();
    });
    afterEach(closeStores);
    afterAll(closeServers);

    storeSuite("redis", () => {
      const prefix = randomUUID();
      return { fresh: () => store(shared, { prefix }), again: () => store(shared, { prefix }) };
    });

    test("all keys are on one node of a cluster, and nothing is left of what is deleted", async () => {
      const node = await server({ "cluster-enabled": "yes" });
      const client = node.client();
      await client.call("CLUSTER", ["ADDSLOTSRANGE", "0", "16383"]);
      await until("the cluster is there", async () =>
        /cluster_state:ok/.test(String(await client.call("CLUSTER", ["INFO"]))),
      );
      const there = await opened(node);
      const changes: Change[] = [
        session("a"),
        queued("a", 2 ** 40),
        { of: "known", clientId: "a", id: 0, record: {} },
        { of: "secure", clientId: "udp/a", id: 0, record: { state: Uint8Array.of(1) } },
      ];
      const publication = { topicName: "t", payload: Uint8Array.of(1), qos: 1, retain: false } as const;
      changes.push(
        { of: "backlog", clientId: "a", id: 7, record: { publication, at: 1 } },
        { of: "letter", clientId: "a", id: 9, record: { direction: "up", reason: "r", publication, at: 1 } },
      );
      await commit(there, ...changes);
      expect(await there.secure(undefined, 10)).toEqual([{ name: "udp/a", state: Uint8Array.of(1) }]);
      const keys = await client.keys("*");
      expect(keys.length).toBeGreaterThan(8);
      const slots = await Promise.all(keys.map((key) => client.call("CLUSTER", ["KEYSLOT", key])));
      expect(new Set(slots).size).toBe(1);
      await commit(there, ...changes.map((change) => ({ ...change, record: undefined }) as Change));
      expect(await client.keys("*")).toEqual(["{mqtt-sn-gateway}:meta"]);
      client.disconnect();
      await there.close();
      // Numbers that were in use are not used again.
      expect((await store(node).open()).highest).toEqual({ queued: 2 ** 40, letter: 9 });
    });

    test("the sum of a backlog stays right, whatever is written twice, replaced or deleted", async () => {
      const there = await opened(shared, { prefix: randomUUID() });
      const put = (id: number, size: number): Change => ({
        of: "backlog",
        clientId: "a",
        id,
        record: { publication: { topicName: "t", payload: new Uint8Array(size), qos: 1, retain: false }, at: 1 },
      });
      await commit(there, put(1, 10), put(2, 20), put(3, 30));
      await commit(there, put(2, 5), put(3, 30), { ...put(1, 0), record: undefined } as Change);
      expect((await there.load("a"))?.backlog).toEqual({ count: 2, octets: 1 + 5 + 1 + 30, first: 2, last: 3 });
      await commit(there, { ...put(3, 0), record: undefined } as Change, { ...put(9, 0), record: undefined } as Change);
      expect((await there.load("a"))?.backlog).toEqual({ count: 1, octets: 6, first: 2, last: 2 });
      await commit(there, { ...put(2, 0), record: undefined } as Change);
      expect(await there.load("a")).toBeUndefined();
    });

    test("scripts that the server has forgotten are given to it again", async () => {
      const there = await opened(shared, { prefix: randomUUID() });
      const client = shared.client();
      await client.script("FLUSH");
      await commit(there, session("a"));
      await client.script("FLUSH");
      expect(await names(there)).toEqual(["a"]);
      client.disconnect();
    });

    test("who opened it last has it: the other one's commits are refused, also with an epoch", async () => {
      const prefix = randomUUID();
      const first = await opened(shared, { prefix });
      await commit(first, session("a"));
      const second = await opened(shared, { prefix });
      const error = await errorOf(commit(first, session("late")));
      expect(error).toMatchObject({ code: "ERR_STORE_EPOCH" });
      expect(String(error)).toMatch(/another gateway has opened the store at redis:.*its own store.redis.prefix/);
      await commit(second, session("b"));
      expect(await names(second)).toEqual(["a", "b"]);
    });

    test("the script refuses an epoch that is older than another's, and writes what comes with a later one", async () => {
      const prefix = randomUUID();
      const there = await opened(shared, { prefix });
      const at = (epoch: number, ...changes: Change[]) =>
        new Promise<string>((done) => there.commit(changes, (error) => done(error?.code ?? "done"), { epoch }));
      expect(await at(1, session("a"))).toBe("done");
      const client = shared.client();
      await client.hset(`{${prefix}}:meta`, "epoch", "3");
      client.disconnect();
      const answers = [at(2, session("late")), at(3, session("b")), at(4, session("c"))];
      expect(await Promise.all(answers)).toEqual(["ERR_STORE_EPOCH", "done", "done"]);
      expect(await at(3, session("later"))).toBe("ERR_STORE_EPOCH");
      expect(await names(there)).toEqual(["a", "b", "c"]);
    });

    test("stopped for a while: commits fail, and nothing of an old connection is written over what is newer", async () => {
      const slow = await server();
      const there = await opened(slow);
      await commit(there, session("a", { sleepSeconds: 1 }));
      slow.signal("SIGSTOP");
      const error = await errorOf(commit(there, session("a", { sleepSeconds: 2 }), queued("a", 1)));
      expect(error).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(await errorOf(commit(there, session("a", { sleepSeconds: 3 })))).toMatchObject({
        code: "ERR_STORE_WRITE",
      });
      slow.signal("SIGCONT");
      await works(there);
      await commit(there, session("b"));
      const [a, b] = await stored(there);
      expect([a?.session.sleepSeconds, a?.queued.length, b?.session.clientId]).toEqual([3, 1, "b"]);
    });

    test("a commit that the server finds late, in a connection that was given up, is passed over", async () => {
      const prefix = randomUUID();
      const there = await opened(shared, { prefix });
      const late = session("a", { sleepSeconds: 1 });
      await commit(there, session("a", { sleepSeconds: 2 }));
      const client = shared.client();
      const meta = `{${prefix}}:meta`;
      const [run, number] = await client.hmget(meta, "life", "commit");
      const words = [run ?? "", 0, number ?? "", "", "", 0, 0, keyOf(late), Buffer.from(encodeRecord(late, 1)), ""];
      expect(await client.eval(commitScript.text, 1, meta, ...words)).toEqual(["overtaken"]);
      client.disconnect();
      expect((await stored(there))[0]?.session.sleepSeconds).toBe(2);
    });

    test("gone and back with all it had: what failed meanwhile is brought", async () => {
      const mortal = await server({ appendfsync: "always" });
      const there = await opened(mortal);
      await commit(there, session("a"));
      await mortal.end("SIGKILL");
      const error = await errorOf(commit(there, session("b")));
      expect(error).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(await errorOf(there.load("a"))).toMatchObject({ code: "ERR_STORE_OPEN" });
      await mortal.start();
      await works(there);
      expect(await names(there)).toEqual(["a", "b"]);
    });

    test("killed with -9 under load, appendfsync always: nothing that was acknowledged is lost", async () => {
      const mortal = await server({ appendfsync: "always" });
      const there = await opened(mortal);
      const acknowledged: number[] = [];
      let next = 0;
      await commit(there, session("k"));
      for (let round = 1; round <= 3; round++) {
        let isRunning = true;
        const writers = Array.from({ length: 8 }, async () => {
          while (isRunning) {
            const id = ++next;
            if ((await errorOf(commit(there, queued("k", id)))) === undefined) acknowledged.push(id);
            else await new Promise((done) => setTimeout(done, 5));
          }
        });
        const before = acknowledged.length;
        await until("300 commits more", async () => acknowledged.length > before + 300);
        await mortal.end("SIGKILL");
        isRunning = false;
        await Promise.all(writers);
        await mortal.start();
        // As another run would find it: nothing is brought by this one before.
        const found = new Set<number>();
        const client = mortal.client();
        for (const field of await client.hkeys("{mqtt-sn-gateway}:c:k"))
          if (field.startsWith("q")) found.add(Number.parseInt(field.slice(1), 16));
        client.disconnect();
        expect(acknowledged.filter((id) => !found.has(id))).toEqual([]);
        await works(there);
      }
      // The changes that failed are there as well by now.
      expect((await there.load("k"))?.queued).toHaveLength(next);
    });

    test.each([
      ["older data", /came back with older data \(commit \d+\)/],
      ["nothing", /came back empty/],
      ["a log whose end is missing", /came back with older data \(commit \d+\)/],
    ])("back with %s: refused, said in plain words, and well again with the newer data", async (what, words) => {
      const mortal = await server({ appendfsync: what.startsWith("a log") ? "everysec" : "always" });
      const there = await opened(mortal);
      await commit(there, session("a"));
      const older = mortal.copyData();
      await commit(there, session("b"));
      await mortal.end();
      const newer = mortal.copyData();
      if (what === "nothing") mortal.dropData();
      else if (what !== "older data") mortal.cutLog(5);
      else older();
      await mortal.start();
      await until("it is said", async () => words.test(String(await errorOf(commit(there, session("c"))))));
      const error = await errorOf(commit(there, session("d")));
      expect(error).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(String(error)).toMatch(
        /The gateway overwrites nothing. Restore the newer data, or start the gateway again/,
      );
      expect(await errorOf(there.load("a"))).toMatchObject({ code: "ERR_STORE_OPEN" });
      const client = mortal.client();
      expect(await client.zrange("{mqtt-sn-gateway}:clients", "0", "-1")).toEqual(what === "nothing" ? [] : ["a"]);
      client.disconnect();
      await mortal.end();
      newer();
      await mortal.start();
      await works(there);
      expect(await names(there)).toEqual(["a", "b", "c", "d"]);
    });

    test("encryption of devices is not taken up from a server that was started again", async () => {
      const mortal = await server({ appendfsync: "always" });
      const secure: Change = { of: "secure", clientId: "udp/a", id: 0, record: { state: Uint8Array.of(7) } };
      const first = await opened(mortal);
      await commit(first, secure, session("a"));
      await first.close();
      const second = await opened(mortal);
      expect(await second.secure(undefined, 10)).toHaveLength(1);
      await second.close();
      await mortal.end();
      await mortal.start();
      const third = await opened(mortal);
      expect(await third.secure(undefined, 10)).toEqual([]);
      expect(await names(third)).toEqual(["a"]);
    });

    test("waitReplicas: acknowledged when the replica has it, and then the replica can take over", async () => {
      const primary = await server();
      const replica = await server({ replicaof: `127.0.0.1 ${primary.port}`, "repl-diskless-sync-delay": "0" });
      const client = replica.client();
      await until("the replica is there", async () => /master_link_status:up/.test(await client.info("replication")));
      const wait = { waitReplicas: 1, waitMilliseconds: 300 };
      const there = await opened(primary, wait);
      await commit(there, session("a"));
      expect(String(await errorOf(store(replica).open()))).toMatch(/it is a replica, and accepts no writes/);
      replica.signal("SIGSTOP");
      const error = await errorOf(commit(there, session("b")));
      expect(error).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(String(error)).toMatch(/0 of 1 replicas had the commit within 300 ms/);
      replica.signal("SIGCONT");
      await works(there);
      let id = 0;
      for (; id < 100; id++) await commit(there, queued("a", id + 1));
      await primary.end("SIGKILL");
      await client.replicaof("NO", "ONE");
      client.disconnect();
      const later = await opened(replica);
      expect((await stored(later)).map(({ session: { clientId }, queued: q }) => [clientId, q.length])).toEqual([
        ["a", 100],
        ["b", 0],
      ]);
    });

    test("a password that is wrong is said without it; a server that is not there is waited for", async () => {
      const guarded = await server({ requirepass: "barn-secret" });
      const { redis } = storeOptions.parse({ kind: "redis", redis: { url: guarded.url } });
      const wrong = await errorOf(new RedisStore(redis, () => "wrong-secret").open());
      expect(wrong).toMatchObject({ code: "ERR_STORE_OPEN", details: { ailment: "rights" } });
      expect(String(wrong)).toMatch(/WRONGPASS/);
      expect(JSON.stringify([wrong, String(wrong)])).not.toContain("secret");
      const right = new RedisStore(redis, () => "barn-secret");
      stores.push(right);
      expect((await right.open()).notices).toEqual([]);
      await guarded.end();
      const away = await errorOf(store(guarded).open());
      expect(away).toMatchObject({ code: "ERR_STORE_OPEN", details: { ailment: "disk" } });
      expect(String(away)).toMatch(/ECONNREFUSED/);
    });

    test("a server that may throw keys away is refused; one without a log is spoken of", async () => {
      const forgetful = await server({ maxmemory: "50mb", "maxmemory-policy": "allkeys-lru" });
      const error = await errorOf(store(forgetful).open());
      expect(error).toBeInstanceOf(GatewayError);
      expect(String(error)).toMatch(/removes keys when its memory is full \(maxmemory-policy allkeys-lru\)/);
      const client = forgetful.client();
      await client.config("SET", "maxmemory-policy", "noeviction");
      await client.config("SET", "appendonly", "no");
      expect((await store(forgetful).open()).notices).toEqual([expect.stringMatching(/no append-only file/)]);
      // Full: the commit fails as a whole, and comes when there is room.
      const there = await opened(forgetful);
      await client.config("SET", "maxmemory", "1");
      expect(String(await errorOf(commit(there, session("a"))))).toMatch(/OOM/);
      await client.config("SET", "maxmemory", "0");
      await works(there);
      expect(await names(there)).toEqual(["a"]);
      client.disconnect();
    });

    test("doctor: a server that is there, and what its settings are worth", async () => {
      const looked = async (url: string, redis: object = {}) => {
        const found = await lookAtStore(parseConfig({ store: { kind: "redis", redis: { url, ...redis } } }));
        return found.map(({ is, what }) => `${is}: ${what}`);
      };
      expect(await looked(shared.url)).toEqual([`ok: ${shared.url} answers`]);
      const careless = await server({ appendonly: "no", "maxmemory-policy": "allkeys-lru", maxmemory: "100mb" });
      expect(await looked(careless.url)).toEqual([
        `ok: ${careless.url} answers`,
        expect.stringMatching(/^doubtful: .*no append-only file/),
        expect.stringMatching(/^wrong: .*removes keys/),
      ]);
      const closed = await server({ requirepass: "correct" });
      expect((await looked(closed.url)).join()).toMatch(/^wrong: .*NOAUTH/);
    });

    test("a gateway: what it stored for the broker outlives kill -9 of itself, and the password is nowhere to be seen", async () => {
      const guarded = await server({ requirepass: "barn-secret", appendfsync: "always" });
      const folder = mkdtempSync(join(tmpdir(), "redis-gateway-"));
      const [udp = 0, broker = 0] = await freePorts(2);
      writeFileSync(join(folder, "password"), "barn-secret\n", { mode: 0o600 });
      const config = {
        transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
        // There is no broker: publications are stored.
        upstream: { url: `mqtt://127.0.0.1:${broker}`, mode: "aggregating" },
        store: { kind: "redis", redis: { url: guarded.url, password: { file: "password" } } },
        api: { enabled: false },
      };
      writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(config));
      let text = "";
      const run = (...words: string[]) => {
        const child = spawn(process.execPath, [main, ...words], { cwd: folder });
        for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
        return { child, ended: new Promise((done) => child.once("exit", done)) };
      };
      const device = createSocket("udp4");
      let first: ReturnType<typeof run> | undefined;
      let second: ReturnType<typeof run> | undefined;
      try {
        await run("check").ended;
        expect(text).not.toMatch(/rror/);
        first = run("start");
        await until("the gateway is ready", () => text.includes("ready"));
        const got: Message[] = [];
        device.on("message", (bytes) => {
          const decoded = decode(bytes);
          if (decoded.ok) got.push(decoded.message);
        });
        const say = async (message: Message, answer: Message["type"]) => {
          device.send(encode(message), udp, "127.0.0.1");
          await until(`${answer} to ${message.type}`, () => got.some(({ type }) => type === answer));
        };
        await say(connect({ clientId: "sensor", cleanSession: false, duration: 600 }), "CONNACK");
        await say(register("a/b"), "REGACK");
        const topicId = got.flatMap((message) => (message.type === "REGACK" ? [message.topicId] : []))[0] ?? 0;
        await say(publish({ topicId, msgId: 7 }), "PUBACK");
        expect(got.at(-1)).toMatchObject({ type: "PUBACK", returnCode: 0 });
        first.child.kill("SIGKILL");
        await first.ended;
        text = "";
        second = run("start");
        await until("the session is back", () =>
          text.includes("1 sessions were restored, with 0 messages for devices and 1 for the broker"),
        );
        expect(text).not.toContain("secret");
      } finally {
        device.close();
        for (const each of [first, second]) each?.child.kill("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
      }
    });
  },
);
