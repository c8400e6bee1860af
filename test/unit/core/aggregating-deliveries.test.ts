/** Clients that share one connection to the broker: which clients get what the broker delivers, and who is responsible for it. */
import { describe, expect, test } from "vitest";
import { a, b, bench, c, connected, receivers, shared, subscribed } from "../../helpers/aggregating-bench.ts";
import { connect, disconnect, octets, sleep, subscribe, wake } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

describe("subscriptions [4.2]", () => {
  test("the broker has a filter once, until the last one leaves", () => {
    const gateway = connected(bench(), a, b);
    subscribed(gateway, a, "ab").gets("SUBACK");
    subscribed(gateway, b, "ab").gets("SUBACK");
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual(["a0", "b0"]);
    gateway
      .client({ ...subscribe("ab"), type: "UNSUBSCRIBE" } as never, a)
      .gets("UNSUBACK")
      .asks();
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual(["b0"]);
    const { packetId } = gateway
      .client({ ...subscribe("ab"), type: "UNSUBSCRIBE" } as never, b)
      .gets()
      .effect("unsubscribe");
    shared(gateway).acks("unsuback", packetId).gets("UNSUBACK");
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual([]);
  });

  test("a client that ends its session leaves; one that keeps it does not", () => {
    const gateway = connected(bench(), a);
    gateway.client(connect({ clientId: "b", cleanSession: false }), b).gets("CONNACK");
    subscribed(gateway, a, "ab");
    subscribed(gateway, b, "ab");
    gateway.client(disconnect, a).asks();
    gateway.client(disconnect, b).asks();
    gateway.client(connect({ clientId: "b", cleanSession: true }), b).asks("unsubscribe");
  });

  test("each gets its own QoS; the broker is asked for the highest [i33] [6.9]", () => {
    const gateway = connected(bench({ upstream: { protocol: "5" } }), a, b, c);
    subscribed(gateway, a, "ab", 0);
    expect(gateway.client(subscribe("ab", 2), b).effect("subscribe").qos).toBe(2);
    expect(shared(gateway).acks("suback", 2, 2).message("SUBACK").qos).toBe(2);
    // The third asks for less than the broker has: it is not taken back.
    expect(gateway.client(subscribe("ab", 1), c).effect("subscribe").qos).toBe(2);
    expect(shared(gateway).acks("suback", 3, 2).message("SUBACK").qos).toBe(1);
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 7 }))).toEqual(["a0", "b2", "c1"]);
  });

  test("MQTT 3.1.1: every filter has QoS 2 at the broker, which may choose any of overlapping ones", () => {
    const gateway = connected(bench(), a);
    const { packetId, qos } = gateway.client(subscribe("ab", 0), a).effect("subscribe");
    expect(qos).toBe(2);
    expect(shared(gateway).acks("suback", packetId, 2).message("SUBACK").qos).toBe(0);
  });

  test("what the broker grants less is what a client hears", () => {
    const gateway = connected(bench(), a);
    expect(subscribed(gateway, a, "ab", 2, 1).message("SUBACK").qos).toBe(1);
  });

  test("refused by the broker: refused to the client, and nothing stays", () => {
    const gateway = connected(bench(), a);
    expect(subscribed(gateway, a, "ab", 1, 0x80).message("SUBACK").returnCode).toBe(3);
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual([]);
    expect([...gateway.core.sessions()][0]?.subscriptions).toBe(0);
  });

  test("who asks while the broker is being asked shares the next SUBSCRIBE", () => {
    const gateway = connected(bench({ upstream: { protocol: "5" } }), a, b, c);
    const first = gateway.client(subscribe("ab", 0), a).effect("subscribe");
    gateway.client(subscribe("ab", 1), b).asks();
    gateway.client(subscribe("ab", 2), c).asks();
    const turn = shared(gateway).acks("suback", first.packetId, 0).gets("SUBACK");
    const second = turn.effect("subscribe");
    expect(second.qos).toBe(2);
    shared(gateway).acks("suback", second.packetId, 2).gets("SUBACK", "SUBACK").asks();
  });

  test("overlapping subscriptions of one client: one copy, at the highest QoS [4.2]", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "+", 0);
    subscribed(gateway, a, "ab", 1);
    subscribed(gateway, a, "#", 2);
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 1 }))).toEqual(["a1"]);
  });

  test("MQTT 5: a copy is for the subscriptions that the broker names [4.2]", () => {
    const gateway = connected(bench({ upstream: { protocol: "5" } }), a, b);
    const ids = new Map<string, number>();
    for (const [peer, filter] of [
      [a, "ab"],
      [b, "#"],
    ] as const) {
      const effect = gateway.client(subscribe(filter, 1), peer).effect("subscribe");
      ids.set(filter, effect.subscriptionId ?? 0);
      shared(gateway).acks("suback", effect.packetId, 1);
    }
    const delivers = (...filters: string[]) =>
      receivers(
        gateway.input({
          kind: "delivered",
          linkId: shared(gateway).linkId,
          publication: { topicName: "ab", payload: octets("x"), qos: 0, retain: false },
          packetId: 0,
          dup: false,
          subscriptionIds: filters.map((filter) => ids.get(filter) ?? 0),
        }),
      );
    expect(delivers("ab")).toEqual(["a0"]);
    expect(delivers("#")).toEqual(["b0"]);
    expect(delivers("ab", "#").sort()).toEqual(["a0", "b0"]);
    expect(delivers("of an earlier run").sort()).toEqual(["a0", "b0"]);
  });

  test("a shared subscription goes to the broker as it is; our members take turns, those who are there first [i35]", () => {
    const gateway = connected(bench(), a, b, c);
    expect(gateway.client(subscribe("$share/g/ab"), a).effect("subscribe").topicFilter).toBe("$share/g/ab");
    shared(gateway).acks("suback", 1, 1);
    subscribed(gateway, b, "$share/g/ab");
    subscribed(gateway, c, "$share/g/ab");
    gateway.client(sleep(60), b);
    const turns = Array.from({ length: 4 }, () => receivers(shared(gateway).delivers({ topicName: "ab", qos: 0 })));
    expect(turns.flat()).toEqual(["a0", "c0", "a0", "c0"]);
  });
});

describe("retained messages [i34] [6.9] [4.2]", () => {
  const retained = { topicName: "ab", qos: 1, retain: true } as const;

  test("go to who has just subscribed and to nobody else, once", () => {
    const gateway = connected(bench(), a, b, c);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["a0r"]);
    subscribed(gateway, b, "ab", 0);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["b0r"]);
    // The broker repeats it for the next one: not for those before.
    subscribed(gateway, c, "ab", 0);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["c0r"]);
    expect(receivers(shared(gateway).delivers(retained))).toEqual([]);
  });

  test("before SUBACK too; what is published now goes to all", () => {
    const gateway = connected(bench(), a, b);
    subscribed(gateway, a, "ab", 0);
    // Published with RETAIN now: the first has it, and need not have it again.
    expect(receivers(shared(gateway).delivers({ ...retained, qos: 0, retain: false }))).toEqual(["a0"]);
    gateway.client(subscribe("+", 0), b).effect("subscribe");
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["b0r"]);
    expect(receivers(shared(gateway).delivers({ ...retained, qos: 0, retain: false })).sort()).toEqual(["a0", "b0"]);
  });

  test("are waited for as long where the process stood still meanwhile", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0);
    gateway.now += 29_000;
    gateway.input({ kind: "stoodStill", ms: 29_000 });
    gateway.after(25_000);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["a0r"]);
  });

  test("subscribing again brings them again; some time later nobody waits, and nothing is kept", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["a0r"]);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(shared(gateway).delivers(retained))).toEqual(["a0r"]);
    gateway.after(30_001);
    subscribed(gateway, a, "cd", 0);
    gateway.after(30_001);
    expect(receivers(shared(gateway).delivers({ ...retained, topicName: "cd" }))).toEqual([]);
  });

  test("MQTT 5: asked for only when somebody waits", () => {
    const gateway = connected(bench(), a);
    expect(gateway.client(subscribe("ab"), a).effect("subscribe").withoutRetained).toBeUndefined();
    shared(gateway).acks("suback", 1, 1);
    shared(gateway).down();
    expect(shared(gateway).up(false).effect("subscribe").withoutRetained).toBe(true);
  });
});

describe("custody [4.2]", () => {
  const durable = { durable: true } as const;

  test("the broker is acknowledged when all recipients' copies are on disk, and not before", () => {
    const gateway = connected(bench(durable), a, b);
    subscribed(gateway, a, "ab", 1);
    subscribed(gateway, b, "ab", 2);
    const turn = shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9 });
    const persist = turn.effect("persist");
    expect(persist.changes.map(({ of, clientId }) => `${of} ${clientId}`)).toEqual(
      expect.arrayContaining(["queued a", "queued b", "received \0/0"]),
    );
    expect(turn.effect("ackBroker")).toMatchObject({ ack: "pubrec", packetId: 9, after: persist.token });
    shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9, dup: true }).gets(); // known by its id
    const released = shared(gateway).releases(9);
    expect(released.effect("ackBroker").ack).toBe("pubcomp");
    const next = shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9 }).effect("persist");
    expect(next.changes.map(({ of, clientId }) => `${of} ${clientId}`)).toContain("queued a");
  });

  test("another message under an id that is open here is new: the broker's state is older than ours", () => {
    const gateway = connected(bench(durable), a);
    subscribed(gateway, a, "ab", 2);
    const deliver = (payload: string, topicName = "ab") =>
      shared(gateway)
        .delivers({ topicName, qos: 2, packetId: 9, payload: octets(payload) })
        .effects.flatMap((effect) => (effect.kind === "persist" ? effect.changes.map(({ of }) => of) : []));
    expect(deliver("on")).toContain("queued");
    shared(gateway).down();
    shared(gateway).up(true);
    expect(deliver("on")).not.toContain("queued");
    expect(deliver("off")).toContain("queued");
    expect(deliver("off")).not.toContain("queued");
  });

  test("a commit that fails: acknowledged when the store takes it", () => {
    const gateway = connected(bench(durable), a);
    subscribed(gateway, a, "ab", 1);
    const { token } = shared(gateway).delivers({ topicName: "ab", qos: 1, packetId: 5 }).effect("persist");
    gateway.input({ kind: "persistFailed", token, reason: "full" }).asks();
    const { token: later } = gateway.after(2_000).effect("persist");
    expect(gateway.input({ kind: "persisted", token: later }).effect("ackBroker")).toMatchObject({
      ack: "puback",
      packetId: 5,
    });
  });

  test("a sleeper whose buffer is full loses the message alone, and holds up nobody [i37] [6.6]", () => {
    const gateway = connected(bench({ ...durable, buffer: { ...testOptions.buffer, messagesMax: 2 } }), a, b);
    subscribed(gateway, a, "ab", 1);
    subscribed(gateway, b, "ab", 1);
    gateway.client(sleep(60), b);
    for (let i = 0; i < 2; i++) {
      const [to] = shared(gateway).delivers({ topicName: "ab", qos: 1 }).sent;
      if (to?.type === "PUBLISH")
        gateway.client({ type: "PUBACK", topicId: to.topicId, msgId: to.msgId, returnCode: 0 }, a);
    }
    const turn = shared(gateway).delivers({ topicName: "ab", qos: 1, packetId: 77 });
    expect(turn.drops).toEqual(["buffer-full"]);
    expect(receivers(turn)).toEqual(["a1"]);
    expect(turn.effect("ackBroker")).toMatchObject({ ack: "puback", packetId: 77 });
    expect(turn.effect("persist").changes.map(({ of }) => of)).toContain("letter");
    expect(gateway.client(wake("b"), b).sent[0]).toMatchObject({ type: "PUBLISH", qos: 1 });
  });

  test("what nobody wants any more is acknowledged", () => {
    const gateway = bench();
    expect(shared(gateway).delivers({ topicName: "ab", qos: 1, packetId: 3 }).effect("ackBroker").ack).toBe("puback");
    expect(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 3 }).effect("ackBroker").ack).toBe("pubrec");
  });
});

describe("a delivery that comes again after a cut [4.2]", () => {
  test("QoS 1: known by id and content, not passed on again; the id may mean a new message", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 1);
    const message = { topicName: "ab", qos: 1, packetId: 5 } as const;
    expect(receivers(shared(gateway).delivers(message))).toEqual(["a1"]);
    shared(gateway).down();
    shared(gateway).up(true);
    const again = shared(gateway)
      .delivers({ ...message, dup: true })
      .gets();
    expect(again.effect("ackBroker")).toMatchObject({ ack: "puback", packetId: 5 });
    shared(gateway).delivers({ ...message, payload: octets("new"), dup: true });
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(2);
  });

  test("nobody gets it twice at QoS 0, also when it is not remembered", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0, 2);
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 6, dup: true }))).toEqual([]);
    expect(receivers(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 7 }))).toEqual(["a0"]);
  });
});
