/** A packet for which the broker closes the connection: who gets which answer, what is kept, and that other clients continue. */
import { describe, expect, test } from "vitest";
import { noLimits, type PeerId } from "../../../src/core/types.ts";
import { connect, octets, publish, subscribe, type Turn } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import {
  bad,
  closed,
  isBad,
  isForbidden,
  PoisonBroker,
  say,
  shared,
  stored,
  textOf,
  transparent,
  wall,
} from "../../helpers/poison-broker.ts";
import { testOptions } from "../../simulation/options.ts";

describe("a publication", () => {
  test.each([1, 2] as const)(
    "at QoS %i: its device hears 0x03 and no acceptance, what comes behind it gets through",
    (qos) => {
      const broker = transparent();
      say(broker, bad, 1, qos);
      broker.after(2);
      say(broker, "good", 2);
      broker.after(40);
      say(broker, "more", 3);
      broker.after(40);
      expect(broker.got).toEqual(["good", "more"]);
      expect(broker.answers("PUBACK").toSorted()).toEqual([0, 0, 3]);
      expect(broker.sent.filter(({ type }) => type === "PUBREC")).toEqual([]);
      expect(broker.ends).toBeLessThanOrEqual(8);
      expect(broker.events).toContainEqual(
        expect.objectContaining({ event: "packet_taken_out", clientId: "c1", topic: "t", qos, bytes: 3 }),
      );
    },
  );

  test("what is just the same is refused at the door, and ends no connection", () => {
    const broker = transparent();
    say(broker, bad, 1);
    for (let i = 2; i < 40; i++) {
      broker.after(5);
      say(broker, `good ${i}`, i);
    }
    const { ends } = broker;
    say(broker, bad, 100);
    expect(broker.answers("PUBACK").at(-1)).toBe(3);
    expect(broker.after(100).ends).toBe(ends);
  });

  test("a device that says it every ten seconds for an hour, and nothing else, ends at most fifteen connections", () => {
    const broker = transparent();
    for (let i = 0; i < 360; i++) {
      say(broker, bad, 1 + i);
      broker.after(10);
      broker.take(broker.bench.client({ type: "PINGREQ", clientId: "" }));
    }
    expect(broker.ends).toBeLessThanOrEqual(15);
  });

  test("what had been accepted becomes a dead letter, and its QoS 2 packet id is not used again", () => {
    const broker = transparent();
    broker.up = false;
    broker.take(broker.bench.link().down(false, { cause: "network" }));
    say(broker, bad, 1, 2);
    say(broker, "good", 2);
    expect(broker.sent.map(({ type }) => type)).toEqual(["PUBREC", "PUBACK"]);
    for (let i = 0; i < 20; i++) {
      broker.after(4);
      say(broker, `more ${i}`, 10 + i);
    }
    expect([...broker.run.table.letters.values()]).toMatchObject([
      ["c1", { reason: "refused-by-broker", direction: "up", mayBeThere: true }],
    ]);
    expect(broker.got).toHaveLength(21);
    const id = broker.ids.at(0);
    for (let i = 0; i < 200; i++) say(broker, `even more ${i}`, 100 + i);
    expect(id).toBeDefined();
    expect(broker.ids.filter((each) => each === id).length).toBe(broker.ends);
  });

  test("the operator can give up what waits: its device hears 0x03, and nothing of it is tried again", () => {
    const broker = transparent();
    say(broker, bad, 1);
    broker.after(2);
    expect(broker.bench.core.underWay("c1")).toMatchObject([
      { packet: "publish", bytes: 3, deaths: expect.any(Number) },
    ]);
    broker.take(broker.bench.input({ kind: "purgeUplink", clientId: "c1", topicFilter: "t", entries: [] }));
    const { ends } = broker;
    expect(broker.answers("PUBACK")).toEqual([3]);
    expect(broker.after(100).ends).toBe(ends);
  });

  test("a restart does not begin anew: a stored suspect is tested alone, and needs fewer deaths", () => {
    const broker = transparent();
    broker.up = false;
    broker.take(broker.bench.link().down(false, { cause: "network" }));
    say(broker, bad, 1);
    say(broker, "good", 2);
    for (let i = 0; broker.ends < 4 && i < 20; i++) broker.after(1);
    const run = broker.run.next();
    const next = new PoisonBroker(run, "c1", isBad);
    next.take(run.bench.link().up(true));
    for (let i = 0; i < 20; i++) {
      next.after(4);
      say(next, `more ${i}`, 10 + i);
    }
    expect(next.ends).toBeLessThanOrEqual(3);
    expect([...run.table.letters.values()]).toMatchObject([["c1", { reason: "refused-by-broker" }]]);
    expect(next.got.filter((text) => text.startsWith("more"))).toHaveLength(20);
  });

  test("several that were accepted are told from a sick broker by what waits behind them, of whatever QoS", () => {
    const broker = transparent((effect) => effect.kind === "publish" && /^bad/.test(textOf(effect)));
    const { bench } = broker;
    broker.up = false;
    broker.take(bench.link().down(false, { cause: "network" }));
    for (let i = 1; i <= 4; i++) say(broker, `bad ${i}`, i);
    say(broker, "good", 5, 2);
    broker.take(bench.client({ type: "PUBREL", msgId: 5 }));
    broker.after(600);
    expect(broker.got).toEqual(["good"]);
  });

  test("what the operator gave up at QoS 2 may be at the broker: its packet id is not used again, over a restart too", () => {
    const { run, bench } = transparent(() => false);
    const { packetId } = run.keep(bench.client(publish({ qos: 2, msgId: 1 }))).effect("publish");
    run.keep(bench.input({ kind: "purgeUplink", clientId: "c1", topicFilter: undefined, entries: [] }));
    const next = run.next(); // its packet ids begin where those of this run began
    next.keep(next.bench.link().up(true));
    const { packetId: another } = next.keep(next.bench.client(publish({ qos: 2, msgId: 2 }))).effect("publish");
    expect(another).not.toBe(packetId);
    next.keep(next.bench.link().acks("pubcomp", packetId)); // released after all: free again
    expect([...run.table.states()].flatMap(({ suspects = [] }) => suspects)).toEqual([]);
  });

  test("the same for a will at QoS 2 whose client came back before the broker had answered", () => {
    const run = new GatewayRun({ upstream: { ...testOptions.upstream, will: { held: "gateway", delaySeconds: 0 } } });
    const { bench } = run;
    const begin = () => {
      run.keep(bench.client(connect({ cleanSession: false, will: true })));
      run.keep(bench.client({ type: "WILLTOPIC", willTopic: "w", qos: 2, retain: false }));
      return run.keep(bench.client({ type: "WILLMSG", willMsg: octets("gone") }));
    };
    begin();
    run.keep(bench.link().up());
    const { packetId } = run.keep(bench.after(100_000)).effect("publish");
    begin();
    run.keep(bench.link().up(true)).gets("CONNACK");
    run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
    const next = run.next();
    next.keep(next.bench.link().up(true));
    const { packetId: another } = next.keep(next.bench.client(publish({ qos: 2, msgId: 2 }))).effect("publish");
    expect(another).not.toBe(packetId);
  });

  test("what is just the same as one that was taken out is refused in the next run too, for the rest of the hour", () => {
    const broker = transparent(isBad, new GatewayRun(stored, undefined, wall));
    say(broker, bad, 1);
    for (let i = 2; i < 40; i++) {
      broker.after(5);
      say(broker, `good ${i}`, i); // answered, of the same kind
    }
    const nextRun = (seconds: number) => {
      const run = broker.run.next(wall + broker.bench.now + seconds * 1_000);
      const next = new PoisonBroker(run, "c1", isBad);
      next.take(run.bench.link().up(true));
      say(next, bad, 100);
      return next.after(1);
    };
    const soon = nextRun(10);
    expect({ ends: soon.ends, answers: soon.answers("PUBACK") }).toEqual({ ends: 0, answers: [3] });
    const later = nextRun(3_600);
    expect(later.ends).toBeGreaterThan(0);
    expect(later.answers("PUBACK")).toEqual([]);
  });

  test("an end that the broker did not make changes nothing: it is sent again, as often as it takes", () => {
    const broker = transparent(() => false);
    for (let i = 0; i < 20; i++) {
      broker.bench.client(publish({ data: octets("good"), msgId: 1, dup: i > 0 }));
      broker.bench.link().down(false, { cause: "network" });
      broker.bench.link().up(true);
    }
    expect(broker.bench.after(0).drops).toEqual([]);
  });

  test("one that comes just after the broker has closed waits for the next connection, and hears the broker's answer", () => {
    const broker = transparent();
    broker.up = false;
    broker.take(broker.bench.link().down(false, closed));
    say(broker, bad, 1);
    say(broker, "good", 2);
    broker.after(40);
    say(broker, "more", 3);
    broker.after(40);
    expect(broker.got).toEqual(["good", "more"]);
    expect(broker.answers("PUBACK").toSorted()).toEqual([0, 0, 3]);
  });

  test.each([
    ["an attempt to connect comes to nothing", 0, true],
    ["five seconds are over", 5_000, false],
  ])("it is accepted when %s", (_when, ms, isMissed) => {
    const { run, bench } = transparent();
    run.keep(bench.link().down(false, closed));
    run.keep(bench.client(publish({ data: octets("x"), msgId: 1 }))).gets();
    run.keep(bench.after(ms));
    if (isMissed) run.keep(bench.link().down(false, { cause: "network" })).gets("PUBACK");
    run.keep(bench.client(publish({ data: octets("y"), msgId: 2 }))).gets("PUBACK");
  });

  test("one that was outside when the broker closed is not acknowledged before five seconds without it", () => {
    const { run, bench } = transparent();
    run.keep(bench.client(publish({ data: octets("x"), msgId: 1 }))).asks("publish");
    run.keep(bench.link().down(false, closed)).gets();
    run.keep(bench.after(4_900)).gets();
    run.keep(bench.after(200)).gets("PUBACK");
  });
});

describe("a SUBSCRIBE", () => {
  test("is refused with 0x03 when it is proved; until then it is not granted", () => {
    const broker = transparent(isForbidden);
    broker.take(broker.bench.client(subscribe("no/#")));
    broker.after(60);
    expect(broker.answers("SUBACK")).toEqual([]);
    say(broker, "witness", 7);
    broker.after(90);
    say(broker, "another", 8);
    broker.after(90);
    expect(broker.answers("SUBACK")).toEqual([3]);
    broker.take(broker.bench.client(subscribe("no/#", 1, 2)));
    expect(broker.answers("SUBACK")).toEqual([3, 3]);
    expect(broker.got).toEqual(["witness", "another"]);
  });

  test("is tested also while QoS 2 that its client does not finish fills the broker's window", () => {
    const broker = transparent(isForbidden);
    broker.limits = { ...noLimits, exactlyOnceMaximum: 1 };
    broker.up = false;
    broker.take(broker.bench.link().down(false, closed));
    broker.after(2);
    say(broker, "not released", 7, 2);
    broker.take(broker.bench.client(subscribe("no/#")));
    for (let i = 1; i <= 3; i++) say(broker, `witness ${i}`, 8 + i);
    broker.after(120);
    expect(broker.answers("SUBACK")).toEqual([3]);
    expect(broker.got).toEqual(["not released", "witness 1", "witness 2", "witness 3"]);
  });

  test("is taken out of everything by UNSUBSCRIBE", () => {
    const broker = transparent(isForbidden);
    broker.take(broker.bench.client(subscribe("no/#")));
    broker.after(3);
    broker.up = false; // between two connections
    broker.take(broker.bench.client({ ...subscribe("no/#", 1, 2), type: "UNSUBSCRIBE" } as never));
    const { ends } = broker;
    expect(broker.after(200).ends).toBe(ends);
  });

  test("that is taken out by UNSUBSCRIBE lets go at once what waits", () => {
    const broker = transparent(isForbidden);
    broker.take(broker.bench.client(subscribe("no/#")));
    broker.after(1); // the second end: it is a suspect
    broker.isMute = true; // no sign of life
    broker.after(2);
    say(broker, "held", 3);
    expect(broker.got).toEqual([]);
    broker.take(broker.bench.client({ ...subscribe("no/#", 1, 4), type: "UNSUBSCRIBE" } as never));
    expect(broker.got).toEqual(["held"]);
  });
});

describe("an UNSUBSCRIBE", () => {
  test.each(["transparent", "aggregating"] as const)(
    "that waits does not hold up a SUBSCRIBE behind it (%s)",
    (mode) => {
      const isUnsubscribe = (effect: Turn["effects"][number]) => effect.kind === "unsubscribe";
      const broker = mode === "transparent" ? transparent(isUnsubscribe) : shared(isUnsubscribe);
      broker.take(broker.bench.client(subscribe("x/#")));
      broker.take(broker.bench.client({ ...subscribe("x/#", 1, 2), type: "UNSUBSCRIBE" } as never));
      broker.after(12);
      const { ends } = broker;
      broker.take(broker.bench.client(subscribe("x/#", 2, 3)));
      broker.after(3);
      expect(broker.answers("SUBACK")).toEqual([0, 0]);
      expect(broker.sent.filter(({ type }) => type === "UNSUBACK")).toHaveLength(1);
      broker.after(200);
      expect(broker.ends).toBe(ends);
    },
  );
});

describe("a CONNECT just after the broker has closed the shared connection, of a client that cannot go on without it", () => {
  function closedNow() {
    const { run, bench } = shared(isBad, { uplink: testOptions.uplink });
    const link = bench.link("gateway");
    run.keep(link.down(false, closed));
    const peer = "udp/192.0.2.7:7" as PeerId;
    run.keep(bench.client(connect({ clientId: "new" }), peer)).gets();
    return { run, bench, link };
  }
  const codes = (turn: Turn) => turn.sent.map((message) => "returnCode" in message && message.returnCode);

  test("is answered over the next connection", () => {
    const { run, bench, link } = closedNow();
    run.keep(bench.after(1_000)).gets();
    expect(codes(run.keep(link.up(true)))).toEqual([0]);
  });

  test("is refused when an attempt to connect has failed", () => {
    const { run, bench, link } = closedNow();
    run.keep(bench.after(1_000)).gets();
    expect(codes(run.keep(link.down(false, { cause: "network" })))).toEqual([1]);
  });

  test("is refused after five seconds", () => {
    const { run, bench } = closedNow();
    run.keep(bench.after(4_900)).gets();
    expect(codes(run.keep(bench.after(200)))).toEqual([1]);
  });
});

test("an UNSUBSCRIBE that waits goes on where the SUBSCRIBE of its filter is refused", () => {
  const broker = shared(isBad, { uplink: testOptions.uplink });
  broker.take(broker.bench.client(subscribe("a/#")));
  say(broker, bad, 1);
  broker.after(1);
  broker.isMute = true;
  broker.after(2);
  broker.take(broker.bench.client({ ...subscribe("a/#", 1, 3), type: "UNSUBSCRIBE" } as never));
  broker.up = false;
  broker.take(broker.bench.link("gateway").down(false, closed));
  broker.take(broker.bench.client(subscribe("a/#", 1, 4)));
  expect(broker.answers("SUBACK")).toEqual([0, 1]); // congestion: there is no broker
  broker.isMute = false;
  broker.asked.length = 0;
  broker.after(30);
  expect(broker.asked).toContain("unsubscribe a/#");
});
