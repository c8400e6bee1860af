/** What a broker takes, as it says or as the configuration says: limits, subscriptions, wills. Over real TCP. */
import type { Packet } from "mqtt-packet";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { LinkRequest } from "../../src/core/effect.ts";
import type { BrokerLimits } from "../../src/core/types.ts";
import { connAck, ScriptedBroker, type ScriptedBrokerOptions } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";
import { upstreamBy, type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Of the tests that run: they run one after the other. */
let way: Way;

async function open(
  answer: NonNullable<ScriptedBrokerOptions["answer"]>,
  over: Record<string, unknown> = {},
  request: Partial<LinkRequest> = {},
) {
  const broker = await ScriptedBroker.start({ answer });
  toClose.push(() => broker.close());
  const upstream = upstreamBy(way, { url: broker.url, reconnect: { minSeconds: 600, maxSeconds: 600 }, ...over });
  toClose.push(() => upstream.shutdown(500));
  const seen: string[] = [];
  const limits: BrokerLimits[] = [];
  const told: string[] = [];
  await upstream.start(
    upstreamEvents({
      up: (_link, _present, said) => {
        limits.push(said);
        seen.push("up");
      },
      refused: (_link, _refusal, _reason, code) => seen.push(`refused ${code}`),
      down: () => seen.push("down"),
      notice: (_level, say) => told.push(say),
      acked: (_link, ack, packetId, code) => seen.push(`${ack} ${packetId} ${code}`),
    }),
  );
  const whose = {
    linkId: "l~1" as const,
    upstream: "",
    mqttClientId: "c",
    identity: "c",
    clean: true,
    will: undefined,
  };
  upstream.open({ ...whose, ...request });
  const sees = (what: string) => until(`${what} in ${seen.join(", ")}`, () => seen.includes(what));
  const connects = () =>
    broker.visits.flatMap(({ packets }) => packets.flatMap((packet) => (packet.cmd === "connect" ? [packet] : [])));
  return { broker, upstream, seen, sees, limits, told, connects };
}

describe.each(waysToConnect)("connected by $name", (each) => {
  beforeAll(() => {
    way = each;
  });

  const plain = () => undefined;
  const saying = (properties: object) => (packet: Packet) =>
    packet.cmd === "connect" ? [connAck(5, properties)] : undefined;

  describe("the limits at linkUp", () => {
    test("MQTT 3.1.1 says nothing: the usual ones, what is set, or what the preset sets; set by hand counts more", async () => {
      const of = async (over: Record<string, unknown>) => {
        const { sees, limits } = await open(plain, over);
        await sees("up");
        const { maximumQoS, retainAvailable, maximumPacketBytes, exactlyOnceMaximum } = limits[0] as BrokerLimits;
        return [maximumQoS, retainAvailable, maximumPacketBytes, exactlyOnceMaximum];
      };
      expect(await of({})).toEqual([2, true, undefined, 20]);
      expect(await of({ qosMax: 0, retain: false, packetBytesMax: 1_000, qos2InFlightMax: 3 })).toEqual([
        0,
        false,
        1_000,
        3,
      ]);
      expect(await of({ preset: "azure-event-grid" })).toEqual([1, false, 524_288, 20]);
      expect(await of({ preset: "azure-event-grid", retain: true, packetBytesMax: 2_000 })).toEqual([
        1,
        true,
        2_000,
        20,
      ]);
      expect(await of({ preset: "hivemq-cloud" })).toEqual([2, true, undefined, 10]);
    });

    test("MQTT 5: the least of what the broker says and what is set", async () => {
      const said = { maximumQoS: 1, maximumPacketSize: 500, receiveMaximum: 7 };
      const { sees, limits } = await open(saying(said), { protocol: "5", packetBytesMax: 300, retain: false });
      await sees("up");
      expect(limits[0]).toEqual({
        receiveMaximum: 7,
        maximumQoS: 1,
        retainAvailable: false,
        maximumPacketBytes: 300,
        wildcardAvailable: true,
        sharedAvailable: true,
        subscriptionIdsAvailable: true,
      });
    });

    test("MQTT 5: what it does not take in SUBSCRIBE", async () => {
      const said = {
        wildcardSubscriptionAvailable: false,
        sharedSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: false,
      };
      const { sees, limits } = await open(saying(said), { protocol: "5" });
      await sees("up");
      expect(limits[0]).toMatchObject({
        wildcardAvailable: false,
        sharedAvailable: false,
        subscriptionIdsAvailable: false,
      });
    });
  });

  describe("SUBSCRIBE again after a reconnect", () => {
    test("what this broker does not take is answered in its place, and never sent", async () => {
      const said = { wildcardSubscriptionAvailable: false, sharedSubscriptionAvailable: false, maximumPacketSize: 100 };
      const { broker, upstream, seen, sees } = await open(saying(said), { protocol: "5" });
      await sees("up");
      upstream.subscribe("l~1", 1, "a/#", 1);
      upstream.subscribe("l~1", 2, "$share/g/a", 1);
      upstream.subscribe("l~1", 3, "x".repeat(90), 1);
      upstream.unsubscribe("l~1", 4, "x".repeat(90));
      expect(seen.slice(1)).toEqual(["suback 1 162", "suback 2 158", "suback 3 149", "unsuback 4 17"]);
      upstream.subscribe("l~1", 5, "a", 1);
      await until("the one that is taken", () => broker.last.packets.length === 2);
      expect(broker.last.packets[1]).toMatchObject({ cmd: "subscribe", messageId: 5 });
    });

    test("it is asked for at the QoS that the broker takes", async () => {
      const { broker, upstream, sees } = await open(plain, { preset: "aws-iot" });
      await sees("up");
      upstream.subscribe("l~1", 1, "a", 2);
      await until("SUBSCRIBE", () => broker.last.packets.length === 2);
      expect(broker.last.packets[1]).toMatchObject({ subscriptions: [{ topic: "a", qos: 1 }] });
    });
  });

  describe("a will", () => {
    const will = { topicName: "s/gateway", payload: Buffer.from("offline"), qos: 2, retain: true } as const;
    const refusing =
      (reasonCode: number, while_: (will: { retain: boolean; qos: number }) => boolean) => (packet: Packet) => {
        if (packet.cmd !== "connect") return undefined;
        const { retain = false, qos = 0 } = packet.will ?? {};
        if (!while_({ retain, qos })) return undefined;
        return [{ cmd: "connack", sessionPresent: false, reasonCode } as Packet];
      };

    test("goes without its flag to a broker that is known to retain nothing, and the log says so once", async () => {
      const { sees, connects, told, upstream } = await open(plain, { retain: false, qosMax: 1 }, { will });
      await sees("up");
      expect(connects()[0]?.will).toMatchObject({ retain: false, qos: 1 });
      const whose = { linkId: "m~1" as const, upstream: "", mqttClientId: "d", identity: "d", clean: true, will };
      upstream.open(whose);
      await until("the second", () => connects().length === 2);
      expect(told).toHaveLength(1);
      expect(told[0]).toMatch(/no retained messages/);
    });

    test.each([
      ["0x9A: without its flag", 0x9a, ({ retain }: { retain: boolean }) => retain, { retain: false, qos: 2 }],
      ["0x9B: at a lower QoS", 0x9b, ({ qos }: { qos: number }) => qos > 0, { retain: true, qos: 0 }],
    ])("that MQTT 5 refuses with %s, at once and without a word to the core", async (_what, code, while_, taken) => {
      const { sees, seen, connects, broker, upstream } = await open(
        refusing(code, while_),
        { protocol: "5" },
        { will },
      );
      await sees("up");
      expect(seen).toEqual(["up"]);
      expect(connects().at(-1)?.will).toMatchObject(taken);
      const visits = broker.visits.length;
      const whose = { linkId: "m~1" as const, upstream: "", mqttClientId: "d", identity: "d", clean: true, will };
      upstream.open(whose); // the next one knows
      await until("the second", () => seen.filter((what) => what === "up").length === 2);
      expect(broker.visits).toHaveLength(visits + 1);
    });

    test("such a refusal is no reason to go to another broker of the list", async () => {
      const other = await ScriptedBroker.start();
      toClose.push(() => other.close());
      const first = await ScriptedBroker.start({ answer: refusing(0x9a, ({ retain }) => retain) });
      toClose.push(() => first.close());
      const { sees } = await open(plain, { protocol: "5", urls: [first.url, other.url], url: undefined }, { will });
      await sees("up");
      expect([first.visits.length, other.visits.length]).toEqual([2, 0]);
    });

    test("the same refusal without such a will is a refusal", async () => {
      const { sees } = await open(
        refusing(0x9a, () => true),
        { protocol: "5" },
        { will: { ...will, retain: false } },
      );
      await sees("refused 154");
    });
  });
});
