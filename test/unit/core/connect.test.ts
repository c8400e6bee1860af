import { describe, expect, test } from "vitest";
import {
  Bench,
  connect,
  disconnect,
  elsewhere,
  here,
  octets,
  ping,
  publish,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";

const willTopic = { type: "WILLTOPIC", qos: 1, retain: true, willTopic: "w" } as const;
const willMsg = { type: "WILLMSG", willMsg: octets("gone") } as const;

describe("set-up [6.2]", () => {
  test("CONNACK follows the broker's", () => {
    const bench = new Bench();
    bench.client(connect()).gets().asks("openLink");
    expect(bench.link().up().gets("CONNACK").states).toEqual(["active"]);
    bench.client(ping).gets("PINGRESP");
  });

  test("the will dialogue comes before the broker, and the broker gets the will", () => {
    const bench = new Bench();
    bench
      .client(connect({ will: true }))
      .gets("WILLTOPICREQ")
      .asks();
    bench.client(willTopic).gets("WILLMSGREQ").asks();
    const { link } = bench.client(willMsg).gets().asks("openLink").effect("openLink");
    expect(link.will).toEqual({ topicName: "w", payload: octets("gone"), qos: 1, retain: true });
    bench.link().up().gets("CONNACK");
  });

  test("every step repeated gets its answer again, and nothing else happens", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.client(connect({ will: true })).gets("WILLTOPICREQ");
    bench.client(willTopic);
    bench.client(willTopic).gets("WILLMSGREQ");
    bench.client(willMsg).asks("openLink");
    bench.client(willMsg).gets().asks();
    bench.link().up();
    bench.client(willMsg).gets("CONNACK").asks();
  });

  test("an empty WILLTOPIC skips WILLMSGREQ", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.client({ type: "WILLTOPIC", qos: 0, retain: false, willTopic: undefined }).gets().asks("openLink");
    expect(bench.link().up().gets("CONNACK")).toBeDefined();
  });

  test("WILLMSG before WILLTOPIC does not complete the dialogue", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.client(willMsg).gets().asks();
  });

  test.each([
    ["wildcard", { ...willTopic, willTopic: "w/#" }],
    ["QoS -1", { ...willTopic, qos: -1 as const }],
    ["flags without a topic", { ...willTopic, willTopic: "" }],
  ])("will topic refused: %s", (_name, message) => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    expect(bench.client(message).message("CONNACK").returnCode).toBe(3);
    expect(bench.core.sizes.pendingConnects).toBe(0);
  });

  test("a half-open set-up is forgotten without a word", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.after(40_000).gets();
    expect(bench.core.sizes).toMatchObject({ pendingConnects: 0, sessions: 0 });
  });

  test.each([
    ["protocol id", connect({ protocolId: 2 })],
    ["empty client id", connect({ clientId: "" })],
    ["client id with U+0000", connect({ clientId: "a\0" })],
    ["client id not UTF-8", connect({ clientId: Uint8Array.of(0xc3, 0x28) })],
    ["client id too long", connect({ clientId: "x".repeat(65) })],
  ])("refused with 'not supported': %s [i1] [5.3.1]", (_name, message) => {
    expect(new Bench().client(message).asks().message("CONNACK").returnCode).toBe(3);
  });

  test.each([
    ["congestion", 1],
    ["notSupported", 3],
  ] as const)("the broker's %s becomes CONNACK %i, and nothing is left", (refusal, returnCode) => {
    const bench = new Bench();
    bench.client(connect());
    expect(bench.link().refused(refusal).message("CONNACK").returnCode).toBe(returnCode);
    expect(bench.core.sizes).toMatchObject({ pendingConnects: 0, sessions: 0, links: 1 });
  });

  test("no broker: congestion", () => {
    const bench = new Bench();
    bench.client(connect());
    expect(bench.link().down().message("CONNACK").returnCode).toBe(1);
  });

  test("beyond the limit of new sessions per host: congestion, without a connection", () => {
    const bench = new Bench({ clients: { newPerSecondPerHostMax: 2 } });
    bench.client(connect({ clientId: "a" }), "udp/192.0.2.1:1").asks("openLink");
    bench.client(connect({ clientId: "b" }), "udp/192.0.2.1:2").asks("openLink");
    expect(
      bench
        .client(connect({ clientId: "c" }), "udp/192.0.2.1:3")
        .asks()
        .message("CONNACK").returnCode,
    ).toBe(1);
    bench.client(connect({ clientId: "d" }), "udp/192.0.2.2:1").asks("openLink");
    bench.after(1_000);
    bench.client(connect({ clientId: "c" }), "udp/192.0.2.1:3").asks("openLink");
  });

  test("at the limit of sessions the longest disconnected one makes room; if there is none, congestion", () => {
    const bench = new Bench({ clients: { sessionsMax: 2 } });
    bench.connected({ clientId: "a", cleanSession: false }, "udp/192.0.2.1:1");
    bench.connected({ clientId: "b", cleanSession: false }, "udp/192.0.2.1:2");
    expect(bench.client(connect({ clientId: "c" }), "udp/192.0.2.1:3").message("CONNACK").returnCode).toBe(1);
    bench.client(disconnect, "udp/192.0.2.1:1");
    bench.client(connect({ clientId: "c" }), "udp/192.0.2.1:3").asks("openLink");
    expect([...bench.core.sessions()].map((s) => s.clientId).sort()).toEqual(["b", "c"]);
  });
});

describe("a CONNECT always wins [i5] [6.2]", () => {
  test("an identical CONNECT gets CONNACK again; the broker hears nothing", () => {
    const bench = new Bench().connected();
    bench.client(connect()).gets("CONNACK").asks();
  });

  test("after other traffic the same CONNECT starts anew", () => {
    const bench = new Bench().connected();
    bench.client(ping);
    bench.client(connect()).gets().asks("closeLink", "openLink");
  });

  test("from another address: the old one is told, the new one served", () => {
    const bench = new Bench().connected();
    const turn = bench.client(connect(), elsewhere);
    expect(turn.effects.filter((e) => e.kind === "send").map((e) => e.to)).toEqual([here]);
    bench.link().up().gets("CONNACK");
    bench.client(ping, elsewhere).gets("PINGRESP");
    bench.client(ping, here).gets(); // no more than one DISCONNECT a second
  });

  test("another id at the same address: the first client is lost, and the address hears nothing of it", () => {
    const bench = new Bench().connected();
    const turn = bench.client(connect({ clientId: "c2" })).gets();
    expect(turn.states).toEqual(["lost"]);
    expect(turn.effect("closeLink").how).toBe("abandon");
  });

  test("a sleeper whose address went to another client sleeps on", () => {
    const bench = new Bench().connected({ cleanSession: false });
    bench.client({ type: "DISCONNECT", duration: 300 });
    bench.client(connect({ clientId: "c2" })).asks("openLink");
    expect([...bench.core.sessions()].find((s) => s.clientId === "c1")).toMatchObject({
      state: "asleep",
      peer: undefined,
    });
    bench.client({ type: "PINGREQ", clientId: "c1" }, elsewhere).gets("PINGRESP");
  });

  test("clean session while active: the broker publishes the old will", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.client(willTopic);
    bench.client(willMsg);
    bench.link().up();
    bench.client(ping);
    expect(bench.client(connect()).effect("closeLink")).toMatchObject({ how: "abandon", endSession: true });
  });

  test("clean session ends the old one: topic ids and subscriptions are gone", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("a");
    const id = bench.registered("b");
    bench.client(disconnect);
    bench.connected({ cleanSession: true });
    expect(bench.client(publish({ topicId: id })).message("PUBACK").returnCode).toBe(2);
    expect([...bench.core.sessions()][0]).toMatchObject({ subscriptions: 0, topics: 0 });
  });

  test("without clean session old ids are good at once, and the stored will is armed again [6.3] [i24] [6.12]", () => {
    const bench = new Bench();
    bench.client(connect({ will: true, cleanSession: false }));
    bench.client(willTopic);
    bench.client(willMsg);
    bench.link().up();
    const id = bench.registered("b");
    bench.client(disconnect);
    expect(bench.client(connect({ cleanSession: false })).effect("openLink").link.will?.topicName).toBe("w");
    bench.link().up(true);
    bench.client(publish({ topicId: id })).asks("publish");
  });

  test("a session that the broker forgot is subscribed again", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("a/+", 2);
    bench.client(disconnect);
    bench.client(connect({ cleanSession: false }));
    const again = bench.link().up(false).effect("subscribe");
    expect(again).toMatchObject({ topicFilter: "a/+", qos: 2 });
    bench.link().acks("suback", again.packetId, 2).gets();
    bench.client(disconnect);
    bench.client(connect({ cleanSession: false }));
    bench.link().up(true).asks();
  });
});

test("a session that is present after an attempt without an answer may be a new one: subscribed again, once [i38]", () => {
  const bench = new Bench().connected({ cleanSession: false }).subscribed("a/+", 2);
  bench.client(sleep(600));
  bench.link().down();
  bench.link().up(true).asks();
  bench.link().down();
  bench.link().down(); // the broker may have had this CONNECT, and forgotten us
  const again = bench.link().up(true).effect("subscribe");
  expect(again).toMatchObject({ topicFilter: "a/+", qos: 2, withoutRetained: true });
  bench.link().down();
  bench.link().down();
  // Unanswered, it is asked once more, not twice; it is retained that the client has.
  expect(
    bench
      .link()
      .up(true)
      .effects.filter(({ kind }) => kind === "subscribe"),
  ).toHaveLength(1);
});

test("the same after an attempt that we gave up ourselves", () => {
  const bench = new Bench().connected({ cleanSession: false }).subscribed("a/+", 2);
  bench.client(disconnect);
  bench.client(connect({ cleanSession: false })).asks("openLink");
  bench.client(disconnect).asks("closeLink"); // its CONNACK, that there is no session, does not arrive
  bench.client(connect({ cleanSession: false })).asks("openLink");
  expect(bench.link().up(true).effect("subscribe").topicFilter).toBe("a/+");
});

describe("strangers [i2] [5.4.21] [i10] [6.12]", () => {
  test("one DISCONNECT a second, and no state", () => {
    const bench = new Bench();
    bench.client(publish({})).gets("DISCONNECT");
    bench.client(publish({})).gets();
    bench.after(1_000);
    bench.client(publish({})).gets("DISCONNECT");
    expect(bench.core.sizes).toMatchObject({ sessions: 0, pendingConnects: 0 });
  });

  test.each(["07 0d 0001 0001 00", "04 0f 0001", "04 0e 0001", "02 17", "03 05 00", "02 06"])(
    "no answer to %s",
    (hex) => {
      new Bench().datagram(hex.replaceAll(" ", "")).gets();
    },
  );

  test("QoS -1 to a short name is published and not answered [6.8]", () => {
    const bench = new Bench();
    const turn = bench.datagram("0b0c6261620000" + "32312e35").gets();
    expect(turn.effect("publish").publication).toMatchObject({ topicName: "ab", qos: 0 });
    expect(bench.core.sizes.sessions).toBe(0);
  });

  test("QoS -1 to an unknown predefined id is counted [6.8]", () => {
    expect(new Bench().datagram("0b0c6100010000" + "32312e35").gets().drops).toEqual(["qos-minus-one-topic"]);
  });

  test("SEARCHGW gets GWINFO", () => {
    expect(new Bench().client({ type: "SEARCHGW", radius: 1 }).message("GWINFO").gwId).toBe(1);
  });

  test("a node behind a forwarder is a client of its own, answered through the forwarder", () => {
    const bench = new Bench();
    bench.datagram("05fe001234" + "0804040100" + "3c6331"); // CONNECT c1
    const [send] = bench
      .link()
      .up()
      .effects.filter((e) => e.kind === "send");
    expect(send).toMatchObject({ to: `${here}#1234`, message: { type: "CONNACK" } });
  });
});

describe("a late copy of a CONNECT with will: the session that goes on, of a client that talks on [6.2] [6.3]", () => {
  const withWill = connect({ will: true, cleanSession: false });

  /** Connected with a will, and it has said something since: then the copy comes. */
  function copied(): Bench {
    const bench = new Bench();
    bench.client(withWill).gets("WILLTOPICREQ");
    bench.client(willTopic).gets("WILLMSGREQ");
    bench.client(willMsg);
    bench.link().up().gets("CONNACK");
    bench.subscribed("t");
    bench.client(publish({ topicIdType: "short", topicId: 0x6162, msgId: 7 })).asks("publish");
    bench.client(withWill).gets("WILLTOPICREQ");
    return bench;
  }

  test.each([
    [1, "puback", "PUBACK"],
    [2, "pubrec", "PUBREC"],
  ] as const)("what it publishes at QoS %i is answered", (qos, ack, answer) => {
    const bench = copied();
    const { packetId } = bench
      .client(publish({ topicIdType: "short", topicId: 0x6162, msgId: 8, qos }))
      .effect("publish");
    bench.link().acks(ack, packetId).gets(answer);
  });

  test("what it subscribes to and unsubscribes from is answered", () => {
    const bench = copied();
    const { packetId } = bench.client(subscribe("x", 1, 9)).effect("subscribe");
    bench.link().acks("suback", packetId, 1).gets("SUBACK");
    const { packetId: end } = bench
      .client({ type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 10, topic: "x" })
      .effect("unsubscribe");
    bench.link().acks("unsuback", end).gets("UNSUBACK");
  });

  test("what it asked for before the copy is answered when it repeats it", () => {
    const bench = copied();
    bench.client(publish({ topicIdType: "short", topicId: 0x6162, msgId: 7, dup: true })).gets();
    bench.link().acks("puback", 2).gets("PUBACK");
  });

  test("messages for it go on when it says something after T_retry", () => {
    const bench = copied();
    bench.link().delivers({}).gets();
    bench.client(ping).gets("PINGRESP");
    bench.after(10_000).gets();
    bench.client(ping).gets("PINGRESP", "PUBLISH");
  });

  test("a sleeper is handed over what waits when it asks after T_retry", () => {
    const bench = copied();
    bench.client(ping);
    bench.after(50_000);
    bench.client(sleep(600)).gets("DISCONNECT");
    bench.client(withWill).gets("WILLTOPICREQ");
    bench.link().delivers({});
    bench.client(wake()).gets();
    bench.after(10_000).gets();
    bench.client(wake()).gets("PUBLISH");
  });

  test("one that has begun anew hears nothing of before, and its dialogue goes on", () => {
    const bench = copied();
    bench.link().delivers({}).gets();
    bench.link().acks("puback", 2).gets();
    bench.after(9_000);
    bench.client(willTopic).gets("WILLMSGREQ");
    bench.after(9_000);
    bench.client(willMsg).gets("CONNACK", "REGISTER");
  });
});
