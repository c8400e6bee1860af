/**
 * Sessions that take octets in place of objects while their clients sleep, have left or are lost, and each way back. The invariants are
 * checked after each turn: tables agree, and what comes back is what was parked.
 */
import { describe, expect, test } from "vitest";
import { type AccessPolicy, admitAll, type Rights } from "../../../src/core/access.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { a, b, c, connected, type Over, shared, subscribed } from "../../helpers/aggregating-bench.ts";
import {
  type Bench,
  connect,
  disconnect,
  elsewhere,
  octets,
  publish,
  register,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { asleep, clients, parkAfterMs, parked, parkedNow, parking, soonMs } from "../../helpers/parked-bench.ts";
import { keepAll, testOptions } from "../../simulation/options.ts";

describe("a session is parked", () => {
  test("a while after its client sleeps, and is counted and shown as before [6.14]", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a).gets("CONNACK");
    gateway.client(sleep(3_600), a).gets("DISCONNECT");
    gateway.after(parkAfterMs - 1);
    expect(parked(gateway)).toBe(0);
    const before = gateway.core.session("a");
    gateway.after(251);
    expect(parked(gateway)).toBe(1);
    expect(gateway.core.session("a")).toEqual(before);
    expect([...gateway.core.sessions()]).toEqual([before?.view]);
    expect(gateway.core.clientAt(a)).toBe("a");
    expect(gateway.core.sessionsByState).toMatchObject({ asleep: 1, active: 0 });
    expect(gateway.core.sizes).toMatchObject({ sessions: 1, deadlines: 1 });
    expect(parked(gateway), "who looks at it does not bring it back").toBe(1);
  });

  test("when its client has left, or is lost", () => {
    const gateway = parking();
    for (const [peer, clientId] of [
      [a, "a"],
      [b, "b"],
    ] as const) {
      gateway.client(connect({ clientId, cleanSession: false, duration: 10 }), peer);
      subscribed(gateway, peer, `d/${clientId}`);
    }
    gateway.client(disconnect, a).gets("DISCONNECT");
    gateway.after(120_000);
    expect(gateway.core.sessionsByState).toMatchObject({ disconnected: 1, lost: 1 });
    expect(parked(gateway)).toBe(2);
  });

  test("not in transparent mode, and not while it is used", () => {
    const transparent = parking({ upstream: { mode: "transparent" } } as Over);
    transparent.client(connect({ cleanSession: false })).effect("openLink");
    transparent.link().up().gets("CONNACK");
    transparent.client(sleep(3_600));
    const active = connected(parking(), a);
    for (const gateway of [transparent, active]) expect(parked(gateway.after(30_000) && gateway)).toBe(0);
  });

  test("not if the client has said nothing but CONNECT: it makes way first", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false, duration: 10 }), a);
    gateway.after(300_000);
    expect(gateway.core.sessionsByState.lost).toBe(1);
    expect(parked(gateway)).toBe(0);
  });

  test("not while a message waits for the client; but after the client has it", () => {
    const gateway = asleep();
    shared(gateway).delivers({ topicName: "d/a/x", payload: octets("1") });
    gateway.after(1_000_000);
    expect(parked(gateway)).toBe(0);
    const { topicId, msgId } = gateway.client(wake("a"), a).message("REGISTER");
    const sent = gateway.client({ type: "REGACK", topicId, msgId, returnCode: 0 }, a).message("PUBLISH");
    gateway.client({ type: "PUBACK", topicId, msgId: sent.msgId, returnCode: 0 }, a).gets("PINGRESP");
    parkedNow(gateway);
  });

  test("not while its publication is at the broker", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    const { packetId } = gateway.client(publish({ topicIdType: "short", topicId: 0x6162 }), a).effect("publish");
    gateway.client(sleep(3_600), a);
    gateway.after(100_000);
    expect(parked(gateway)).toBe(0);
    shared(gateway).acks("puback", packetId);
    gateway.after(200_000);
    expect(parked(gateway)).toBe(1);
  });

  test("not while PUBREL of its QoS 2 publication is missing", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    const up = publish({ topicIdType: "short", topicId: 0x6162, qos: 2, msgId: 7 });
    const { packetId } = gateway.client(up, a).effect("publish");
    shared(gateway).acks("pubrec", packetId);
    shared(gateway).acks("pubcomp", packetId);
    gateway.client(sleep(3_600), a);
    gateway.after(1_000_000);
    expect(parked(gateway)).toBe(0);
    gateway.client({ type: "PUBREL", msgId: 7 }, a).gets("PUBCOMP");
    gateway.after(700_000);
    expect(parked(gateway)).toBe(1);
  });

  test("not before the store has answered what the client was promised", () => {
    const run = new GatewayRun({ clients, upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const { bench: gateway } = run;
    gateway.link("gateway").up();
    run.keep(gateway.client(connect({ clientId: "a", cleanSession: false }), a));
    const turn = gateway.client(sleep(3_600), a); // its commit is not done
    gateway.after(2 * soonMs);
    expect(parked(gateway)).toBe(0);
    run.keep(turn);
    gateway.after(120_000);
    expect(parked(gateway)).toBe(1);
  });
});

describe("a parked session comes back", () => {
  test("by a datagram from its address: PINGREQ, and a publication [6.14]", () => {
    const gateway = asleep();
    gateway.client(wake("a"), a).gets("PINGRESP");
    expect(parked(gateway)).toBe(0);
    parkedNow(gateway);
    const { publication } = gateway.client(publish({ topicIdType: "short", topicId: 0x6162 }), a).effect("publish");
    expect(publication.topicName).toBe("ab");
  });

  test("by PINGREQ from another address, which is its address then", () => {
    const gateway = asleep();
    gateway.client(wake("a"), elsewhere).gets("PINGRESP");
    expect(gateway.core.clientAt(elsewhere)).toBe("a");
    expect(gateway.core.clientAt(a)).toBeUndefined();
    parkedNow(gateway);
    expect(gateway.core.clientAt(elsewhere)).toBe("a");
  });

  test("by CONNECT with its client id: subscriptions and topic ids are as before [6.2, 6.5]", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    const { topicId } = gateway.client(register("up/a"), a).message("REGACK");
    subscribed(gateway, a, "d/a/+");
    gateway.client(disconnect, a).gets("DISCONNECT");
    gateway.after(100_000);
    expect(parked(gateway)).toBe(1);
    gateway
      .client(connect({ clientId: "a", cleanSession: false }), b)
      .gets("CONNACK")
      .asks();
    expect(gateway.client(register("up/a"), b).message("REGACK").topicId).toBe(topicId);
    shared(gateway).delivers({ topicName: "d/a/x" }).gets("REGISTER");
  });

  test("by a clean CONNECT, which ends it: its filters are unsubscribed [6.2]", () => {
    const gateway = asleep();
    const turn = gateway.client(connect({ clientId: "a", cleanSession: true }), a).gets("CONNACK");
    expect(turn.effect("unsubscribe").topicFilter).toBe("d/a/+");
  });

  test("by CONNECT of another client from its address, which it loses", () => {
    const gateway = asleep();
    gateway.client(connect({ clientId: "b", cleanSession: false }), a).gets("CONNACK");
    expect(gateway.core.clientAt(a)).toBe("b");
    gateway.client(wake("a"), c).gets("PINGRESP");
  });

  test("by a delivery, which waits until it wakes", () => {
    const gateway = asleep(asleep(), b, "b");
    expect(parked(gateway)).toBe(2);
    shared(gateway)
      .delivers({ topicName: "d/b/x", payload: octets("1") })
      .gets();
    expect(parked(gateway)).toBe(1);
    gateway.client(wake("b"), b).gets("REGISTER");
    expect(gateway.core.session("b")?.view.waitingMessages).toBe(1);
  });

  test("for a moment by a delivery that is not kept for it: that is counted, and it is parked again", () => {
    const policy = { ...keepAll, qos0WhileAsleep: false };
    const gateway = asleep(parking({ buffer: { ...testOptions.buffer, policyOf: () => policy } }));
    expect(shared(gateway).delivers({ topicName: "d/a/x", qos: 0 }).drops).toEqual(["not-buffered"]);
    expect(parked(gateway)).toBe(1);
    expect(gateway.core.session("a")?.view.droppedMessages).toBe(1);
  });

  test("by its deadline: it is lost, and its will is published [6.14]", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false, will: true }), a).gets("WILLTOPICREQ");
    gateway.client({ type: "WILLTOPIC", willTopic: "gone/a", qos: 0, retain: true }, a).gets("WILLMSGREQ");
    gateway.client({ type: "WILLMSG", willMsg: octets("oh") }, a).gets("CONNACK");
    gateway.client(sleep(600), a);
    parkedNow(gateway);
    const turn = gateway.after(700_000);
    expect(turn.states).toEqual(["lost"]);
    expect(turn.effect("publish").publication).toMatchObject({
      topicName: "gone/a",
      payload: octets("oh"),
      retain: true,
    });
    expect(parked(gateway), "and then it is parked as a lost one").toBe(1);
  });

  test("by its deadline: a kept session ends when it expires", () => {
    const gateway = asleep(parking({ clients: { ...clients, sessionExpirySeconds: 7_200 } }));
    const turn = gateway.after(2 * 3_600_000 + 7_200_000);
    expect(turn.events).toContainEqual({ event: "session_ended", clientId: "a", why: "expired" });
    expect(turn.effect("unsubscribe").topicFilter).toBe("d/a/+");
    expect(gateway.core.sizes).toMatchObject({ sessions: 0, parked: 0, deadlines: 0 });
  });

  test("not sooner for time in which the process stood still", () => {
    const gateway = asleep();
    gateway.after(3_000_000);
    gateway.input({ kind: "stoodStill", ms: 600_000 });
    expect(gateway.after(3_600_000).states).toEqual([]);
    expect(gateway.after(600_000).states).toEqual(["lost"]);
  });

  test("with what it may repeat: a publication with DUP after a short sleep is not published again [6.12]", () => {
    const gateway = parking({ clients: { ...clients, parkAfterMs: 0 } });
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    const up = publish({ topicIdType: "short", topicId: 0x6162, msgId: 9 });
    const { packetId } = gateway.client(up, a).effect("publish");
    shared(gateway).acks("puback", packetId).gets("PUBACK");
    gateway.client(sleep(3_600), a);
    gateway.after(1);
    expect(parked(gateway)).toBe(1);
    gateway
      .client({ ...up, dup: true } as typeof up, a)
      .gets("PUBACK")
      .asks();
  });

  test("with what is left of its limits", () => {
    const limits = {
      upPerSecond: 0.001,
      upBurst: 2,
      downPerSecond: 1,
      downBurst: 1,
      octetsPerDay: Number.POSITIVE_INFINITY,
      refusalsMax: 100,
      quarantineSeconds: 0,
    };
    const gateway = parking({ access: { ...admitAll, limitsOf: () => limits } });
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    const up = (msgId: number) => gateway.client(publish({ topicIdType: "short", topicId: 0x6162, qos: 0, msgId }), a);
    up(0).asks("publish");
    up(0).asks("publish");
    gateway.client(sleep(3_600), a);
    parkedNow(gateway);
    expect(up(0).asks().drops).toEqual(["over-limit"]);
  });
});

describe("no place is left", () => {
  const at = (clientId: string): PeerId => `udp/${clientId}:1`;
  const known: AccessPolicy = {
    ...admitAll,
    client: (clientId) => ({ admitted: true, byName: clientId.startsWith("known") }),
  };

  function kept(gateway: Bench, clientId: string): void {
    gateway.client(connect({ clientId, cleanSession: false }), at(clientId)).gets("CONNACK");
    gateway.client(publish({ topicIdType: "short", topicId: 0x6162, qos: 0, msgId: 0 }), at(clientId));
    gateway.client(disconnect, at(clientId));
  }

  test("of parked sessions the one makes way that is away for the longest time, before one that is an object", () => {
    const gateway = parking({ access: known, clients: { ...clients, sessionsMax: 3 } });
    for (const clientId of ["one", "two"]) {
      kept(gateway, clientId);
      gateway.after(60_000);
    }
    gateway.client(connect({ clientId: "known-1", cleanSession: false }), at("known-1")).gets("CONNACK");
    expect(parked(gateway)).toBe(2);
    gateway.after(86_400_000 - 60_000);
    const turn = gateway.client(connect({ clientId: "new", cleanSession: false }), at("new"));
    expect(turn.events).toContainEqual({ event: "session_ended", clientId: "one", why: "made room for a new client" });
    expect(turn.message("CONNACK").returnCode).toBe(0);
  });

  test("one that was heard within the last day keeps its place from unknown clients, and not from named ones", () => {
    const gateway = parking({ access: known, clients: { ...clients, sessionsMax: 2 } });
    kept(gateway, "one");
    kept(gateway, "known-1");
    gateway.after(60_000);
    expect(parked(gateway)).toBe(2);
    const refused = gateway.client(connect({ clientId: "new" }), at("new"));
    expect(refused.message("CONNACK").returnCode).toBe(1);
    const turn = gateway.client(connect({ clientId: "known-2", cleanSession: false }), at("known-2"));
    expect(turn.events).toContainEqual({ event: "session_ended", clientId: "one", why: "made room for a new client" });
    const next = gateway.client(connect({ clientId: "known-3", cleanSession: false }), at("known-3"));
    expect(next.events).toContainEqual(expect.objectContaining({ event: "session_ended", clientId: "known-1" }));
  });
});

describe("what is changed for all reaches parked sessions", () => {
  test("access rules: who is not admitted any more is disconnected, and the others stay parked", () => {
    const gateway = asleep(asleep(), b, "b");
    const access: AccessPolicy = {
      ...admitAll,
      client: (clientId) => (clientId === "a" ? { admitted: false, hint: "none" } : { admitted: true }),
    };
    const turn = gateway.input({ kind: "accessChanged", access });
    expect(turn.states).toEqual(["disconnected"]);
    expect(gateway.core.sessionsByState).toMatchObject({ asleep: 1, disconnected: 1 });
    expect(parked(gateway)).toBe(2);
  });

  describe("access rules, if there are more sessions than are checked in one step", () => {
    const denied =
      (...denied: readonly string[]): AccessPolicy["client"] =>
      (clientId) =>
        denied.includes(clientId) ? { admitted: false, hint: "none" } : { admitted: true };
    const three = () => asleep(asleep(asleep(parking({ reviewedAtOnce: 1 } as Over)), b, "b"), c, "c");
    const disconnected = (gateway: Bench) => gateway.core.sessionsByState.disconnected;

    test("each is checked, one step after the other", () => {
      const gateway = three();
      gateway.input({ kind: "accessChanged", access: { ...admitAll, client: denied("a", "b", "c") } });
      const seen = [disconnected(gateway)];
      for (let i = 0; i < 4; i++) {
        gateway.after(1);
        seen.push(disconnected(gateway));
      }
      expect(seen).toEqual([1, 2, 3, 3, 3]);
      expect(parked(gateway)).toBe(3);
    });

    test("who sends something before its turn is checked first, and only once", () => {
      const gateway = three();
      const turn = gateway.input({ kind: "accessChanged", access: { ...admitAll, client: denied("c") } });
      expect(turn.states).toEqual([]);
      const up = publish({ topicIdType: "short", topicId: 0x6162, qos: 1, msgId: 9 });
      const early = gateway.client(up, c);
      expect(early.events.filter(({ event }) => event === "not_admitted")).toHaveLength(1);
      expect(early.effects.map(({ kind }) => kind)).not.toContain("publish");
      early.gets("DISCONNECT");
      const events = [1, 2, 3].flatMap(() => gateway.after(1).events);
      expect(events.filter(({ event }) => event === "not_admitted")).toEqual([]);
    });

    test("a session that is needed before its turn, and not by its client, is checked in its turn", () => {
      const gateway = three();
      gateway.input({ kind: "accessChanged", access: { ...admitAll, client: denied("c") } });
      shared(gateway).delivers({ topicName: "d/c/1", qos: 1, packetId: 77 });
      expect(disconnected(gateway)).toBe(0);
      gateway.after(1);
      gateway.after(1);
      expect(disconnected(gateway)).toBe(1);
    });

    test("rules that are changed again meanwhile begin a new check of all", () => {
      const gateway = three();
      gateway.input({ kind: "accessChanged", access: { ...admitAll, client: denied("c") } });
      gateway.after(1);
      gateway.input({ kind: "accessChanged", access: { ...admitAll, client: denied("a") } });
      expect(disconnected(gateway)).toBe(1);
      for (let i = 0; i < 4; i++) gateway.after(1);
      expect(disconnected(gateway)).toBe(1);
      expect(gateway.core.session("c")?.view.state).toBe("asleep");
    });
  });

  test("topic rights: a subscription that is not allowed any more ends at the broker", () => {
    const gateway = asleep(asleep(), b, "b");
    const rights: Rights = {
      mayPublish: () => true,
      maySubscribe: (filter) => filter !== "d/a/+",
      mayReceive: () => true,
      hint: () => "a line",
    };
    const turn = gateway.input({ kind: "accessChanged", access: { ...admitAll, rightsOf: () => rights } });
    expect(turn.effect("unsubscribe").topicFilter).toBe("d/a/+");
    expect(parked(gateway)).toBe(2);
    expect(gateway.core.session("a")?.view.subscriptions).toBe(0);
  });

  test("predefined topics: an id keeps its meaning until the client connects again [6.7]", () => {
    const named = (name: string) => ({ forAll: new Map([[1, name]]), byClientId: new Map() });
    const gateway = asleep(parking({ topics: { ...testOptions.topics, predefined: named("old") } }));
    gateway.input({ kind: "predefinedChanged", predefined: named("new") });
    const up = publish({ topicIdType: "predefined", topicId: 1, qos: 0, msgId: 0 });
    expect(gateway.client(up, a).effect("publish").publication.topicName).toBe("old");
    gateway.client(connect({ clientId: "a", cleanSession: false }), a);
    expect(gateway.client(up, a).effect("publish").publication.topicName).toBe("new");
  });

  test("shutdown: wills of sleepers are published, if wills are", () => {
    const gateway = parking({ shutdown: { wills: "publish" } });
    gateway.client(connect({ clientId: "a", cleanSession: false, will: true }), a);
    gateway.client({ type: "WILLTOPIC", willTopic: "gone/a", qos: 0, retain: false }, a);
    gateway.client({ type: "WILLMSG", willMsg: octets("oh") }, a).gets("CONNACK");
    gateway.client(sleep(600), a);
    parkedNow(gateway);
    const { publication } = gateway.input({ kind: "shutdown" }).effect("publish");
    expect(publication).toMatchObject({ topicName: "gone/a", payload: octets("oh") });
  });

  test("a broker that forgets gets the filters of parked sessions again [3.1.1 4.1]", () => {
    const gateway = asleep(asleep(), b, "b");
    shared(gateway).down();
    const turn = shared(gateway).up(false);
    expect(turn.effects.flatMap((e) => (e.kind === "subscribe" ? [e.topicFilter] : [])).sort()).toEqual([
      "d/a/+",
      "d/b/+",
    ]);
    expect(parked(gateway)).toBe(2);
  });

  test("a filter that the broker refuses now is nobody's any more", () => {
    const gateway = asleep();
    shared(gateway).down();
    const { packetId } = shared(gateway).up(false).effect("subscribe");
    shared(gateway).acks("suback", packetId, 0x80);
    expect(gateway.core.session("a")?.view.subscriptions).toBe(0);
  });
});

describe("commands of an operator", () => {
  test("show and list do not bring it back, a message for the client does", () => {
    const gateway = asleep();
    expect(gateway.core.session("a")?.record.subscriptions).toHaveLength(1);
    expect([...gateway.core.topicUses()]).toEqual([{ name: "d/a/+", isFilter: true, clientId: "a" }]);
    expect(gateway.core.underWay("a")).toEqual([]);
    expect(parked(gateway)).toBe(1);
    gateway.input({
      kind: "sendDown",
      clientId: "a",
      publication: { topicName: "d/a/x", payload: octets("1"), qos: 1, retain: false },
    });
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(1);
  });

  test("its session is ended", () => {
    const gateway = asleep();
    const turn = gateway.input({ kind: "dropSession", clientId: "a" });
    expect(turn.events).toContainEqual(expect.objectContaining({ event: "session_ended", clientId: "a" }));
    expect(turn.effect("unsubscribe").topicFilter).toBe("d/a/+");
    expect(gateway.core.sizes).toMatchObject({ sessions: 0, parked: 0 });
  });
});

describe("the next run", () => {
  const options = { clients, upstream: { ...testOptions.upstream, mode: "aggregating" as const } };

  function run(): GatewayRun {
    const run = new GatewayRun(options);
    const { bench: gateway } = run;
    run.keep(gateway.link("gateway").up());
    run.keep(gateway.client(connect({ clientId: "a", cleanSession: false }), a));
    const { packetId } = run.keep(gateway.client(subscribe("d/a/+", 1), a)).effect("subscribe");
    run.keep(gateway.link("gateway").acks("suback", packetId, 1));
    run.keep(gateway.client(sleep(3_600), a));
    return run;
  }

  test("parks who sleeps at once, and the client finds its session", () => {
    const next = run().next();
    const { bench: gateway } = next;
    expect(parked(gateway)).toBe(1);
    expect(gateway.core.session("a")?.view).toMatchObject({ state: "asleep", subscriptions: 1, sleepSeconds: 3_600 });
    next.keep(gateway.link("gateway").delivers({ topicName: "d/a/x", payload: octets("1") }));
    expect(parked(gateway)).toBe(0);
    next.keep(gateway.client(wake("a"), a)).gets("REGISTER");
  });

  test("knows what a session was when it was parked, and what was changed since", () => {
    const first = run();
    first.keep(first.bench.after(60_000));
    expect(parked(first.bench)).toBe(1);
    first.keep(first.bench.client(wake("a"), elsewhere)).gets("PINGRESP");
    first.keep(first.bench.after(60_000));
    expect(parked(first.bench)).toBe(1);
    const { bench: gateway } = first.next();
    expect(gateway.core.clientAt(elsewhere)).toBe("a");
  });

  test("asks the access rules at the first message of a client that it parked", () => {
    const { table } = run();
    let asked = 0;
    const access: AccessPolicy = {
      ...admitAll,
      client: () => (asked++ > 0 ? { admitted: false, hint: "none" } : { admitted: true }),
    };
    const { bench: gateway } = new GatewayRun({ ...options, access }, table);
    expect([parked(gateway), asked]).toEqual([1, 1]);
    const turn = gateway.client(publish({ topicIdType: "short", topicId: 0x6162, qos: 0, msgId: 0 }), a);
    expect(turn.states).toEqual(["disconnected"]);
  });
});
