/** A client that owes PUBRELs, and never sends them, with a broker that takes few publications at a time. [interpretation 32] */
import { describe, expect, test } from "vitest";
import { type BrokerLimits, noLimits } from "../../../src/core/types.ts";
import { connect, publish } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

const narrow = { ...noLimits, exactlyOnceMaximum: 2 };

/** Of two publications at QoS 2 the client has PUBREC, and then it begins something else. */
function twoOwed(limits: BrokerLimits = narrow) {
  const run = new GatewayRun();
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false, duration: 60 })));
  run.keep(bench.link().up(false, limits));
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  const ids = [1, 2].map((msgId) => {
    const { packetId } = run.keep(bench.client(publish({ qos: 2, msgId }))).effect("publish");
    run.keep(bench.link().acks("pubrec", packetId)).gets("PUBREC");
    return packetId;
  });
  return { run, bench, first: ids[0] ?? 0, second: ids[1] ?? 0 };
}

describe("a client that owes PUBREL for as many as the broker's window holds", () => {
  test("its next publication goes: the gateway says PUBREL for the oldest", () => {
    const { run, bench, first } = twoOwed();
    expect(run.keep(bench.client(publish({ qos: 2, msgId: 3 }))).effect("release").packetId).toBe(first);
    const { packetId } = run.keep(bench.link().acks("pubcomp", first)).effect("publish");
    run.keep(bench.link().acks("pubrec", packetId)).gets("PUBREC");
  });

  test("the next one as well, and one more at a time", () => {
    const { run, bench, first, second } = twoOwed();
    run.keep(bench.client(publish({ qos: 2, msgId: 3 })));
    expect(run.keep(bench.client(publish({ qos: 2, msgId: 4 }))).effect("release").packetId).toBe(second);
    for (const owed of [first, second]) run.keep(bench.link().acks("pubcomp", owed)).effect("publish");
  });

  test("a late repetition of the oldest is not published again, and a late PUBREL is answered", () => {
    const { run, bench, first } = twoOwed();
    run.keep(bench.client(publish({ qos: 2, msgId: 3 })));
    const again = run.keep(bench.client(publish({ qos: 2, msgId: 1, dup: true })));
    again.gets("PUBREC");
    again.asks();
    run.keep(bench.client({ type: "PUBREL", msgId: 1 })).gets("PUBCOMP");
    const done = run.keep(bench.link().acks("pubcomp", first));
    expect(done.effects.filter(({ kind }) => kind === "send")).toEqual([]);
    run.keep(bench.client({ type: "PUBREL", msgId: 2 })).effect("release");
  });

  test("what is heard of the oldest survives a crash", () => {
    const { run, bench } = twoOwed();
    run.keep(bench.client(publish({ qos: 2, msgId: 3 })));
    const next = new GatewayRun({}, run.table);
    next.keep(next.bench.link().up(true, narrow));
    const again = next.keep(next.bench.client(publish({ qos: 2, msgId: 1, dup: true })));
    again.gets("PUBREC");
    again.asks();
  });

  test("where the broker has room its PUBREL is waited for", () => {
    const { run, bench } = twoOwed(noLimits);
    const turn = run.keep(bench.client(publish({ qos: 2, msgId: 3 })));
    turn.effect("publish");
    expect(turn.effects.filter(({ kind }) => kind === "release")).toEqual([]);
  });
});
