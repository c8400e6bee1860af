/** Why a connection ended, and pings of the core: over real TCP, against a broker that does what the test says. */
import { connect } from "node:net";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { ScriptedBroker } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { watchedLink } from "../helpers/watched-link.ts";
import { type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Of the tests that run: they run one after the other. */
let way: Way;

async function setUp(...of: Parameters<typeof watchedLink> extends [Way, ...infer Rest] ? Rest : never) {
  const link = await watchedLink(way, ...of);
  toClose.push(link.close);
  return link;
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

    test("of a pair, and not the active one any more: no further attempt to connect", async () => {
      let [isActive, asked] = [true, 0];
      const { broker, up, end } = await setUp(protocol, {}, {}, () => {
        asked++;
        return isActive;
      });
      await up();
      isActive = false;
      broker.last.socket.end();
      await end();
      const before = asked;
      await until("it would connect again", () => asked > before);
      isActive = true;
      // A client that connects after it arrives after it.
      const other = connect(broker.port, "127.0.0.1");
      toClose.push(async () => void other.destroy());
      await until("somebody has connected", () => broker.visits.length > 1);
      expect(broker.visits).toHaveLength(2);
      expect(broker.last.socket.remotePort).toBe(other.localPort);
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
      broker.last.say({ cmd: "pingresp" }); // a PINGRESP without a PINGREQ is not taken for an answer to a later one
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
});
