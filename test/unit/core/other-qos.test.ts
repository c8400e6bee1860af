/** A broker that answers a publication as if it were of another QoS (RabbitMQ 3.10: PUBACK to QoS 2): it comes to an end. */
import { describe, expect, test } from "vitest";
import { connect, octets, publish, type Turn } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
const uplink = { ...testOptions.uplink, policyOf: () => storing };
const upstream = { ...testOptions.upstream, will: { ...testOptions.upstream.will, held: "gateway" as const } };

const modes = ["transparent", "aggregating"] as const;

/** A connected client that has registered a name; `link`: of the connection that it uses. */
function begun(mode: (typeof modes)[number], will = false) {
  const run = new GatewayRun({ uplink, upstream: { ...upstream, mode } });
  const { bench } = run;
  const link = mode === "transparent" ? "c1" : "gateway";
  if (mode === "aggregating") run.keep(bench.link("gateway").up());
  run.keep(bench.client(connect({ cleanSession: false, duration: 60, will })));
  if (will) {
    run.keep(bench.client({ type: "WILLTOPIC", willTopic: "w", qos: 2, retain: false } as never));
    run.keep(bench.client({ type: "WILLMSG", willMsg: octets("gone") } as never));
  }
  if (mode === "transparent") run.keep(bench.link().up());
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  return { run, bench, link: () => bench.link(link) };
}

const told = (turn: Turn) => turn.events.filter(({ event }) => event === "other_qos_answered");

describe.each(modes)("%s", (mode) => {
  test("PUBACK ends a publication at QoS 2: its device's handshake is finished, and nothing is sent again", () => {
    const { run, bench, link } = begun(mode);
    const { packetId } = run.keep(bench.client(publish({ qos: 2, msgId: 7 }))).effect("publish");
    const turn = run.keep(link().acks("puback", packetId)).gets("PUBREC");
    expect(told(turn)).toEqual([{ event: "other_qos_answered", clientId: "c1", qos: 2, answer: "puback" }]);
    run.keep(bench.client(publish({ qos: 2, msgId: 7, dup: true }))).gets("PUBREC");
    link().down();
    run.keep(link().up(true)).asks();
    run.keep(bench.client({ type: "PUBREL", msgId: 7 })).gets("PUBCOMP");
    run.keep(bench.client(publish({ qos: 2, msgId: 7, dup: true }))).gets("PUBREC"); // known for a while
    expect(bench.core.counters.otherQoSAnswers).toBe(1);
    expect(run.records).toBe(0);
  });

  test("it is said once for each connection, and counted each time", () => {
    const { bench, link } = begun(mode);
    const answered = (msgId: number) => {
      const { packetId } = bench.client(publish({ qos: 2, msgId })).effect("publish");
      const turn = link().acks("puback", packetId);
      bench.client({ type: "PUBREL", msgId }).gets("PUBCOMP");
      return told(turn).length;
    };
    expect([answered(1), answered(2)]).toEqual([1, 0]);
    link().down(false, { cause: "network" });
    link().up(true);
    expect([answered(3), answered(4)]).toEqual([1, 0]);
    expect(bench.core.counters.otherQoSAnswers).toBe(4);
  });

  test("a device that never says PUBREL is told 'congestion' in the end, and not kept account of without bound", () => {
    const { bench, link } = begun(mode);
    const answers = Array.from({ length: 20 }, (_, i) => {
      const turn = bench.client(publish({ qos: 2, msgId: 1 + i }));
      const sent = turn.effects.find((effect) => effect.kind === "publish");
      return sent?.kind === "publish" ? link().acks("puback", sent.packetId) : turn;
    }).flatMap(({ sent }) => sent.map(({ type }) => type));
    const { uplinkInFlightMax } = testOptions.clients;
    expect(answers.filter((type) => type === "PUBREC")).toHaveLength(uplinkInFlightMax);
    expect(answers.filter((type) => type === "PUBACK")).toHaveLength(20 - uplinkInFlightMax);
  });

  test("a restart between that answer and PUBREL: nothing is published again, PUBREL is answered", () => {
    const { run, bench, link } = begun(mode);
    const { packetId } = run.keep(bench.client(publish({ qos: 2, msgId: 7 }))).effect("publish");
    run.keep(link().acks("puback", packetId));
    const next = run.next();
    const up = next.keep(next.bench.link(mode === "transparent" ? "c1" : "gateway").up(true));
    expect(up.effects.filter(({ kind }) => kind === "publish")).toEqual([]);
    next.keep(next.bench.client({ type: "PUBREL", msgId: 7 })).gets("PUBCOMP");
  });

  test("what was accepted while the broker was away is finished by it", () => {
    const { run, bench, link } = begun(mode);
    run.keep(link().down(false, { cause: "network" }));
    run.keep(bench.client(publish({ qos: 2, msgId: 1, data: octets("a") }))).gets("PUBREC");
    run.keep(bench.client({ type: "PUBREL", msgId: 1 })).gets("PUBCOMP");
    run.keep(link().up(true));
    run.keep(bench.after(1_000)).asks("fetch");
    const entries = run.table.read("c1", 1, 10);
    run.keep(bench.input({ kind: "fetched", clientId: "c1", entries }));
    const { packetId } = run.keep(bench.after(1_000)).effect("publish");
    run.keep(link().acks("puback", packetId));
    expect([...run.table.states()].flatMap(({ uplink: open }) => open)).toEqual([]);
    run.keep(link().down(false, { cause: "network" }));
    run.keep(link().up(true)).asks();
  });

  test("a will is finished by it", () => {
    const { run, bench, link } = begun(mode, true);
    const lost = run.keep(bench.after(100_000));
    const { packetId, publication } = lost.effect("publish");
    expect(publication).toMatchObject({ topicName: "w", qos: 2 });
    run.keep(link().acks("puback", packetId));
    expect(bench.core.session("c1")?.record.farewell).toBe(false);
  });

  test("PUBREC to QoS 1 is an answer too: the broker gets its PUBREL, and its packet id means nothing else before PUBCOMP", () => {
    const { bench, link } = begun(mode);
    const { packetId } = bench.client(publish({ qos: 1, msgId: 7 })).effect("publish");
    const turn = link().acks("pubrec", packetId).gets("PUBACK");
    expect(turn.effect("release").packetId).toBe(packetId);
    expect(told(turn)).toHaveLength(1);
    const { dropped } = bench.core.counters;
    link().acks("pubcomp", packetId);
    expect(dropped["unmatched-ack"]).toBe(0);
    link().acks("pubcomp", packetId); // it may mean another message now
    expect(dropped["unmatched-ack"]).toBe(1);
  });

  test("PUBCOMP at once to QoS 2 is the end of it; a refusal in either answer is one", () => {
    const { bench, link } = begun(mode);
    const first = bench.client(publish({ qos: 2, msgId: 7 })).effect("publish");
    link().acks("pubcomp", first.packetId).gets("PUBREC");
    bench.client({ type: "PUBREL", msgId: 7 }).gets("PUBCOMP");
    const second = bench.client(publish({ qos: 2, msgId: 8 })).effect("publish");
    expect(link().acks("puback", second.packetId, 0x87).message("PUBACK")).toMatchObject({ msgId: 8, returnCode: 3 });
    const third = bench.client(publish({ qos: 1, msgId: 9 })).effect("publish");
    expect(link().acks("pubrec", third.packetId, 0x87).message("PUBACK")).toMatchObject({ msgId: 9, returnCode: 3 });
  });
});
