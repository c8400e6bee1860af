/** Why a connection ended, and pings of the core: over real TCP, against a broker that does what the test says. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { LinkEnd } from "../../src/core/input.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { connAck, ScriptedBroker, type ScriptedBrokerOptions } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamBy, type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Of the tests that run: they run one after the other. */
let way: Way;

async function setUp(protocol: "3.1.1" | "5", script: ScriptedBrokerOptions = {}, over: Record<string, unknown> = {}) {
  const broker = await ScriptedBroker.start(script);
  toClose.push(() => broker.close());
  const upstream = upstreamBy(way, {
    url: broker.url,
    protocol,
    reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
    ...over,
  });
  toClose.push(() => upstream.shutdown(500));
  const ends: LinkEnd[] = [];
  const seen: string[] = [];
  const events: UpstreamEvents = {
    up: () => seen.push("up"),
    refused: (_link, _refusal, _reason, reasonCode) => seen.push(`refused ${reasonCode}`),
    down: (_link, end) => ends.push(end),
    pong: () => seen.push("pong"),
    congested: () => {},
    delivered: (_link, { publication }) => seen.push(publication.topicName),
    released: () => {},
    acked: (_link, ack) => seen.push(ack),
  };
  await upstream.start(events);
  upstream.open({ linkId: "l~1", upstream: "", mqttClientId: "c", identity: "c", clean: true, will: undefined });
  const up = () => until("CONNACK", () => seen.includes("up"));
  const end = async () => {
    await until("its end", () => ends.length > 0);
    return ends[0] as LinkEnd;
  };
  return { broker, upstream, seen, up, end };
}

describe.each(waysToConnect)("connected by $name", (each) => {
  beforeAll(() => {
    way = each;
  });

  describe.each(["3.1.1", "5"] as const)("MQTT %s", (protocol) => {
    const version = protocol === "5" ? 5 : 4;

    test("the broker closes (FIN): peer", async () => {
      const { broker, up, end } = await setUp(protocol);
      await up();
      broker.last.socket.end();
      expect(await end()).toEqual({ reason: "connection closed", takenOver: false, cause: "peer", showedLife: false });
    });

    test("the broker closes without having read all (RST) after CONNACK: peer too", async () => {
      const { broker, up, end } = await setUp(protocol);
      await up();
      broker.last.socket.resetAndDestroy();
      expect(await end()).toMatchObject({ cause: "peer", showedLife: false });
    });

    test("the broker closes before CONNACK: peer", async () => {
      const { end } = await setUp(protocol, {
        answer: (_packet, { socket }) => {
          socket.end();
          return [];
        },
      });
      expect(await end()).toMatchObject({ cause: "peer", showedLife: false });
    });

    test.each([
      ["refused", { url: "mqtt://127.0.0.1:1" }],
      ["a name without an address", { url: "mqtt://no-such-broker.invalid" }],
      ["no TLS where TLS is expected", { tls: {} }],
    ])("it cannot be made (%s): network", async (_what, over) => {
      const broker = await ScriptedBroker.start({ answer: () => [] });
      toClose.push(() => broker.close());
      const url = broker.url.replace("mqtt:", "mqtts:");
      const { end } = await setUp(protocol, {}, { url, ...over });
      if ("tls" in over) {
        await until("a connection", () => broker.visits.length > 0);
        broker.last.socket.resetAndDestroy();
      }
      expect(await end()).toMatchObject({ cause: "network", showedLife: false });
    });

    test("nobody answers CONNECT: silent", async () => {
      const { end } = await setUp(protocol, { answer: () => [] }, { connectTimeoutSeconds: 1 });
      expect(await end()).toMatchObject({ cause: "silent", showedLife: false });
    });

    test("a packet that is none ends it: ours", async () => {
      const { broker, up, end } = await setUp(protocol);
      await up();
      broker.last.socket.write(Buffer.from("40020000", "hex"));
      const code = protocol === "5" ? { reasonCode: 0x81 } : {};
      expect(await end()).toMatchObject({ cause: "ours", showedLife: false, ...code });
    });

    test.each(["f000", "20020000"])("something that cannot be taken (%s) ends it: ours", async (hex) => {
      const { broker, up, end } = await setUp(protocol);
      await up();
      broker.last.socket.write(Buffer.from(hex, "hex"));
      expect(await end()).toMatchObject({ cause: "ours" });
    });

    test("an acknowledgement is a sign of life", async () => {
      const { broker, upstream, seen, up, end } = await setUp(protocol);
      await up();
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 1, retain: false }, 7, false);
      await until("PUBLISH", () => broker.last.packets.length === 2);
      broker.last.say({ cmd: "puback", messageId: 7 } as never);
      await until("PUBACK", () => seen.includes("puback"));
      broker.last.socket.end();
      expect(await end()).toMatchObject({ cause: "peer", showedLife: true });
    });

    test("a ping of the core goes out behind what was said before, and each is answered once", async () => {
      const { broker, upstream, seen, up, end } = await setUp(protocol);
      await up();
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 0, retain: false }, 0, false);
      upstream.ping("l~1");
      upstream.ping("l~1");
      await until("both answers", () => seen.filter((what) => what === "pong").length === 2);
      expect(broker.last.packets.map(({ cmd }) => cmd)).toEqual(["connect", "publish", "pingreq", "pingreq"]);
      broker.last.say({ cmd: "pingresp" }); // nobody asked: it is not taken for an answer to one of ours
      broker.last.say({ cmd: "publish", topic: "after", payload: "x", qos: 0, retain: false, dup: false });
      await until("what follows", () => seen.includes("after"));
      expect(seen.filter((what) => what === "pong")).toHaveLength(2);
      broker.last.socket.end();
      expect(await end()).toMatchObject({ cause: "peer", showedLife: true });
    });

    test("a refusal says its code, that of MQTT 5", async () => {
      const refusal = version === 5 ? { reasonCode: 0x87 } : { returnCode: 5 };
      const { seen } = await setUp(protocol, {
        answer: () => [{ cmd: "connack", sessionPresent: false, ...refusal } as never],
      });
      await until("the refusal", () => seen.includes("refused 135"));
    });
  });

  test("something is written and nothing comes any more: the broker is asked, and then it is silent", async () => {
    let isDeaf = false;
    const { broker, upstream, up, end } = await setUp("3.1.1", { answer: () => (isDeaf ? [] : undefined) });
    await up();
    isDeaf = true;
    upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 0, retain: false }, 0, false);
    expect(await end()).toMatchObject({ cause: "silent" });
    expect(broker.visits[0]?.packets.map(({ cmd }) => cmd)).toEqual(["connect", "publish", "pingreq"]);
  });

  test("a broker that answers nothing but the question is there", async () => {
    const { broker, upstream, seen, up } = await setUp("3.1.1");
    await up();
    const asked = () => broker.last.packets.filter(({ cmd }) => cmd === "pingreq").length;
    for (let i = 1; i <= 2; i++) {
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 1, retain: false }, i, false);
      await until("the question", () => asked() === i);
    }
    expect(broker.visits).toHaveLength(1);
    expect(seen).toEqual(["up"]); // the answer is nobody else's
  });

  test("nobody answers PINGREQ of the keep-alive, though pings of the core were answered before: silent", async () => {
    let pings = 0;
    const { upstream, seen, up, end } = await setUp(
      "3.1.1",
      { answer: ({ cmd }) => (cmd === "pingreq" && ++pings > 1 ? [] : undefined) },
      { keepAliveSeconds: 5 },
    );
    await up();
    upstream.ping("l~1");
    await until("its answer", () => seen.includes("pong"));
    expect(await end()).toMatchObject({ cause: "silent", showedLife: true });
    expect(pings).toBe(2);
  });

  test("MQTT 5: the broker's DISCONNECT says why, and is no sign of life", async () => {
    const { broker, up, end } = await setUp("5");
    await up();
    broker.last.say({ cmd: "disconnect", reasonCode: 0x95 } as never);
    broker.last.socket.end();
    expect(await end()).toEqual({
      reason: "broker said DISCONNECT (0x95)",
      takenOver: false,
      cause: "peer",
      reasonCode: 0x95,
      showedLife: false,
    });
  });

  test("MQTT 5: taken over is told apart", async () => {
    const { broker, up, end } = await setUp("5");
    await up();
    broker.last.say({ cmd: "disconnect", reasonCode: 0x8e } as never);
    broker.last.socket.end();
    expect(await end()).toMatchObject({ takenOver: true, cause: "peer", reasonCode: 0x8e });
  });

  test("answers to the keep-alive are its own, also with a ping of the core among them", async () => {
    const { broker, upstream, seen, up } = await setUp("5", {
      answer: ({ cmd }) => (cmd === "connect" ? [connAck(5, { serverKeepAlive: 1 })] : undefined),
    });
    await up();
    const pings = () => broker.last.packets.filter(({ cmd }) => cmd === "pingreq").length;
    await until("the first of the keep-alive", () => pings() === 1);
    upstream.ping("l~1");
    await until("two more of the keep-alive", () => pings() === 4);
    expect(seen).toEqual(["up", "pong"]);
    expect(broker.visits).toHaveLength(1);
  });
});
