/** Clients that share one connection to the broker: what they say, their wills, and a later start of the gateway. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { noLimits, type PeerId } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { a, b, bench, c, connected, shared, subscribed } from "../../helpers/aggregating-bench.ts";
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
} from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

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

describe("publications of clients [4.2]", () => {
  const reading = (msgId: number, qos: 1 | 2 = 1) =>
    publish({ qos, msgId, topicIdType: "short", topicId: 0x6162, data: octets(`${msgId}`) });
  const payloads = (turn: Turn) =>
    turn.effects.flatMap((effect) =>
      effect.kind === "publish" ? [Buffer.from(effect.publication.payload).toString()] : [],
    );

  test("a client that floods leaves turns to the others", () => {
    const gateway = bench();
    shared(gateway).down();
    shared(gateway).up(true, { ...noLimits, receiveMaximum: 1 });
    connected(gateway, a, b);
    expect(payloads(gateway.client(reading(1), a))).toEqual(["1"]);
    for (let i = 2; i <= 6; i++) gateway.client(reading(i), a).asks();
    gateway.client(reading(100), b).asks();
    const sent: string[] = [];
    for (let id: number | undefined = 1; id !== undefined; ) {
      const turn = shared(gateway).acks("puback", id);
      sent.push(...payloads(turn));
      id = turn.effects.find((effect) => effect.kind === "publish")?.packetId;
    }
    expect(sent).toEqual(["2", "100", "3", "4", "5", "6"]);
  });

  test("no more at QoS 2 at a time than the broker takes; QoS 1 of others passes, each client's order stays, also over a cut", () => {
    const gateway = bench();
    shared(gateway).down();
    shared(gateway).up(true, { ...noLimits, exactlyOnceMaximum: 1 });
    connected(gateway, a, b);
    const { packetId } = gateway.client(reading(1, 2), a).effect("publish");
    gateway.client(reading(2, 1), a);
    expect(payloads(gateway.client(reading(10, 2), b))).toEqual([]);
    expect(payloads(gateway.client(reading(11, 1), b))).toEqual([]); // behind its own
    shared(gateway).down();
    expect(payloads(shared(gateway).up(true, { ...noLimits, exactlyOnceMaximum: 1 }))).toEqual(["1", "2"]);
    expect(payloads(shared(gateway).acks("pubrec", packetId))).toEqual([]);
    expect(payloads(shared(gateway).acks("pubcomp", packetId))).toEqual(["10", "11"]);
  });

  test("QoS 1 is acknowledged by the broker's acknowledgement", () => {
    const gateway = connected(bench(), a);
    const { packetId } = gateway.client(reading(1), a).gets().effect("publish");
    shared(gateway).acks("puback", packetId).gets("PUBACK");
  });

  test("QoS 2: the broker's leg does not wait for the client's PUBREL; a late copy is none [i32] [6.6]", () => {
    const gateway = connected(bench(), a);
    const { packetId } = gateway.client(reading(1, 2), a).gets().effect("publish");
    shared(gateway).acks("pubrec", packetId).gets("PUBREC").asks("release");
    shared(gateway).acks("pubcomp", packetId).gets();
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
    shared(gateway).down().gets();
    expect(gateway.client(reading(1), a).message("PUBACK").returnCode).toBe(1);
    expect(gateway.client(connect({ clientId: "b" }), b).message("CONNACK").returnCode).toBe(1);
    expect(gateway.client(subscribe("ab"), a).message("SUBACK").returnCode).toBe(1);
    shared(gateway).up(true);
    gateway.client(reading(2), a).asks("publish");
  });

  test("where the policy says so they are stored, and sent when it is back", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    shared(gateway).down();
    expect(gateway.client(reading(1), a).message("PUBACK").returnCode).toBe(0);
    gateway.client(connect({ clientId: "b" }), b).gets("CONNACK");
    gateway.client(subscribe("ab"), b).gets("SUBACK").asks();
    shared(gateway).up(true).asks("subscribe");
    expect(gateway.after(100).effect("fetch").clientId).toBe("a");
  });

  describe("a SUBSCRIBE before the first connection stands", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const starting = (over: Partial<CoreOptions["upstream"]> = {}) => {
      const upstream = { ...testOptions.upstream, mode: "aggregating" as const, ...over };
      const gateway = new Bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy }, upstream });
      gateway.client(connect({ clientId: "a" }), a).gets("CONNACK");
      gateway.client(subscribe("ab"), a).gets();
      return gateway;
    };

    test("is answered by the broker, which may refuse it", () => {
      const gateway = starting();
      const { packetId } = gateway.link("gateway").up().effect("subscribe");
      expect(gateway.link("gateway").acks("suback", packetId, 0x80).message("SUBACK").returnCode).toBe(3);
    });

    test("is granted at once when the attempt fails, and from then on", () => {
      const gateway = starting();
      expect(gateway.link("gateway").down().message("SUBACK").returnCode).toBe(0);
      expect(gateway.client(subscribe("cd", 1, 2), a).message("SUBACK").returnCode).toBe(0);
    });

    test("is granted after 5 s also where the connection that ended the old session stood, and the next one hangs", () => {
      const gateway = starting({ serviceClientId: "early" });
      gateway.link("early").up().asks("closeLink", "openLink");
      expect(gateway.after(5_000).message("SUBACK").returnCode).toBe(0);
    });

    test("is granted after 5 s in which nothing came of the attempt", () => {
      const gateway = starting();
      gateway.after(4_999).gets();
      expect(gateway.after(1).message("SUBACK").returnCode).toBe(0);
      expect(gateway.client(subscribe("cd", 1, 2), a).message("SUBACK").returnCode).toBe(0);
    });
  });

  test("an UNSUBSCRIBE that was answered meanwhile is not answered again by the broker, nor ends what came after it", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    const { packetId } = gateway.client(subscribe("ab"), a).effect("subscribe");
    shared(gateway).acks("suback", packetId, 1);
    const unsubscribe = { type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 2, topic: "ab" } as const;
    const asked = gateway.client(unsubscribe, a).effect("unsubscribe");
    shared(gateway).down().gets("UNSUBACK");
    gateway.client(subscribe("ab", 1, 3), a).gets("SUBACK");
    shared(gateway).up(true);
    shared(gateway).acks("unsuback", asked.packetId).gets();
    expect(gateway.core.session("a")?.view.subscriptions).toBe(1);
  });

  test("QoS 2 does not pass a stored one of QoS 1 that is on its way: a crash would turn them round", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    shared(gateway).down();
    gateway.client(reading(1), a);
    shared(gateway).up(true);
    gateway.after(100);
    const publication = { topicName: "ab", payload: octets("1"), qos: 1 as const, retain: false };
    gateway.input({ kind: "fetched", clientId: "a", entries: [[1, { publication, at: 0 }]] });
    const { packetId } = gateway.after(100).effect("publish");
    const second = gateway.client(reading(2, 2), a); // PUBREC by us, it waits on disk
    expect(payloads(second)).toEqual([]);
    second.gets("PUBREC");
    shared(gateway).acks("puback", packetId);
    expect(gateway.after(100).effect("fetch").clientId).toBe("a");
  });

  test("what could not be stored after all is not sent, though the disk had it for a moment", () => {
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const gateway = connected(bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } }), a);
    shared(gateway).down();
    const [first, second] = [1, 2].map((msgId) => gateway.client(reading(msgId, 2), a).effect("persist").token);
    gateway.input({ kind: "persisted", token: first ?? 0 });
    gateway.input({ kind: "persistFailed", token: second ?? 0, reason: "full" }); // the client says it again
    gateway.input({ kind: "persisted", token: (second ?? 0) + 1 }); // the changes of the failed commit were written with this one
    shared(gateway).up(true);
    gateway.after(100).asks("fetch");
    const record = (n: number) => {
      const publication = { topicName: "ab", payload: octets(`${n}`), qos: 2 as const, retain: false };
      return [n, { publication, at: 0 }] as const;
    };
    gateway.input({ kind: "fetched", clientId: "a", entries: [record(1), record(2)] });
    const { packetId } = gateway.after(100).effect("publish");
    shared(gateway).acks("pubrec", packetId);
    expect(payloads(shared(gateway).acks("pubcomp", packetId))).toEqual([]);
    expect(payloads(gateway.after(1_000))).toEqual([]);
    expect(payloads(gateway.client(reading(2, 2), a))).toEqual(["2"]);
  });

  test("a cut: what was sent is sent again with DUP under its id, and answered", () => {
    const gateway = connected(bench(), a, b);
    const { packetId } = gateway.client(reading(1), a).effect("publish");
    shared(gateway).down();
    expect(shared(gateway).up(true).effect("publish")).toMatchObject({ packetId, dup: true });
    shared(gateway).acks("puback", packetId).gets("PUBACK");
  });

  test("a session that is present after an attempt without an answer may be a new one: subscribed again [i38]", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab");
    shared(gateway).down();
    shared(gateway).up(true).asks();
    shared(gateway).down();
    shared(gateway).down(); // the broker may have had this CONNECT, and forgotten us
    expect(shared(gateway).up(true).effect("subscribe")).toMatchObject({ topicFilter: "ab", withoutRetained: true });
  });

  test("a broker that forgot: subscribed again, and QoS 2 is uncertain", () => {
    const gateway = connected(bench(), a);
    subscribed(gateway, a, "ab");
    gateway.client(reading(1, 2), a);
    shared(gateway).down();
    const turn = shared(gateway).up(false).asks("subscribe", "publish");
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
    shared(gateway).acks("puback", packetId).asks();
    gateway.client({ type: "PINGREQ", clientId: "" }, b);
  });

  test("never after a goodbye", () => {
    const gateway = willing(bench());
    gateway.client(disconnect, a).asks();
    gateway.after(200_000).asks();
  });

  test("lost while the broker is away: published when it is back [i31] [4.2]", () => {
    const gateway = willing(bench());
    shared(gateway).down();
    gateway.after(90_000).asks();
    shared(gateway).up(true).asks("publish");
  });

  test("sent, and not answered when the client is back and the broker away: it goes on, and nothing is dropped", () => {
    const gateway = willing(bench());
    gateway.after(90_000).asks("publish");
    shared(gateway).down();
    gateway.client(connect({ clientId: "a", will: true }), a);
    gateway.client({ type: "WILLTOPIC", willTopic: "w", qos: 1, retain: false }, a);
    const turn = gateway.client({ type: "WILLMSG", willMsg: octets("gone again") }, a).gets("CONNACK");
    expect(turn.events.filter(({ event }) => event === "drop")).toEqual([]);
    const { publication } = shared(gateway).up(true).effect("publish");
    expect(publication.payload).toEqual(octets("gone"));
  });
});

describe("a later run [4.2]", () => {
  /** What a store keeps of a gateway's run. */
  function kept(turns: readonly Turn[]): StoredState[] {
    const table = new StateTable();
    for (const { effects } of turns)
      for (const effect of effects)
        if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
    return [...table.states()];
  }

  function run(): StoredState[] {
    const gateway = new Bench({ durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const turns = [gateway.link("gateway").up()];
    turns.push(gateway.client(connect({ clientId: "a", cleanSession: false }), a));
    const { packetId } = gateway.client(subscribe("ab", 2), a).effect("subscribe");
    turns.push(shared(gateway).acks("suback", packetId, 2));
    turns.push(gateway.client(sleep(600), a));
    turns.push(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 8 }));
    return kept(turns);
  }

  function restored(
    states: StoredState[],
    upstream: Partial<CoreOptions["upstream"]> = { mode: "aggregating" },
  ): Bench {
    return new Bench({ durable: true, upstream: { ...testOptions.upstream, ...upstream } }, states);
  }

  test("goes on with the session at the broker: nothing is subscribed again, nothing taken twice", () => {
    const gateway = restored(run());
    expect(shared(gateway).delivers({ topicName: "ab", qos: 2, packetId: 8, dup: true }).effect("ackBroker").ack).toBe(
      "pubrec",
    );
    shared(gateway).releases(8).asks("ackBroker");
    expect(shared(gateway).delivers({ topicName: "ab", qos: 1, packetId: 9 }).effect("persist").changes).toHaveLength(
      1,
    );
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(2);
  });

  test("a SUBACK to a session that has ended meanwhile changes nothing of the new one", () => {
    const gateway = new Bench({ durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" } });
    const turns = [gateway.link("gateway").up()];
    turns.push(gateway.client(connect({ clientId: "a" }), a));
    const { packetId } = gateway.client(subscribe("ab", 1), a).effect("subscribe");
    turns.push(gateway.client(connect({ clientId: "a" }), a));
    turns.push(shared(gateway).acks("suback", packetId, 1).gets());
    expect(
      kept(turns)
        .map(({ session }) => session)
        .filter(({ clientId }) => clientId === "a"),
    ).toMatchObject([{ peer: a, subscriptions: [] }]);
  });

  test("a client whose rules have changed is subscribed where it is now, and keeps what waits for it", () => {
    const gateway = restored(run(), { mode: "transparent" });
    gateway.link("gateway").acks("unsuback", 1); // what is there is left first: leaving.test.ts
    expect(gateway.link("a").up(true).effect("subscribe").topicFilter).toBe("ab");
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(1);
  });
});
