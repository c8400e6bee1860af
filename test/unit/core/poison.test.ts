/** A packet for which the broker closes the connection: who hears what, what is kept, and that the others go on. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import { type BrokerLimits, noLimits, type PeerId } from "../../../src/core/types.ts";
import { type Bench, connect, here, octets, publish, subscribe, type Turn } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const closed = { cause: "peer", showedLife: true } as const;
const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
const stored = { uplink: { ...testOptions.uplink, policyOf: () => storing } };

/** A broker that closes for what `isPoison` says of, and answers everything else at once. */
class PoisonBroker {
  readonly run: GatewayRun;
  readonly bench: Bench;
  readonly #link: string;
  readonly #isPoison: (effect: Turn["effects"][number]) => boolean;
  up = true;
  ends = 0;
  /** Payloads and filters that got through, in their order. */
  readonly got: string[] = [];
  readonly sent: Turn["sent"] = [];
  readonly events: Turn["events"] = [];
  limits: BrokerLimits = noLimits;
  /** Payloads whose PUBLISH it does not answer. */
  readonly unanswered = new Set<string>();
  /** Requests that reached it, in their order. */
  readonly asked: string[] = [];
  /** It answers neither PINGREQ nor requests. */
  isMute = false;
  /** Packet ids of what was published, in their order. */
  readonly ids: number[] = [];

  constructor(run: GatewayRun, link: string, isPoison: (effect: Turn["effects"][number]) => boolean) {
    this.run = run;
    this.bench = run.bench;
    this.#link = link;
    this.#isPoison = isPoison;
  }

  /** Plays the broker to what the turn asked of it. */
  take(turn: Turn): void {
    this.run.keep(turn);
    this.sent.push(...turn.sent);
    this.events.push(...turn.events);
    for (const effect of turn.effects) {
      if (effect.kind === "fetch") {
        const { clientId, from, limit } = effect;
        this.take(this.bench.input({ kind: "fetched", clientId, entries: this.run.table.read(clientId, from, limit) }));
      }
      const link = this.bench.link(this.#link);
      if (!this.up || !("linkId" in effect) || effect.linkId !== link.linkId) continue;
      if (effect.kind === "publish" && effect.packetId > 0) this.ids.push(effect.packetId);
      if (this.#isPoison(effect)) {
        this.up = false;
        this.ends++;
        this.take(link.down(false, closed));
        continue; // what the turn asked of the disk is answered all the same
      }
      if (effect.kind === "subscribe" || effect.kind === "unsubscribe")
        this.asked.push(`${effect.kind} ${effect.topicFilter}`);
      if (this.isMute && ["ping", "subscribe", "unsubscribe"].includes(effect.kind)) continue;
      if (effect.kind === "ping") this.take(this.bench.input({ kind: "pong", linkId: effect.linkId }));
      else if (effect.kind === "publish") {
        this.got.push(Buffer.from(effect.publication.payload).toString());
        if (effect.packetId > 0 && !this.unanswered.has(textOf(effect)))
          this.take(link.acks(effect.publication.qos === 2 ? "pubrec" : "puback", effect.packetId));
      } else if (effect.kind === "release") this.take(link.acks("pubcomp", effect.packetId));
      else if (effect.kind === "subscribe") {
        this.got.push(effect.topicFilter);
        this.take(link.acks("suback", effect.packetId, effect.qos));
      } else if (effect.kind === "unsubscribe") this.take(link.acks("unsuback", effect.packetId));
    }
  }

  /** Time passes; a connection that ended is made again after a second. */
  after(seconds: number): this {
    for (let i = 0; i < seconds * 2; i++) {
      this.take(this.bench.after(500));
      if (this.up || i % 2 === 0) continue;
      this.up = true;
      this.take(this.bench.link(this.#link).up(true, this.limits));
    }
    return this;
  }

  answers(type: string): number[] {
    return this.sent.flatMap((message) =>
      message.type === type && "returnCode" in message ? [message.returnCode] : [],
    );
  }
}

const wall = 1_800_000_000_000;
const bad = "bad";
const isBad = (effect: Turn["effects"][number]) => effect.kind === "publish" && textOf(effect) === bad;
/** All that begins so: another one each time. */
const isBadKind = (effect: Turn["effects"][number]) => effect.kind === "publish" && textOf(effect).startsWith(bad);
const isRetained = (effect: Turn["effects"][number]) => effect.kind === "publish" && effect.publication.retain;
const textOf = (effect: Extract<Turn["effects"][number], { kind: "publish" }>) =>
  Buffer.from(effect.publication.payload).toString();
const isForbidden = (effect: Turn["effects"][number]) => effect.kind === "subscribe" && effect.topicFilter === "no/#";

function transparent(isPoison = isBad, run = new GatewayRun(stored)): PoisonBroker {
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false, duration: 0 })));
  run.keep(bench.link().up());
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  return new PoisonBroker(run, "c1", isPoison);
}

function shared(isPoison = isBad, more: Partial<CoreOptions> = {}): PoisonBroker {
  const run = new GatewayRun({ ...stored, ...more, upstream: { ...testOptions.upstream, mode: "aggregating" } });
  const { bench } = run;
  run.keep(bench.link("gateway").up());
  run.keep(bench.client(connect({ cleanSession: false, duration: 0 }), here)).gets("CONNACK");
  run
    .keep(bench.client(connect({ clientId: "d", cleanSession: false, duration: 0 }), "udp/192.0.2.2:2"))
    .gets("CONNACK");
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 1, topicName: "d" }, "udp/192.0.2.2:2"));
  return new PoisonBroker(run, "gateway", isPoison);
}

const say = (broker: PoisonBroker, text: string, msgId: number, qos: 0 | 1 | 2 = 1) =>
  broker.take(broker.bench.client(publish({ data: octets(text), msgId, qos })));

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

describe("over a shared connection", () => {
  test("a request does not overtake one for its filter that a search had held, which has come to nothing", () => {
    const broker = shared(isForbidden);
    broker.take(broker.bench.client(subscribe("a/#")));
    broker.take(broker.bench.client(subscribe("no/#", 1, 2)));
    broker.after(1); // the second end: it is a suspect
    broker.isMute = true;
    broker.after(2);
    const unsubscribe = (filter: string, msgId: number) =>
      broker.take(broker.bench.client({ ...subscribe(filter, 1, msgId), type: "UNSUBSCRIBE" } as never));
    broker.asked.length = 0;
    unsubscribe("a/#", 3);
    expect(broker.asked).toEqual([]); // nothing before the sign of life
    unsubscribe("no/#", 4);
    broker.take(broker.bench.client(subscribe("a/#", 1, 5)));
    expect(broker.asked.filter((each) => each.endsWith(" a/#"))).toEqual(["unsubscribe a/#", "subscribe a/#"]);
  });

  test("the others get through, and hear of it nothing but a pause", () => {
    const broker = shared();
    say(broker, bad, 1);
    let asked = 0;
    for (let i = 0; i < 30; i++) {
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      asked++;
      broker.after(1);
    }
    broker.after(5);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(asked);
    expect(broker.answers("PUBACK").filter((code) => code === 3)).toHaveLength(1);
    expect(broker.ends).toBeLessThanOrEqual(6);
  });

  test("a will for which the broker closed is not tried again each time that its device is lost", () => {
    const broker = shared();
    const { run, bench } = broker;
    const peer = "udp/192.0.2.3:3" as PeerId;
    for (let i = 0; i < 5; i++) {
      run.keep(bench.client(connect({ clientId: "w", will: true, duration: 60 }), peer));
      run.keep(bench.client({ type: "WILLTOPIC", willTopic: "w", qos: 1, retain: false }, peer));
      run.keep(bench.client({ type: "WILLMSG", willMsg: octets(bad) }, peer)).gets("CONNACK");
      for (let tick = 0; tick < 60; tick++) {
        broker.after(5);
        broker.take(bench.client(publish({ data: octets(`d ${i} ${tick}`), msgId: 1 + tick }), "udp/192.0.2.2:2"));
      }
    }
    expect(broker.events.filter(({ event }) => event === "packet_taken_out")).toHaveLength(1);
    expect(broker.ends).toBeLessThanOrEqual(8);
    expect(bench.core.counters.dropped["refused-by-broker"]).toBe(5);
    expect([...run.table.letters.values()]).toHaveLength(5);
  });

  test("where each client has a poison in front it is no sick broker: all are found, and what is good flows", () => {
    const broker = shared();
    const { run, bench } = broker;
    const peers = ["c1", "d", "e", "f", "g"].map(
      (clientId, i) => [clientId, `udp/192.0.2.${1 + i}:${1_000 + i}`] as const,
    );
    for (const [clientId, peer] of peers) {
      run.keep(bench.client(connect({ clientId, cleanSession: false, duration: 0 }), peer as PeerId));
      run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: clientId }, peer as PeerId));
    }
    let said = 0;
    for (let i = 0; i < 120; i++) {
      for (const [clientId, peer] of peers) {
        const text = i === 0 ? bad : `${clientId} ${i}`;
        broker.take(bench.client(publish({ data: octets(text), msgId: 1 + i }), peer as PeerId));
        if (i > 0) said++;
      }
      broker.after(2);
    }
    const refused = broker.events.filter(({ event }) => event === "packet_taken_out");
    expect(refused).toHaveLength(peers.length);
    // Whose window is full behind its poison hears "congestion"; nothing else is missing.
    const putOff = broker.answers("PUBACK").filter((code) => code === 1).length;
    expect(putOff).toBeLessThan(said / 20);
    expect(broker.got.length).toBe(said - putOff);
  });

  test.each([
    ["alone", false, () => bad],
    ["among others that publish every second", true, () => bad],
    ["among others, with another content each time", true, (i: number) => `${bad} ${i}`],
  ])(
    "a device that says it every ten seconds for an hour, %s, ends at most fifteen connections",
    (_how, hasOthers, text) => {
      const broker = shared(isBadKind);
      let said = 0;
      for (let i = 0; i < 360; i++) {
        say(broker, text(i), 1 + i);
        for (let second = 0; second < 10; second++) {
          if (hasOthers) {
            said++;
            broker.take(broker.bench.client(publish({ data: octets(`d${said}`), msgId: said }), "udp/192.0.2.2:2"));
          }
          broker.after(1);
        }
        broker.take(broker.bench.client({ type: "PINGREQ", clientId: "" }));
      }
      expect(broker.ends).toBeLessThanOrEqual(15);
      expect(broker.got).toHaveLength(said);
    },
  );

  test.each([1, 2] as const)(
    "several of one kind at QoS %i that wait for their answers: when it is learnt, the others are refused and end nothing more",
    (qos) => {
      const broker = shared(isBadKind);
      for (let i = 0; i < 8; i++) say(broker, `${bad} ${i}`, 1 + i, qos);
      for (let i = 0; i < 60; i++) {
        broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
        broker.after(1);
      }
      expect(broker.answers("PUBACK").filter((code) => code === 3)).toHaveLength(8);
      expect(broker.ends).toBeLessThanOrEqual(16);
      expect(broker.got).toHaveLength(60);
    },
  );

  test("a filter that was granted and is refused later is kept, shown and not asked for", () => {
    const broker = shared(isForbidden);
    const { bench } = broker;
    broker.up = false;
    broker.take(bench.link("gateway").down(false, { cause: "network" }));
    broker.take(bench.client(subscribe("no/#"), here));
    expect(broker.answers("SUBACK")).toEqual([0]);
    for (let i = 0; i < 30; i++) {
      broker.after(1);
      broker.take(bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
    }
    const { ends } = broker.after(10);
    expect(ends).toBeLessThanOrEqual(6);
    expect(bench.core.session("c1")?.record.subscriptions).toMatchObject([{ filter: "no/#", isRefused: true }]);
    expect(broker.after(100).ends).toBe(ends);
  });

  test.each([0, 1] as const)(
    "twenty at QoS %i that had been accepted end few connections each, and others that wait on disk get through between",
    (qos) => {
      const qos0 = { ...storing, qos0: true };
      const broker = shared(isBadKind, { uplink: { ...testOptions.uplink, policyOf: () => qos0 } });
      const { bench } = broker;
      broker.up = false;
      broker.take(bench.link("gateway").down(false, { cause: "network" }));
      for (let i = 0; i < 20; i++) say(broker, `${bad} ${i}`, qos === 0 ? 0 : 1 + i, qos);
      say(broker, "good", 30);
      for (let i = 0; i < 600; i++) {
        broker.take(bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
        broker.after(1);
      }
      expect(broker.ends).toBeLessThanOrEqual(4 * 20);
      expect(broker.run.table.letters.size).toBe(qos * 20);
      expect(broker.got).toHaveLength(601);
    },
  );

  test("at QoS -1 too, from whomever: a stranger ends it a few times, and then no more", () => {
    const broker = shared();
    for (let i = 0; i < 360; i++) {
      broker.take(
        broker.bench.client(
          publish({ data: octets(bad), qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0 }),
          "udp/192.0.2.3:3",
        ),
      );
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(10);
    }
    expect(broker.ends).toBeLessThanOrEqual(15);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(360);
  });

  test("the gateway's own status messages, where the broker closes for what is retained: a few times, and then no more", () => {
    const broker = shared(isRetained, { status: { topic: "site" } });
    const peer = "udp/192.0.2.3:3";
    for (let i = 0; i < 180; i++) {
      broker.take(broker.bench.client(connect({ clientId: "e", cleanSession: false, duration: 0 }), peer));
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(10);
      broker.take(broker.bench.client({ type: "DISCONNECT", duration: undefined }, peer));
      broker.after(10);
    }
    expect(broker.ends).toBeLessThanOrEqual(15);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(180);
  });

  test("a publication at QoS 0 that closes it is found by its kind, and refused from then on", () => {
    const broker = shared();
    for (let i = 0; i < 60; i++) {
      say(broker, bad, 0, 0);
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(2);
    }
    const { ends } = broker;
    expect(ends).toBeLessThanOrEqual(12);
    for (let i = 0; i < 20; i++) {
      say(broker, bad, 0, 0);
      broker.after(2);
    }
    expect(broker.ends).toBe(ends);
  });

  test("while a packet of another client is looked for, QoS 2 stays on disk behind the QoS 1 ahead of it", () => {
    const broker = shared();
    const { bench, run } = broker;
    const other = "udp/192.0.2.2:2";
    broker.take(bench.client(publish({ data: octets(bad), msgId: 1 }), other));
    while (broker.ends < 2) broker.after(1);
    broker.up = false;
    broker.take(bench.link("gateway").down(false, { cause: "network" }));
    broker.unanswered.add("one");
    say(broker, "one", 1, 1);
    say(broker, "two", 2, 2);
    broker.after(5);
    expect(broker.got).toContain("one");
    expect(run.table.read("c1", 0, 9).map(([, { publication }]) => publication.qos)).toEqual([1, 2]);
    expect(run.table.state("c1")?.uplink).toEqual([]);
  });
});
