/** Links over real TCP against the recording broker, MQTT 3.1.1 and 5. */
import { createServer, type Socket } from "node:net";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { LinkRequest } from "../../src/core/effect.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamBy, type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Of the tests that run: they run one after the other. */
let way: Way;

const octets = (text: string) => new TextEncoder().encode(text);

async function setUp(protocol: "3.1.1" | "5", over: Record<string, unknown> = {}) {
  const broker = await RecordingBroker.start();
  toClose.push(() => broker.close());
  const upstream = upstreamBy(way, {
    url: broker.url,
    protocol,
    reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
    ...over,
  });
  toClose.push(() => upstream.shutdown(500));
  const seen: string[] = [];
  const events: UpstreamEvents = {
    up: (link, present) => seen.push(`up ${link} ${present}`),
    refused: (link) => seen.push(`refused ${link}`),
    down: (link) => seen.push(`down ${link}`),
    pong: (link) => seen.push(`pong ${link}`),
    congested: (link, congested) => seen.push(`congested ${link} ${congested}`),
    delivered: (_link, { publication, packetId, dup }) =>
      seen.push(`delivered ${publication.topicName} q${publication.qos} ${packetId} ${dup}`),
    released: (_link, packetId) => seen.push(`released ${packetId}`),
    acked: (_link, ack, packetId, code) => seen.push(`${ack} ${packetId} ${code}`),
  };
  await upstream.start(events);
  const request = (over: Partial<LinkRequest> = {}): LinkRequest => ({
    linkId: "l~1",
    upstream: "",
    mqttClientId: "c1",
    identity: "c1",
    clean: false,
    will: undefined,
    ...over,
  });
  const sees = (what: string) => until(`${what} in ${seen.join(", ")}`, () => seen.includes(what));
  return { broker, upstream, seen, sees, request };
}

describe.each(waysToConnect)("connected by $name", (each) => {
  beforeAll(() => {
    way = each;
  });

  describe.each(["3.1.1", "5"] as const)("MQTT %s", (protocol) => {
    test("MQTT.js sees no packet that carries a message, and nobody else answers one", async () => {
      const { broker, upstream, sees, request, seen } = await setUp(protocol);
      upstream.open(request());
      await sees("up l~1 false");
      upstream.subscribe("l~1", 1, "t", 2);
      await sees("suback 1 2");
      for (const qos of [1, 2] as const)
        broker.broker.publish({ topicName: "t", payload: octets(`q${qos}`), qos, retain: false });
      await until("both deliveries", () => seen.filter((line) => line.startsWith("delivered")).length === 2);
      // A PINGREQ and its answer: everything that was sent before is at the broker.
      upstream.publish("l~1", { topicName: "marker", payload: octets("m"), qos: 1, retain: false }, 9, false);
      await sees("puback 9 0");
      expect(broker.packets.map(({ packet }) => packet.cmd)).toEqual(["connect", "subscribe", "publish"]);
      const ids = seen.flatMap((line) => /^delivered t q(\d) (\d+)/.exec(line)?.slice(1).map(Number) ?? []);
      upstream.ack("l~1", "puback", ids[1] ?? 0);
      upstream.ack("l~1", "pubrec", ids[3] ?? 0);
      await sees(`released ${ids[3]}`);
      upstream.ack("l~1", "pubcomp", ids[3] ?? 0);
      await until("our acknowledgements", () => broker.packets.length === 6);
      expect(broker.packets.slice(3).map(({ packet }) => packet.cmd)).toEqual(["puback", "pubrec", "pubcomp"]);
    });

    test("a SUBSCRIBE says in MQTT 5 what is asked for: no retained messages, its identifier", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      upstream.open(request());
      await sees("up l~1 false");
      upstream.subscribe("l~1", 1, "plain", 1);
      upstream.subscribe("l~1", 2, "again", 1, { withoutRetained: true });
      upstream.subscribe("l~1", 3, "shared", 1, { subscriptionId: 77, withoutRetained: true });
      await sees("suback 3 1");
      const asked = broker.packets.flatMap(({ packet }) =>
        packet.cmd === "subscribe"
          ? [[packet.subscriptions[0]?.topic, packet.subscriptions[0]?.rh, packet.properties?.subscriptionIdentifier]]
          : [],
      );
      expect(asked.map((each) => each.map((part) => part ?? "-").join(" "))).toEqual(
        protocol === "5" ? ["plain 0 -", "again 2 -", "shared 2 77"] : ["plain - -", "again - -", "shared - -"],
      );
    });

    test("QoS 2 up goes step by step, by the packet id we gave", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      upstream.open(request());
      await sees("up l~1 false");
      upstream.publish("l~1", { topicName: "t", payload: octets("once"), qos: 2, retain: true }, 500, false);
      await sees("pubrec 500 0");
      upstream.publish("l~1", { topicName: "t", payload: octets("once"), qos: 2, retain: true }, 500, true);
      upstream.release("l~1", 500);
      await sees("pubcomp 500 0");
      expect(broker.saved.get("once")).toBe(1);
    });

    test("a cut connection comes back by itself, with the session", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      upstream.open(request());
      await sees("up l~1 false");
      broker.broker.cutAll();
      await sees("down l~1");
      await sees("up l~1 true");
    });

    test("a clean session is made new once; with MQTT 5 it outlives a cut, and ends with its DISCONNECT", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      upstream.open(request({ clean: true }));
      await sees("up l~1 false");
      broker.broker.cutAll();
      await sees("down l~1");
      if (protocol === "5") await sees("up l~1 true");
      else
        await until(
          "up again, anew",
          () => broker.packets.filter(({ packet }) => packet.cmd === "connect").length === 2,
        );
      if (protocol === "3.1.1") return;
      upstream.close("l~1", "disconnect", true);
      await until("its end", () => broker.packets.at(-1)?.packet.cmd === "disconnect");
      expect(broker.packets.at(-1)?.packet).toMatchObject({ properties: { sessionExpiryInterval: 0 } });
    });

    test("the will delay of MQTT 5 is in CONNECT, never beyond the expiry of the session", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol, { sessionExpirySeconds: 60 });
      upstream.open(request({ will: { topicName: "w", payload: octets("x"), qos: 0, retain: false } }));
      await sees("up l~1 false");
      const connect = broker.packets[0]?.packet;
      const delay = connect?.cmd === "connect" ? connect.will?.properties?.willDelayInterval : undefined;
      expect(delay).toBe(protocol === "5" ? 60 : undefined);
    });

    test("a broker that does not read: congested, QoS 0 dropped and counted, memory bounded; then it goes on", async () => {
      const sockets: Socket[] = [];
      const server = createServer((socket) => {
        sockets.push(socket);
        socket.once("data", () => {
          socket.pause();
          socket.write(protocol === "5" ? Buffer.from("2003000000", "hex") : Buffer.from("20020000", "hex"));
        });
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      toClose.push(async () => {
        for (const socket of sockets) socket.destroy();
        await new Promise<void>((done) => server.close(() => done()));
      });
      const address = server.address();
      const url = `mqtt://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
      const { upstream, sees, request, seen } = await setUp(protocol, { url, sendBufferBytesMax: 65_536 });
      upstream.open(request());
      await sees("up l~1 false");
      const payload = new Uint8Array(1_000);
      for (let i = 0; i < 20_000; i++) {
        upstream.publish("l~1", { topicName: "t", payload, qos: 0, retain: false }, 0, false);
        if (i % 100 === 0) await new Promise((done) => setImmediate(done));
      }
      expect(seen).toContain("congested l~1 true");
      expect(upstream.counters.droppedCongested).toBeGreaterThan(1_000);
      for (const socket of sockets) socket.resume();
      await sees("congested l~1 false");
    });

    test.each([
      ["a malformed packet", "3605000174000100"],
      ["a packet id of 0", "40020000"],
    ])("%s ends the connection: down, and it begins again", async (_what, octetsHex) => {
      const connAck = protocol === "5" ? "2003000000" : "20020000";
      const heard: Buffer[] = [];
      let connections = 0;
      const server = createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", () => socket.write(Buffer.from(connAck + (connections++ === 0 ? octetsHex : ""), "hex")));
        socket.on("data", (chunk) => heard.push(chunk));
      });
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const address = server.address();
      const url = `mqtt://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
      toClose.push(() => new Promise<void>((done) => server.close(() => done())));
      const { upstream, seen, request } = await setUp(protocol, { url });
      upstream.open(request());
      await until("up again", () => seen.filter((line) => line === "up l~1 false").length === 2);
      expect(seen).toEqual(["up l~1 false", "down l~1", "up l~1 false"]);
      const saysWhy = Buffer.concat(heard).includes(Buffer.from("e00281", "hex"));
      expect(saysWhy).toBe(protocol === "5");
    });

    test("disconnect keeps the will back, abandon lets it out", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      const will = { topicName: "w", payload: octets("gone"), qos: 0, retain: false } as const;
      upstream.open(request({ will }));
      await sees("up l~1 false");
      upstream.close("l~1", "disconnect", false);
      upstream.open(request({ linkId: "l~2", will }));
      await sees("up l~2 true");
      expect(broker.wills).toEqual([]);
      upstream.close("l~2", "abandon", false);
      await until("the will", () => broker.wills.length === 1);
    });

    test("what was written before the end arrives", async () => {
      const { broker, upstream, sees, request } = await setUp(protocol);
      upstream.open(request());
      await sees("up l~1 false");
      for (let i = 0; i < 100; i++)
        upstream.publish("l~1", { topicName: "t", payload: octets(`m${i}`), qos: 0, retain: false }, 0, false);
      upstream.close("l~1", "disconnect", false);
      await until("all messages", () => broker.saved.size === 100);
    });

    test("nobody answers: down, again and again, until closed", async () => {
      const { broker, upstream, seen, request } = await setUp(protocol);
      await broker.close();
      upstream.open(request());
      await until("two failures", () => seen.filter((line) => line === "down l~1").length >= 2);
      upstream.close("l~1", "disconnect", false);
      const before = seen.length;
      await upstream.shutdown(500);
      expect(seen.length).toBe(before);
    });
  });
});
