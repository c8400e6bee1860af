/** Groups of clients at separate brokers. */
import { describe, expect, test } from "vitest";
import { noLimits } from "../../../src/core/types.ts";
import { Bench, connect, elsewhere, here, octets, publish, sleep } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

function bench(): Bench {
  const policy = { ...testOptions.upstream, serviceClientId: "second", topicPrefix: "m/", payloadBytesMax: 8 };
  return new Bench({
    upstreams: {
      named: [{ name: "meters", policy }],
      nameOf: (clientId, peer) => (clientId?.startsWith("m") || peer === elsewhere ? "meters" : undefined),
    },
  });
}

describe("upstreams by group [4.1]", () => {
  test("each client connects to its own, under the rules of that one", () => {
    const gateway = bench();
    const first = gateway.client(connect()).effect("openLink");
    expect(first.link).toMatchObject({ upstream: "", mqttClientId: "c1" });
    const second = gateway.client(connect({ clientId: "m1" }), elsewhere).effect("openLink");
    expect(second.link).toMatchObject({ upstream: "meters", mqttClientId: "m1" });
    gateway.link("m1").up().gets("CONNACK");
    const short = publish({ qos: 1, topicIdType: "short", topicId: 0x6162 });
    expect(gateway.client(short, elsewhere).effect("publish").publication.topicName).toBe("m/ab");
    gateway.client(publish({ ...short, msgId: 2, data: octets("123456789") } as never), elsewhere).gets("PUBACK");
  });

  test("QoS -1 of a stranger goes by the rules too, over that upstream's own connection", () => {
    const gateway = bench();
    const reading = publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0 });
    expect(gateway.client(reading, here).effect("publish").linkId).toBe(gateway.link("gateway").linkId);
    gateway.client(reading, elsewhere).asks(); // that broker is away
    gateway.link("second").up();
    const { linkId, publication } = gateway.client(reading, elsewhere).effect("publish");
    expect([linkId, publication.topicName]).toEqual([gateway.link("second").linkId, "m/ab"]);
  });

  test("one broker away is no matter of the other's clients", () => {
    const gateway = bench().connected();
    gateway.link("second").down();
    gateway.client(publish({ qos: 1, topicIdType: "short", topicId: 0x6162 })).asks("publish");
    expect(gateway.core.brokerThere).toBe(false); // health: not all are there
  });

  test("another broker of the list than the last time is asked for the subscriptions again, whatever it remembers", () => {
    const gateway = new Bench();
    gateway.connected({ cleanSession: false }).subscribed("a/b");
    gateway.client(sleep(600));
    const { linkId, down } = gateway.link();
    const up = { kind: "linkUp", linkId, sessionPresent: true, limits: noLimits } as const;
    down();
    gateway.input(up).asks();
    down();
    const turn = gateway.input({ ...up, elsewhere: true }).asks("subscribe");
    expect(turn.effect("subscribe")).toMatchObject({ topicFilter: "a/b", withoutRetained: true });
  });
});
