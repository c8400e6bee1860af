/** Links over real TCP: a list of brokers, a broker that sends too much, secrets that change. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Packet } from "mqtt-packet";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { LinkEnd } from "../../src/core/input.ts";
import { type UpstreamOptions, upstreamOptions } from "../../src/upstream/options.ts";
import { freePort } from "../helpers/ports.ts";
import { connAck, ScriptedBroker, type ScriptedBrokerOptions } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";
import { upstreamBy, type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Of the tests that run: they run one after the other. */
let way: Way;

async function broker(script: ScriptedBrokerOptions = {}): Promise<ScriptedBroker> {
  const started = await ScriptedBroker.start(script);
  toClose.push(() => started.close());
  return started;
}

async function open(over: Record<string, unknown>, clients = ["c"]) {
  const given = { reconnect: { minSeconds: 0.05, maxSeconds: 0.1 }, ...over };
  const options: UpstreamOptions = upstreamOptions.parse(given);
  const upstream = upstreamBy(way, given);
  toClose.push(() => upstream.shutdown(500));
  const seen: string[] = [];
  const ends: LinkEnd[] = [];
  const told: string[] = [];
  await upstream.start(
    upstreamEvents({
      up: (link, _present, _limits, elsewhere) =>
        seen.push(`up ${link.replace("~1", "")}${elsewhere ? " elsewhere" : ""}`),
      refused: (link) => seen.push(`refused ${link.replace("~1", "")}`),
      down: (link, end) => {
        seen.push(`down ${link.replace("~1", "")}`);
        ends.push(end);
      },
      notice: (_level, say) => told.push(say),
      delivered: (_link, { packetId }) => seen.push(`delivered ${packetId}`),
    }),
  );
  for (const clientId of clients) {
    const whose = { upstream: "", mqttClientId: clientId, identity: clientId, clean: false, will: undefined };
    upstream.open({ linkId: `${clientId}~1`, ...whose });
  }
  return { upstream, options, seen, ends, told };
}

/** CONNECT packets that came. */
const connects = ({ visits }: ScriptedBroker) =>
  visits.flatMap(({ packets }) => packets.filter((packet) => packet.cmd === "connect"));

describe.each(waysToConnect)("connected by $name", (each) => {
  beforeAll(() => {
    way = each;
  });

  describe("a list of brokers", () => {
    test("the next one is used while the first is away; when it is back, all go back in order", async () => {
      const port = await freePort();
      const second = await broker();
      const first = `mqtt://127.0.0.1:${port}`;
      const clients = ["a", "b", "c"];
      const { seen, ends, told } = await open({ urls: [first, second.url], returnSeconds: 1 }, clients);
      await until("all at the second", () => clients.every((id) => seen.includes(`up ${id}`)));
      const isBack = await broker({ port });
      await until("all at the first", () => clients.every((id) => seen.includes(`up ${id} elsewhere`)));
      expect(connects(isBack).map(({ clientId }) => clientId)).toHaveLength(3);
      const goodbyes = second.visits.flatMap(({ packets }) => packets.filter(({ cmd }) => cmd === "disconnect"));
      expect(goodbyes).toHaveLength(3);
      expect(ends.slice(-3).every(({ cause }) => cause === "ours")).toBe(true);
      expect(told[0]).toMatch(/cannot be used/);
      expect(told.at(-1)).toMatch(/^back at/);
    });

    test("a broker that says it is not available makes way too; one that refuses the password does not", async () => {
      const refusing = (returnCode: number) => ({
        answer: ({ cmd }: Packet) =>
          cmd === "connect" ? [{ cmd: "connack", sessionPresent: false, returnCode } as Packet] : undefined,
      });
      const unavailable = await broker(refusing(3));
      const good = await broker();
      const moved = await open({ urls: [unavailable.url, good.url] });
      await until("CONNACK of the second", () => moved.seen.includes("up c"));
      const strict = await broker(refusing(4));
      const other = await broker();
      const stays = await open({ urls: [strict.url, other.url] });
      await until("three refusals", () => stays.seen.filter((what) => what === "refused c").length === 3);
      expect(other.visits).toHaveLength(0);
    });
  });

  describe("a broker that sends more than receiveMaximum", () => {
    const deliver = (messageId: number, qos: 1 | 2): Packet =>
      ({ cmd: "publish", topic: "t", payload: "x", qos, messageId, retain: false, dup: false }) as Packet;

    test("MQTT 5: it hears 0x93, the connection ends, and nothing beyond is taken", async () => {
      const strict = await broker();
      const { upstream, seen, ends, told } = await open({ url: strict.url, protocol: "5", receiveMaximum: 3 });
      await until("CONNACK", () => seen.includes("up c"));
      const announced = connects(strict)[0]?.properties?.receiveMaximum;
      for (const id of [1, 2, 3]) strict.last.say(deliver(id, id === 2 ? 2 : 1));
      strict.last.say(deliver(2, 2)); // the same once more is no further one
      await until("three", () => seen.includes("delivered 3"));
      upstream.ack("c~1", "puback", 1);
      strict.last.say(deliver(4, 1));
      await until("the fourth", () => seen.includes("delivered 4"));
      const [visit] = strict.visits;
      for (const id of [5, 6, 7]) strict.last.say(deliver(id, 1));
      await until("its end", () => ends.length > 0);
      expect(ends[0]).toMatchObject({ cause: "ours", reasonCode: 0x93, showedLife: true });
      await until("DISCONNECT", () => visit?.packets.at(-1)?.cmd === "disconnect");
      expect(visit?.packets.at(-1)).toMatchObject({ reasonCode: 0x93 });
      expect(seen).not.toContain("delivered 5");
      expect(upstream.counters.receiveMaximumExceeded).toBe(1);
      expect(told).toHaveLength(1);
      expect(announced).toBe(3);
      await until("a new connection", () => strict.visits.length > 1);
    });

    test("MQTT 5, QoS 2: what has had PUBREC makes room, as mosquitto counts", async () => {
      const strange = await broker();
      const { upstream, seen, ends } = await open({ url: strange.url, protocol: "5", receiveMaximum: 3 });
      await until("CONNACK", () => seen.includes("up c"));
      for (const id of [1, 2, 3]) strange.last.say(deliver(id, 2));
      await until("three", () => seen.includes("delivered 3"));
      for (const id of [1, 2, 3]) upstream.ack("c~1", "pubrec", id);
      upstream.ack("c~1", "pubcomp", 1);
      for (const id of [4, 5, 6]) strange.last.say(deliver(id, 2));
      await until("three more", () => seen.includes("delivered 6"));
      expect(ends).toEqual([]);
      strange.last.say(deliver(7, 2));
      await until("its end", () => ends.length > 0);
      expect(ends[0]).toMatchObject({ cause: "ours", reasonCode: 0x93 });
      expect(seen).not.toContain("delivered 7");
    });

    test("MQTT 3.1.1 announces nothing: nothing is a violation", async () => {
      const generous = await broker();
      const { seen } = await open({ url: generous.url, receiveMaximum: 1 });
      await until("CONNACK", () => seen.includes("up c"));
      for (const id of [1, 2, 3]) generous.last.say(deliver(id, 1));
      await until("all", () => seen.includes("delivered 3"));
    });
  });

  describe("secrets that change", () => {
    function folder(): string {
      const path = mkdtempSync(join(tmpdir(), "secrets-"));
      toClose.push(() => rmSync(path, { recursive: true }));
      return path;
    }

    const passwords = (from: ScriptedBroker) => connects(from).map(({ password }) => String(password));

    test("a password file that is replaced counts for the next connection; the one that stands stays", async () => {
      const file = join(folder(), "password");
      writeFileSync(file, "first\n");
      const one = await broker();
      const { seen, told } = await open({ url: one.url, username: "u", password: { file } });
      await until("CONNACK", () => seen.includes("up c"));
      writeFileSync(`${file}.new`, "second\n");
      renameSync(`${file}.new`, file);
      const cut = async () => {
        const before = one.visits.length;
        one.last.socket.end();
        await until("it comes again", () => connects(one).length > before);
      };
      // Files are looked at once a second at most.
      for (let i = 0; i < 100 && passwords(one).at(-1) === "first"; i++) await cut();
      expect(new Set(passwords(one))).toEqual(new Set(["first", "second"]));
      expect(told.join()).toMatch(/password changed: new connections/);
      expect(told.join()).not.toMatch(/second/);
    });

    test("SIGHUP reads at once; what cannot be read leaves all as it was", async () => {
      const file = join(folder(), "password");
      writeFileSync(file, "first");
      const one = await broker();
      const { upstream, options, seen } = await open({ url: one.url, username: "u", password: { file } });
      await until("CONNACK", () => seen.includes("up c"));
      expect(() => upstream.reload({ ...options, password: { file: `${file}-not` } })).toThrow(
        /cannot read the secret/,
      );
      one.last.socket.end();
      await until("it comes again", () => connects(one).length === 2);
      upstream.reload({ ...options, username: "v", credentials: [] });
      writeFileSync(file, "second");
      upstream.reload(options);
      one.last.socket.end();
      await until("it comes again", () => connects(one).length === 3);
      expect(passwords(one)).toEqual(["first", "first", "second"]);
    });

    test("a command is asked, again when the broker refuses what it said, and its failure is a failed attempt", async () => {
      const file = join(folder(), "count");
      writeFileSync(file, "0");
      const script = `const fs = require("fs"); const n = Number(fs.readFileSync(process.argv[1])) + 1;
      fs.writeFileSync(process.argv[1], String(n)); if (n === 2) process.exit(7); console.log("token-" + n);`;
      const strict = await broker({
        answer: (packet) => {
          if (packet.cmd !== "connect") return undefined;
          const isGood = String(packet.password) !== "token-1";
          return isGood ? [connAck(4)] : [{ cmd: "connack", sessionPresent: false, returnCode: 4 } as Packet];
        },
      });
      const passwordCommand = [process.execPath, "-e", script, file];
      const { seen, ends } = await open({ url: strict.url, username: "u", passwordCommand });
      await until("a token that is good", () => seen.includes("up c"));
      expect(passwords(strict).at(0)).toBe("token-1");
      expect(passwords(strict).at(-1)).toBe("token-3");
      expect(ends.map(({ cause, reason }) => `${cause}: ${reason}`)).toEqual([
        "ours: the password command ended with code 7",
      ]);
    });
  });
});
