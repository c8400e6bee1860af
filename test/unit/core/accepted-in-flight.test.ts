/** When the connection ends, the gateway takes over a publication in flight and answers its device, if it can be stored. */
import { describe, expect, test } from "vitest";
import { Bench, connect, publish } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };

const reading = (qos: 1 | 2, dup = false) => publish({ qos, dup, msgId: 7, topicIdType: "short", topicId: 0x6162 });

/** It was sent to the broker, the connection ended, and nothing is on disk yet; `token`: the commit. */
function cutOff(mode: "transparent" | "aggregating", qos: 1 | 2) {
  const upstream = { ...testOptions.upstream, mode };
  const bench = new Bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => storing }, upstream });
  const link = () => bench.link(mode === "transparent" ? "c1" : "gateway");
  bench.client(connect({ cleanSession: false }));
  link().up();
  const { packetId } = bench.client(reading(qos)).effect("publish");
  const { token } = link().down().effect("persist");
  link().up(true);
  return {
    bench,
    link,
    packetId,
    fails: () => bench.input({ kind: "persistFailed", token, reason: "full" }),
    again: () => bench.client(reading(qos, true)),
  };
}

describe.each(["transparent", "aggregating"] as const)("%s", (mode) => {
  test("it goes to the broker by the next connection; nobody has it yet when the commit fails: the device waits again", () => {
    const { bench, link, packetId, fails } = cutOff(mode, 2);
    fails().gets();
    link().acks("pubrec", packetId).gets("PUBREC");
    // Aggregating, PUBREL was sent at once; the device's PUBREL is answered by the gateway, or after the broker's PUBCOMP.
    const answers = [bench.client({ type: "PUBREL", msgId: 7 }), link().acks("pubcomp", packetId)].flatMap(
      ({ effects }) => effects.flatMap((effect) => (effect.kind === "send" ? [effect.message.type] : [])),
    );
    expect(answers).toEqual(["PUBCOMP"]);
  });

  test.each([
    ["has it", ["pubrec"]],
    ["has done with it", ["pubrec", "pubcomp"]],
  ] as const)(
    "the broker %s when the commit fails: PUBREC is true, and the device's handshake goes to its end",
    (_, acks) => {
      const { bench, link, packetId, fails, again } = cutOff(mode, 2);
      for (const ack of acks) link().acks(ack, packetId).gets();
      fails().gets("PUBREC");
      again().gets("PUBREC").asks();
      bench.client({ type: "PUBREL", msgId: 7 }).gets("PUBCOMP");
      link().down().gets();
    },
  );

  test("QoS 1: the broker has it when the commit fails, and a repetition is answered by the broker", () => {
    const { link, packetId, fails, again } = cutOff(mode, 1);
    link().acks("puback", packetId);
    fails().gets();
    const { packetId: second } = again().effect("publish");
    expect(link().acks("puback", second).message("PUBACK").returnCode).toBe(0);
  });
});
