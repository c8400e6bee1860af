/** Clients that share one connection to the broker. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { noLimits, type PeerId, type QoS } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import {
  Bench,
  connect,
  disconnect,
  octets,
  publish,
  register,
  sleep,
  subscribe,
  type Turn,
  wake,
} from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const a: PeerId = "udp/192.0.2.1:1";
const b: PeerId = "udp/192.0.2.2:2";
const c: PeerId = "udp/192.0.2.3:3";
const idOf = new Map([
  [a, "a"],
  [b, "b"],
  [c, "c"],
]);

type Over = Partial<Omit<CoreOptions, "upstream">> & { upstream?: Partial<CoreOptions["upstream"]> };

function bench(over: Over = {}): Bench {
  const upstream = { ...testOptions.upstream, mode: "aggregating" as const, ...over.upstream };
  const gateway = new Bench({ ...over, upstream });
  gateway.link("gateway").up(); // the second: what the first found there was ended
  return gateway;
}

function connected(gateway: Bench, ...peers: PeerId[]): Bench {
  for (const peer of peers) gateway.client(connect({ clientId: idOf.get(peer) as string }), peer).gets("CONNACK");
  return gateway;
}

const trunk = (gateway: Bench) => gateway.link("gateway");

/** Subscribes, with the broker's answer. */
function subscribed(gateway: Bench, peer: PeerId, filter: string, qos: QoS = 1, granted: number = qos): Turn {
  const { packetId } = gateway.client(subscribe(filter, qos), peer).gets().effect("subscribe");
  return trunk(gateway).acks("suback", packetId, granted);
}

/** To whom a turn sends PUBLISH (or the REGISTER before it), with QoS. */
function receivers(turn: Turn): string[] {
  return turn.effects.flatMap((effect) =>
    effect.kind === "send" && effect.message.type === "PUBLISH"
      ? [`${idOf.get(effect.to)}${effect.message.qos}${effect.message.retain ? "r" : ""}`]
      : [],
  );
}

describe("one connection [i31] [4.2]", () => {
  test("CONNECT is answered at once, and opens none", () => {
    const gateway = bench();
    gateway
      .client(connect({ clientId: "a" }), a)
      .gets("CONNACK")
      .asks();
    gateway
      .client(connect({ clientId: "b" }), b)
      .gets("CONNACK")
      .asks();
    expect(gateway.core.sizes.links).toBe(1);
    gateway.client(disconnect, a).gets("DISCONNECT").asks();
  });

  test("a session that somebody left at the broker is ended before ours begins", () => {
    const gateway = new Bench({ upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const first = gateway.link("gateway").linkId;
    const turn = gateway.core.sizes;
    expect(turn.links).toBe(1);
    gateway.link("gateway").up();
    expect(gateway.link("gateway").linkId).toBe(first); // the session to stay: opened once
  });

  test("several connections: each client keeps to one", () => {
    const gateway = bench({ upstream: { connections: 3 } });
    for (const id of ["gateway-1", "gateway-2"]) gateway.link(id).up();
    for (const id of ["gateway-1", "gateway-2"]) gateway.link(id).up();
    const used = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const peer: PeerId = `udp/192.0.2.${i}:9`;
      gateway.client(connect({ clientId: `device-${i}` }), peer).gets("CONNACK");
      const send = () =>
        gateway.client(publish({ qos: 0, msgId: 0, topicIdType: "short", topicId: 0x6162 }), peer).effect("publish")
          .linkId;
      const [first, second] = [send(), send()];
      expect(second).toBe(first);
      used.add(first);
    }
    expect(used.size).toBe(3);
  });

  test("a name that makes brokers close the connection is refused", () => {
    const gateway = connected(bench(), a);
    expect(gateway.client(register("x\u0002"), a).message("REGACK").returnCode).toBe(3);
    expect(gateway.client(register("x/".repeat(150)), a).message("REGACK").returnCode).toBe(3);
    expect(gateway.client(subscribe("x\u0002/#"), a).asks().message("SUBACK").returnCode).toBe(3);
    const short = publish({ topicIdType: "short", topicId: 0x6102 });
    expect(gateway.client(short, a).asks().message("PUBACK").returnCode).toBe(3);
    gateway.client(publish({ qos: -1, topicIdType: "short", topicId: 0x6102, msgId: 0 }), c).asks();
  });
});

describe("subscriptions [4.2]", () => {
  test("the broker has a filter once, until the last one leaves", () => {
    const gateway = connected(bench(), a, b);
    subscribed(gateway, a, "ab").gets("SUBACK");
    subscribed(gateway, b, "ab").gets("SUBACK");
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual(["a0", "b0"]);
    gateway
      .client({ ...subscribe("ab"), type: "UNSUBSCRIBE" } as never, a)
      .gets("UNSUBACK")
      .asks();
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual(["b0"]);
    const { packetId } = gateway
      .client({ ...subscribe("ab"), type: "UNSUBSCRIBE" } as never, b)
      .gets()
      .effect("unsubscribe");
    trunk(gateway).acks("unsuback", packetId).gets("UNSUBACK");
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual([]);
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
    expect(trunk(gateway).acks("suback", 2, 2).message("SUBACK").qos).toBe(2);
    // The third asks for less than the broker has: it is not taken back.
    expect(gateway.client(subscribe("ab", 1), c).effect("subscribe").qos).toBe(2);
    expect(trunk(gateway).acks("suback", 3, 2).message("SUBACK").qos).toBe(1);
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 7 }))).toEqual(["a0", "b2", "c1"]);
  });

  test("MQTT 3.1.1: every filter has QoS 2 at the broker, which may choose any of overlapping ones", () => {
    const gateway = connected(bench(), a);
    const { packetId, qos } = gateway.client(subscribe("ab", 0), a).effect("subscribe");
    expect(qos).toBe(2);
    expect(trunk(gateway).acks("suback", packetId, 2).message("SUBACK").qos).toBe(0);
  });

  test("what the broker grants less is what a client hears", () => {
    const gateway = connected(bench(), a);
    expect(subscribed(gateway, a, "ab", 2, 1).message("SUBACK").qos).toBe(1);
  });

  test("refused by the broker: refused to the client, and nothing stays", () => {
    const gateway = connected(bench(), a);
    expect(subscribed(gateway, a, "ab", 1, 0x80).message("SUBACK").returnCode).toBe(3);
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 0 }))).toEqual([]);
    expect([...gateway.core.sessions()][0]?.subscriptions).toBe(0);
  });

  test("who asks while the broker is being asked shares the next SUBSCRIBE", () => {
    const gateway = connected(bench({ upstream: { protocol: "5" } }), a, b, c);
    const first = gateway.client(subscribe("ab", 0), a).effect("subscribe");
    gateway.client(subscribe("ab", 1), b).asks();
    gateway.client(subscribe("ab", 2), c).asks();
    const turn = trunk(gateway).acks("suback", first.packetId, 0).gets("SUBACK");
    const second = turn.effect("subscribe");
    expect(second.qos).toBe(2);
    trunk(gateway).acks("suback", second.packetId, 2).gets("SUBACK", "SUBACK").asks();
  });

  test("overlapping subscriptions of one client: one copy, at the highest QoS [4.2]", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "+", 0);
    subscribed(gateway, a, "ab", 1);
    subscribed(gateway, a, "#", 2);
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 1 }))).toEqual(["a1"]);
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
      trunk(gateway).acks("suback", effect.packetId, 1);
    }
    const delivers = (...filters: string[]) =>
      receivers(
        gateway.input({
          kind: "delivered",
          linkId: trunk(gateway).linkId,
          publication: { topicName: "ab", payload: octets("x"), qos: 0, retain: false },
          packetId: 0,
          dup: false,
          subscriptionIds: filters.map((filter) => ids.get(filter) ?? 0),
        }),
      );
    expect(delivers("ab")).toEqual(["a0"]);
    expect(delivers("#")).toEqual(["b0"]);
    expect(delivers("ab", "#").sort()).toEqual(["a0", "b0"]);
    expect(delivers("of an earlier life").sort()).toEqual(["a0", "b0"]);
  });

  test("a shared subscription goes to the broker as it is; our members take turns, those who are there first [i35]", () => {
    const gateway = connected(bench(), a, b, c);
    expect(gateway.client(subscribe("$share/g/ab"), a).effect("subscribe").topicFilter).toBe("$share/g/ab");
    trunk(gateway).acks("suback", 1, 1);
    subscribed(gateway, b, "$share/g/ab");
    subscribed(gateway, c, "$share/g/ab");
    gateway.client(sleep(60), b);
    const turns = Array.from({ length: 4 }, () => receivers(trunk(gateway).delivers({ topicName: "ab", qos: 0 })));
    expect(turns.flat()).toEqual(["a0", "c0", "a0", "c0"]);
  });
});

describe("retained messages [i34] [6.9] [4.2]", () => {
  const retained = { topicName: "ab", qos: 1, retain: true } as const;

  test("go to who has just subscribed and to nobody else, once", () => {
    const gateway = connected(bench(), a, b, c);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["a0r"]);
    subscribed(gateway, b, "ab", 0);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["b0r"]);
    // The broker repeats it for the next one: not for those before.
    subscribed(gateway, c, "ab", 0);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["c0r"]);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual([]);
  });

  test("before SUBACK too; what is published now goes to all", () => {
    const gateway = connected(bench(), a, b);
    subscribed(gateway, a, "ab", 0);
    // Published with RETAIN now: the first has it, and need not have it again.
    expect(receivers(trunk(gateway).delivers({ ...retained, qos: 0, retain: false }))).toEqual(["a0"]);
    gateway.client(subscribe("+", 0), b).effect("subscribe");
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["b0r"]);
    expect(receivers(trunk(gateway).delivers({ ...retained, qos: 0, retain: false })).sort()).toEqual(["a0", "b0"]);
  });

  test("are waited for as long where the process stood still meanwhile", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0);
    gateway.now += 29_000;
    gateway.input({ kind: "stoodStill", ms: 29_000 });
    gateway.after(25_000);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["a0r"]);
  });

  test("subscribing again brings them again; some time later nobody waits, and nothing is kept", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["a0r"]);
    subscribed(gateway, a, "ab", 0);
    expect(receivers(trunk(gateway).delivers(retained))).toEqual(["a0r"]);
    gateway.after(30_001);
    subscribed(gateway, a, "cd", 0);
    gateway.after(30_001);
    expect(receivers(trunk(gateway).delivers({ ...retained, topicName: "cd" }))).toEqual([]);
  });

  test("MQTT 5: asked for only when somebody waits", () => {
    const gateway = connected(bench(), a);
    expect(gateway.client(subscribe("ab"), a).effect("subscribe").withoutRetained).toBeUndefined();
    trunk(gateway).acks("suback", 1, 1);
    trunk(gateway).down();
    expect(trunk(gateway).up(false).effect("subscribe").withoutRetained).toBe(true);
  });
});

describe("custody [4.2]", () => {
  const durable = { durable: true } as const;

  test("the broker is acknowledged when all recipients' copies are on disk, and not before", () => {
    const gateway = connected(bench(durable), a, b);
    subscribed(gateway, a, "ab", 1);
    subscribed(gateway, b, "ab", 2);
    const turn = trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9 });
    const persist = turn.effect("persist");
    expect(persist.changes.map(({ of, clientId }) => `${of} ${clientId}`)).toEqual(
      expect.arrayContaining(["queued a", "queued b", "received \0/0"]),
    );
    expect(turn.effect("ackBroker")).toMatchObject({ ack: "pubrec", packetId: 9, after: persist.token });
    trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9, dup: true }).gets(); // known by its id
    const released = trunk(gateway).releases(9);
    expect(released.effect("ackBroker").ack).toBe("pubcomp");
    const next = trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 9 }).effect("persist");
    expect(next.changes.map(({ of, clientId }) => `${of} ${clientId}`)).toContain("queued a");
  });

  test("another message under an id that is open here is new: the broker's state is older than ours", () => {
    const gateway = connected(bench(durable), a);
    subscribed(gateway, a, "ab", 2);
    const deliver = (payload: string, topicName = "ab") =>
      trunk(gateway)
        .delivers({ topicName, qos: 2, packetId: 9, payload: octets(payload) })
        .effects.flatMap((effect) => (effect.kind === "persist" ? effect.changes.map(({ of }) => of) : []));
    expect(deliver("on")).toContain("queued");
    trunk(gateway).down();
    trunk(gateway).up(true);
    expect(deliver("on")).not.toContain("queued");
    expect(deliver("off")).toContain("queued");
    expect(deliver("off")).not.toContain("queued");
  });

  test("a commit that fails: acknowledged when the store takes it", () => {
    const gateway = connected(bench(durable), a);
    subscribed(gateway, a, "ab", 1);
    const { token } = trunk(gateway).delivers({ topicName: "ab", qos: 1, packetId: 5 }).effect("persist");
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
      const [to] = trunk(gateway).delivers({ topicName: "ab", qos: 1 }).sent;
      if (to?.type === "PUBLISH")
        gateway.client({ type: "PUBACK", topicId: to.topicId, msgId: to.msgId, returnCode: 0 }, a);
    }
    const turn = trunk(gateway).delivers({ topicName: "ab", qos: 1, packetId: 77 });
    expect(turn.drops).toEqual(["buffer-full"]);
    expect(receivers(turn)).toEqual(["a1"]);
    expect(turn.effect("ackBroker")).toMatchObject({ ack: "puback", packetId: 77 });
    expect(turn.effect("persist").changes.map(({ of }) => of)).toContain("letter");
    expect(gateway.client(wake("b"), b).sent[0]).toMatchObject({ type: "PUBLISH", qos: 1 });
  });

  test("what nobody wants any more is acknowledged", () => {
    const gateway = bench();
    expect(trunk(gateway).delivers({ topicName: "ab", qos: 1, packetId: 3 }).effect("ackBroker").ack).toBe("puback");
    expect(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 3 }).effect("ackBroker").ack).toBe("pubrec");
  });
});

describe("publications of clients [4.2]", () => {
  const reading = (msgId: number, qos: 1 | 2 = 1) =>
    publish({ qos, msgId, topicIdType: "short", topicId: 0x6162, data: octets(`${msgId}`) });
  const payloads = (turn: Turn) =>
    turn.effects.flatMap((effect) =>
      effect.kind === "publish" ? [Buffer.from(effect.publication.payload).toString()] : [],
    );

  test("a client that floods leaves turns to the others", () => {
    const gateway = bench();
    trunk(gateway).down();
    trunk(gateway).up(true, { ...noLimits, receiveMaximum: 1 });
    connected(gateway, a, b);
    expect(payloads(gateway.client(reading(1), a))).toEqual(["1"]);
    for (let i = 2; i <= 6; i++) gateway.client(reading(i), a).asks();
    gateway.client(reading(100), b).asks();
    const sent: string[] = [];
    for (let id: number | undefined = 1; id !== undefined; ) {
      const turn = trunk(gateway).acks("puback", id);
      sent.push(...payloads(turn));
      id = turn.effects.find((effect) => effect.kind === "publish")?.packetId;
    }
    expect(sent).toEqual(["2", "100", "3", "4", "5", "6"]);
  });

  test("no more at QoS 2 at a time than the broker takes; QoS 1 of others passes, each client's order stays, also over a cut", () => {
    const gateway = bench();
    trunk(gateway).down();
    trunk(gateway).up(true, { ...noLimits, exactlyOnceMaximum: 1 });
    connected(gateway, a, b);
    const { packetId } = gateway.client(reading(1, 2), a).effect("publish");
    gateway.client(reading(2, 1), a);
    expect(payloads(gateway.client(reading(10, 2), b))).toEqual([]);
    expect(payloads(gateway.client(reading(11, 1), b))).toEqual([]); // behind its own
    trunk(gateway).down();
    expect(payloads(trunk(gateway).up(true, { ...noLimits, exactlyOnceMaximum: 1 }))).toEqual(["1", "2"]);
    expect(payloads(trunk(gateway).acks("pubrec", packetId))).toEqual([]);
    expect(payloads(trunk(gateway).acks("pubcomp", packetId))).toEqual(["10", "11"]);
  });

  test("QoS 1 is acknowledged by the broker's acknowledgement", () => {
    const gateway = connected(bench(), a);
    const { packetId } = gateway.client(reading(1), a).gets().effect("publish");
    trunk(gateway).acks("puback", packetId).gets("PUBACK");
  });

  test("QoS 2: the broker's leg does not wait for the client's PUBREL; a late copy is none [i32] [6.6]", () => {
    const gateway = connected(bench(), a);
    const { packetId } = gateway.client(reading(1, 2), a).gets().effect("publish");
    trunk(gateway).acks("pubrec", packetId).gets("PUBREC").asks("release");
    trunk(gateway).acks("pubcomp", packetId).gets();
    gateway
      .client({ ...reading(1, 2), dup: true } as never, a)
      .gets("PUBREC")
      .asks();
    gateway.client({ type: "PUBREL", msgId: 1 }, a).gets("PUBCOMP").asks();
    gateway
      .client({ ...reading(1, 2), dup: true } as never, a)
      .gets("PUBREC")
      .asks();
  });

  test("while the broker is away clients stay, and hear 'congestion' [i31] [4.2]", () => {
    const gateway = connected(bench(), a);
    trunk(gateway).down().gets();
    expect(gateway.client(reading(1), a).message("PUBACK").returnCode).toBe(1);
    expect(gateway.client(connect({ clientId: "b" }), b).message("CONNACK").returnCode).toBe(1);
    expect(gateway.client(subscribe("ab"), a).message("SUBACK").returnCode).toBe(1);
    trunk(gateway).up(true);
    gateway.client(reading(2), a).asks("publish");
  });

  test("where the policy says so they are stored, and sent when it is back", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    trunk(gateway).down();
    expect(gateway.client(reading(1), a).message("PUBACK").returnCode).toBe(0);
    gateway.client(connect({ clientId: "b" }), b).gets("CONNACK");
    gateway.client(subscribe("ab"), b).gets("SUBACK").asks();
    trunk(gateway).up(true).asks("subscribe");
    expect(gateway.after(100).effect("fetch").clientId).toBe("a");
  });

  test("an UNSUBSCRIBE that was answered meanwhile is not answered again by the broker, nor ends what came after it", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    const { packetId } = gateway.client(subscribe("ab"), a).effect("subscribe");
    trunk(gateway).acks("suback", packetId, 1);
    const unsubscribe = { type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 2, topic: "ab" } as const;
    const asked = gateway.client(unsubscribe, a).effect("unsubscribe");
    trunk(gateway).down().gets("UNSUBACK");
    gateway.client(subscribe("ab", 1, 3), a).gets("SUBACK");
    trunk(gateway).up(true);
    trunk(gateway).acks("unsuback", asked.packetId).gets();
    expect(gateway.core.session("a")?.view.subscriptions).toBe(1);
  });

  test("QoS 2 does not pass a stored one of QoS 1 that is on its way: a crash would turn them round", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    trunk(gateway).down();
    gateway.client(reading(1), a);
    trunk(gateway).up(true);
    gateway.after(100);
    const publication = { topicName: "ab", payload: octets("1"), qos: 1 as const, retain: false };
    gateway.input({ kind: "fetched", clientId: "a", entries: [[1, { publication, at: 0 }]] });
    const { packetId } = gateway.after(100).effect("publish");
    const second = gateway.client(reading(2, 2), a); // PUBREC by us, it waits on disk
    expect(payloads(second)).toEqual([]);
    second.gets("PUBREC");
    trunk(gateway).acks("puback", packetId);
    expect(gateway.after(100).effect("fetch").clientId).toBe("a");
  });

  test("what could not be stored after all is not sent, though the disk had it for a moment", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    trunk(gateway).down();
    const [first, second] = [1, 2].map((msgId) => gateway.client(reading(msgId, 2), a).effect("persist").token);
    gateway.input({ kind: "persisted", token: first ?? 0 });
    gateway.input({ kind: "persistFailed", token: second ?? 0, reason: "full" }); // the client says it again
    gateway.input({ kind: "persisted", token: (second ?? 0) + 1 }); // what the failed one owed went with this one
    trunk(gateway).up(true);
    gateway.after(100).asks("fetch");
    const record = (n: number) => {
      const publication = { topicName: "ab", payload: octets(`${n}`), qos: 2 as const, retain: false };
      return [n, { publication, at: 0 }] as const;
    };
    gateway.input({ kind: "fetched", clientId: "a", entries: [record(1), record(2)] });
    const { packetId } = gateway.after(100).effect("publish");
    trunk(gateway).acks("pubrec", packetId);
    expect(payloads(trunk(gateway).acks("pubcomp", packetId))).toEqual([]);
    expect(payloads(gateway.after(1_000))).toEqual([]);
    expect(payloads(gateway.client(reading(2, 2), a))).toEqual(["2"]);
  });

  test("a cut: what was sent is sent again with DUP under its id, and answered", () => {
    const gateway = connected(bench(), a, b);
    const { packetId } = gateway.client(reading(1), a).effect("publish");
    trunk(gateway).down();
    expect(trunk(gateway).up(true).effect("publish")).toMatchObject({ packetId, dup: true });
    trunk(gateway).acks("puback", packetId).gets("PUBACK");
  });

  test("a session that is present after an attempt without an answer may be a new one: subscribed again [i38]", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab");
    trunk(gateway).down();
    trunk(gateway).up(true).asks();
    trunk(gateway).down();
    trunk(gateway).down(); // the broker may have had this CONNECT, and forgotten us
    expect(trunk(gateway).up(true).effect("subscribe")).toMatchObject({ topicFilter: "ab", withoutRetained: true });
  });

  test("a broker that forgot: subscribed again, and QoS 2 is uncertain", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab");
    gateway.client(reading(1, 2), a);
    trunk(gateway).down();
    const turn = trunk(gateway).up(false).asks("subscribe", "publish");
    expect(turn.events.filter(({ event }) => event === "qos2_uncertain")).toHaveLength(1);
  });
});

describe("wills [4.2]", () => {
  const willing = (gateway: Bench) => {
    gateway.client(connect({ clientId: "a", will: true }), a).gets("WILLTOPICREQ");
    gateway.client({ type: "WILLTOPIC", willTopic: "w", qos: 1, retain: false }, a).gets("WILLMSGREQ");
    gateway
      .client({ type: "WILLMSG", willMsg: octets("gone") }, a)
      .gets("CONNACK")
      .asks();
    return gateway;
  };

  test("published by the gateway when the client is lost, once; others notice nothing", () => {
    const gateway = connected(willing(bench()), b);
    gateway.client({ type: "PINGREQ", clientId: "" }, b);
    const { packetId, publication } = gateway.after(90_000).effect("publish");
    expect(publication).toMatchObject({ topicName: "w", qos: 1 });
    trunk(gateway).acks("puback", packetId).asks();
    gateway.client({ type: "PINGREQ", clientId: "" }, b);
  });

  test("never after a goodbye", () => {
    const gateway = willing(bench());
    gateway.client(disconnect, a).asks();
    gateway.after(200_000).asks();
  });

  test("lost while the broker is away: published when it is back [i31] [4.2]", () => {
    const gateway = willing(bench());
    trunk(gateway).down();
    gateway.after(90_000).asks();
    trunk(gateway).up(true).asks("publish");
  });
});

describe("a later life [4.2]", () => {
  /** What a store keeps of a gateway's life. */
  function kept(turns: readonly Turn[]): StoredState[] {
    const table = new StateTable();
    for (const { effects } of turns)
      for (const effect of effects)
        if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
    return [...table.states()];
  }

  function life(): StoredState[] {
    const gateway = new Bench({ durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const turns = [gateway.link("gateway").up()];
    turns.push(gateway.client(connect({ clientId: "a", cleanSession: false }), a));
    const { packetId } = gateway.client(subscribe("ab", 2), a).effect("subscribe");
    turns.push(trunk(gateway).acks("suback", packetId, 2));
    turns.push(gateway.client(sleep(600), a));
    turns.push(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 8 }));
    return kept(turns);
  }

  function restored(
    states: StoredState[],
    upstream: Partial<CoreOptions["upstream"]> = { mode: "aggregating" },
  ): Bench {
    return new Bench({ durable: true, upstream: { ...testOptions.upstream, ...upstream } }, states);
  }

  test("goes on with the session at the broker: nothing is subscribed again, nothing taken twice", () => {
    const gateway = restored(life());
    expect(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 8, dup: true }).effect("ackBroker").ack).toBe(
      "pubrec",
    );
    trunk(gateway).releases(8).asks("ackBroker");
    expect(trunk(gateway).delivers({ topicName: "ab", qos: 1, packetId: 9 }).effect("persist").changes).toHaveLength(1);
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(2);
  });

  test("a SUBACK to a session that has ended meanwhile changes nothing of the new one", () => {
    const gateway = new Bench({ durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const turns = [gateway.link("gateway").up()];
    turns.push(gateway.client(connect({ clientId: "a" }), a));
    const { packetId } = gateway.client(subscribe("ab", 1), a).effect("subscribe");
    turns.push(gateway.client(connect({ clientId: "a" }), a));
    turns.push(trunk(gateway).acks("suback", packetId, 1).gets());
    expect(
      kept(turns)
        .map(({ session }) => session)
        .filter(({ clientId }) => clientId === "a"),
    ).toMatchObject([{ peer: a, subscriptions: [] }]);
  });

  test("a client whose rules have changed is subscribed where it is now, and keeps what waits for it", () => {
    const gateway = restored(life(), { mode: "transparent" });
    gateway.link("gateway").acks("unsuback", 1); // what is there is left first: leaving.test.ts
    expect(gateway.link("a").up(true).effect("subscribe").topicFilter).toBe("ab");
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(1);
  });
});

describe("a delivery that comes again after a cut [4.2]", () => {
  test("QoS 1: known by id and content, not passed on again; the id may mean a new message", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 1);
    const message = { topicName: "ab", qos: 1, packetId: 5 } as const;
    expect(receivers(trunk(gateway).delivers(message))).toEqual(["a1"]);
    trunk(gateway).down();
    trunk(gateway).up(true);
    const again = trunk(gateway)
      .delivers({ ...message, dup: true })
      .gets();
    expect(again.effect("ackBroker")).toMatchObject({ ack: "puback", packetId: 5 });
    trunk(gateway).delivers({ ...message, payload: octets("new"), dup: true });
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(2);
  });

  test("nobody gets it twice at QoS 0, also when it is not remembered", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab", 0, 2);
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 6, dup: true }))).toEqual([]);
    expect(receivers(trunk(gateway).delivers({ topicName: "ab", qos: 2, packetId: 7 }))).toEqual(["a0"]);
  });
});
