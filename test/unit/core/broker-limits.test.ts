/** Packets that a broker does not accept are refused before they are sent: the broker could only close the connection. */
import { generate } from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { fitsPacket } from "../../../src/core/broker/limits.ts";
import { type BrokerLimits, noLimits } from "../../../src/core/types.ts";
import { Bench, connect, elsewhere, octets, publish, subscribe } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const notSupported = 0x03;

function withLimits(limits: Partial<BrokerLimits>, upstream: Partial<typeof testOptions.upstream> = {}): Bench {
  const bench = new Bench({ upstream: { ...testOptions.upstream, ...upstream } });
  bench.client(connect()).asks("openLink");
  bench
    .link()
    .up(false, { ...noLimits, ...limits })
    .gets("CONNACK");
  return bench;
}

describe("SUBSCRIBE [6.9]", () => {
  test.each([
    ["a wildcard", { wildcardAvailable: false }, "a/+/b", "a/b"],
    ["all below", { wildcardAvailable: false }, "a/#", "$share/g/a"],
    ["a shared subscription", { sharedAvailable: false }, "$share/g/a/b", "a/#"],
    ["a long filter", { maximumPacketBytes: 40 }, "x".repeat(25), "x".repeat(24)],
    ["two octets a letter", { maximumPacketBytes: 40 }, "\u00e4".repeat(13), "\u00e4".repeat(12)],
    ["four octets a sign", { maximumPacketBytes: 40 }, "\u{1f600}".repeat(7), "\u{1f600}".repeat(6)],
  ] as const)("%s that the broker does not take hears 0x03, another is asked for", (_what, limits, bad, good) => {
    const bench = withLimits(limits);
    const refused = bench.client(subscribe(bad)).asks().message("SUBACK");
    expect(refused.returnCode).toBe(notSupported);
    bench.client(subscribe(good, 1, 2)).asks("subscribe");
  });

  test("what counts is the filter at the broker, with its prefix", () => {
    const bench = withLimits({ maximumPacketBytes: 40 }, { topicPrefix: "site/" });
    expect(bench.client(subscribe("x".repeat(20))).message("SUBACK").returnCode).toBe(notSupported);
    bench.client(subscribe("x".repeat(19), 1, 2)).asks("subscribe");
  });

  test("over a shared connection too", () => {
    const bench = new Bench({ upstream: { ...testOptions.upstream, mode: "aggregating", protocol: "5" } });
    bench.link("gateway").up(false, { ...noLimits, wildcardAvailable: false });
    bench.client(connect()).gets("CONNACK");
    expect(bench.client(subscribe("a/#")).asks().message("SUBACK").returnCode).toBe(notSupported);
  });
});

describe("without an answer [6.9]", () => {
  const unasked = (over: Partial<Parameters<typeof publish>[0]> = {}) =>
    publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0, ...over } as never);

  test("QoS -1 that the broker does not take is dropped, not sent over everybody's connection", () => {
    const bench = new Bench();
    bench.link("gateway").down();
    bench.link("gateway").up(false, { ...noLimits, retainAvailable: false, maximumPacketBytes: 64 });
    expect(bench.client(unasked({ retain: true }), elsewhere).asks().drops).toEqual(["too-large-for-broker"]);
    expect(bench.client(unasked({ data: octets("x".repeat(50)) }), elsewhere).asks().drops).toEqual([
      "too-large-for-broker",
    ]);
    bench.client(unasked(), elsewhere).asks("publish");
  });
});

describe("the status topic [6.9]", () => {
  test("at a broker that retains nothing it is published without being retained", () => {
    const bench = new Bench({ status: { topic: "gw" } });
    bench.link("gateway").down();
    const plain = bench.link("gateway").up(false, { ...noLimits, retainAvailable: false });
    expect(plain.effect("publish").publication).toMatchObject({ topicName: "gw/gateway", retain: false });
    bench.link("gateway").down();
    const kept = bench.link("gateway").up();
    expect(kept.effect("publish").publication).toMatchObject({ topicName: "gw/gateway", retain: true });
  });
});

test.each([
  ["of one octet each", "x"],
  ["of two", "\u00e4"],
  ["of three", "\u20ac"],
  ["of four", "\u{1f600}"],
])("a PUBLISH with properties whose letters are %s is not longer than it is taken to be", (_what, letter) => {
  const text = letter.repeat(30);
  const meta = { userProperties: [["client", text]], contentType: text, responseTopic: text } as const;
  const publication = { topicName: text, payload: octets("x"), qos: 1, retain: false, meta } as const;
  const properties = { userProperties: { client: text }, contentType: text, responseTopic: text };
  const packet = generate(
    { cmd: "publish", topic: text, payload: "x", qos: 1, messageId: 1, dup: false, retain: false, properties },
    { protocolVersion: 5 },
  );
  expect(fitsPacket({ ...noLimits, maximumPacketBytes: packet.length - 1 }, publication)).toBe(false);
});
