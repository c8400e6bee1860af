import { describe, expect, test } from "vitest";
import { noLimits } from "../../../src/core/types.ts";
import {
  Bench,
  connect,
  disconnect,
  octets,
  ping,
  pubAck,
  publish,
  regAck,
  register,
  sleep,
  subscribe,
} from "../../helpers/bench.ts";

describe("up [6.6]", () => {
  test("QoS 1: acknowledged when the broker has, with its own topic id, also two at a time", () => {
    const bench = new Bench().connected();
    const a = bench.registered("a");
    const b = bench.registered("b");
    const first = bench
      .client(publish({ topicId: a, msgId: 7 }))
      .gets()
      .effect("publish");
    const second = bench
      .client(publish({ topicId: b, msgId: 8 }))
      .gets()
      .effect("publish");
    expect(bench.link().acks("puback", second.packetId).message("PUBACK")).toMatchObject({
      topicId: b,
      msgId: 8,
      returnCode: 0,
    });
    expect(bench.link().acks("puback", first.packetId).message("PUBACK")).toMatchObject({
      topicId: a,
      msgId: 7,
      returnCode: 0,
    });
  });

  test("QoS 2: every step waits for the broker's; a repetition is not published again [i14] [6.6]", () => {
    const bench = new Bench().connected();
    const topicId = bench.registered("a");
    const message = publish({ topicId, qos: 2, msgId: 9 });
    const { packetId } = bench.client(message).effect("publish");
    bench
      .client({ ...message, dup: true } as typeof message)
      .gets()
      .asks();
    bench.link().acks("pubrec", packetId).gets("PUBREC").asks();
    bench.client(message).gets("PUBREC").asks(); // for any value of DUP
    bench.client({ type: "PUBREL", msgId: 9 }).gets().asks("release");
    bench.link().acks("pubcomp", packetId).gets("PUBCOMP");
    bench.client({ type: "PUBREL", msgId: 9 }).gets("PUBCOMP").asks();
    bench
      .client({ ...message, dup: true } as typeof message)
      .gets("PUBREC")
      .asks(); // overtaken by its own end
    bench.client(message).asks("publish"); // without DUP: a new one
  });

  test("a late repetition of an acknowledged QoS 1 message is acknowledged, not published", () => {
    const bench = new Bench().connected();
    const topicId = bench.registered("a");
    const { packetId } = bench.client(publish({ topicId })).effect("publish");
    bench.link().acks("puback", packetId);
    bench
      .client(publish({ topicId, dup: true }))
      .gets("PUBACK")
      .asks();
    bench.client(publish({ topicId, dup: true, data: octets("other") })).asks("publish");
  });

  test.each([
    ["unknown id", publish({ topicId: 77 }), 2],
    ["reserved id", publish({ topicId: 0xffff }), 2],
    ["unknown predefined id", publish({ topicIdType: "predefined", topicId: 5 }), 2],
    ["wildcard as short name", publish({ topicIdType: "short", topicId: 0x612b }), 2],
    ["reserved type", publish({ topicIdType: "reserved" }), 3],
    ["unknown id at QoS 0", publish({ qos: 0, topicId: 77, msgId: 0 }), 2],
  ])("refused: %s", (_name, message, returnCode) => {
    const bench = new Bench().connected();
    expect(bench.client(message).asks().message("PUBACK").returnCode).toBe(returnCode);
  });

  test("QoS 1 with MsgId 0 is dropped [i7] [5.3.7]", () => {
    expect(
      new Bench()
        .connected()
        .client(publish({ msgId: 0 }))
        .gets().drops,
    ).toEqual(["message-id-zero"]);
  });

  test("more than the limit under way: congestion", () => {
    const bench = new Bench({ clients: { uplinkInFlightMax: 2 } }).connected();
    const topicId = bench.registered("a");
    bench.client(publish({ topicId, msgId: 1 })).asks("publish");
    bench.client(publish({ topicId, msgId: 2 })).asks("publish");
    expect(
      bench
        .client(publish({ topicId, msgId: 3 }))
        .asks()
        .message("PUBACK").returnCode,
    ).toBe(1);
  });

  test("the broker's window is kept, in order", () => {
    const bench = new Bench();
    bench.client(connect());
    bench.link().up(false, { ...noLimits, receiveMaximum: 1 });
    const topicId = bench.registered("a");
    const first = bench.client(publish({ topicId, msgId: 1 })).effect("publish");
    bench.client(publish({ topicId, msgId: 2 })).asks();
    expect(bench.link().acks("puback", first.packetId).gets("PUBACK").effect("publish").packetId).not.toBe(
      first.packetId,
    );
  });

  test("what the broker does not take is refused, not downgraded [i30]", () => {
    const bench = new Bench();
    bench.client(connect());
    bench
      .link()
      .up(false, { ...noLimits, receiveMaximum: 10, maximumQoS: 1, retainAvailable: false, maximumPacketBytes: 100 });
    const topicId = bench.registered("a");
    expect(bench.client(publish({ topicId, qos: 2 })).message("PUBACK").returnCode).toBe(3);
    expect(bench.client(publish({ topicId, retain: true })).message("PUBACK").returnCode).toBe(3);
    expect(bench.client(publish({ topicId, data: new Uint8Array(100) })).message("PUBACK").returnCode).toBe(3);
    bench.client(publish({ topicId })).asks("publish");
  });

  test.each([
    [0x97, 1],
    [0x87, 3],
    [0x80, 3],
    [0x10, 0],
  ])("the broker's reason 0x%i", (reason, returnCode) => {
    const bench = new Bench().connected();
    const topicId = bench.registered("a");
    const { packetId } = bench.client(publish({ topicId })).effect("publish");
    expect(bench.link().acks("puback", packetId, reason).message("PUBACK").returnCode).toBe(returnCode);
  });

  test("a cut with a QoS 2 message under way: resent under its packet id when the session is taken up", () => {
    const bench = new Bench().connected({ cleanSession: false });
    const topicId = bench.registered("a");
    const { packetId } = bench.client(publish({ topicId, qos: 2, msgId: 5 })).effect("publish");
    bench.link().down().gets("DISCONNECT");
    bench.client(connect({ cleanSession: false }));
    expect(bench.link().up(true).effect("publish")).toMatchObject({ packetId, dup: true });
    bench
      .client(publish({ topicId, qos: 2, msgId: 5, dup: true }))
      .gets()
      .asks();
    bench.link().acks("pubrec", packetId).gets("PUBREC");
  });

  test("after a reconnect the same MsgId without DUP is another message [i14a] [6.3]", () => {
    const bench = new Bench().connected({ cleanSession: false });
    const topicId = bench.registered("a");
    const first = bench.client(publish({ topicId, msgId: 5 })).effect("publish");
    bench.link().down();
    bench.client(connect({ cleanSession: false }));
    bench.link().up(true);
    const second = bench.client(publish({ topicId, msgId: 5, data: octets("new") })).effect("publish");
    expect(second.packetId).not.toBe(first.packetId);
    bench.link().acks("puback", first.packetId).gets(); // the old one belongs to no exchange now
    bench.link().acks("puback", second.packetId).gets("PUBACK");
  });
});

describe("down [6.10]", () => {
  test("a topic that the client subscribed by name goes under the id of SUBACK; acknowledged upward after the client", () => {
    const bench = new Bench().connected().subscribed("t");
    const published = bench.link().delivers({ packetId: 42 }).asks().message("PUBLISH");
    expect(bench.client(pubAck(published)).gets().effect("ackBroker")).toMatchObject({ ack: "puback", packetId: 42 });
  });

  test("a wildcard's topic is registered first; the next message needs no REGISTER", () => {
    const bench = new Bench().connected().subscribed("a/+");
    const registered = bench.link().delivers({ topicName: "a/b" }).gets("REGISTER").message("REGISTER");
    expect(registered.topicName).toBe("a/b");
    bench.link().delivers({ topicName: "a/b" }).gets();
    const first = bench.client(regAck(registered)).gets("PUBLISH").message("PUBLISH");
    expect(first.topicId).toBe(registered.topicId);
    bench.client(pubAck(first)).gets("PUBLISH");
  });

  test("two octets need no REGISTER", () => {
    const bench = new Bench().connected().subscribed("+", 0);
    expect(bench.link().delivers({ topicName: "xy", qos: 0 }).message("PUBLISH")).toMatchObject({
      topicIdType: "short",
      topicId: 0x7879,
    });
  });

  test("REGISTER refused: the message is given up, the broker released, the name not offered again [i12] [6.10]", () => {
    const bench = new Bench().connected().subscribed("a/+");
    const registered = bench.link().delivers({ topicName: "a/b" }).message("REGISTER");
    expect(bench.client(regAck(registered, 3)).gets().asks("ackBroker").drops).toEqual(["registration-refused"]);
    bench.link().delivers({ topicName: "a/b" }).gets().asks("ackBroker");
    bench.link().delivers({ topicName: "a/c" }).gets("REGISTER");
  });

  test("REGISTER refused for a name that was subscribed: unsubscribed at the broker [i12] [6.10]", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t");
    bench.client(disconnect);
    bench.connected({ cleanSession: false });
    const registered = bench.link().delivers({}).message("REGISTER");
    expect(bench.client(regAck(registered, 2)).effect("unsubscribe").topicFilter).toBe("t");
  });

  test("REGISTER unanswered: repeated, then the client is lost", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("a/+");
    bench.link().delivers({ topicName: "a/b" }).gets("REGISTER");
    bench.after(10_000).gets("REGISTER");
    bench.after(20_000).gets("REGISTER", "REGISTER");
    expect(bench.after(10_000).gets("DISCONNECT").states).toEqual(["lost"]);
  });

  test("QoS 1 unanswered is repeated with DUP and the same MsgId [i15] [5.4.12]", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t");
    const first = bench.link().delivers({}).message("PUBLISH");
    expect(bench.after(10_000).message("PUBLISH")).toEqual({ ...first, dup: true });
  });

  test("one in flight: the second waits for the first [i13] [6.6]", () => {
    const bench = new Bench().connected().subscribed("t");
    const first = bench.link().delivers({}).message("PUBLISH");
    bench.link().delivers({}).gets();
    const second = bench.client(pubAck(first)).message("PUBLISH");
    expect(second.msgId).not.toBe(first.msgId);
  });

  test("QoS 2: PUBREC to the broker at the client's; PUBREL is repeated; PUBREC again gets PUBREL again", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 2);
    const { msgId } = bench.link().delivers({ qos: 2, packetId: 5 }).message("PUBLISH");
    expect(bench.client({ type: "PUBREC", msgId }).gets("PUBREL").effect("ackBroker")).toMatchObject({
      ack: "pubrec",
      packetId: 5,
    });
    bench.client({ type: "PUBREC", msgId }).gets("PUBREL").asks();
    bench.after(10_000).gets("PUBREL");
    bench.client({ type: "PUBCOMP", msgId }).gets();
    expect(bench.link().releases(5).effect("ackBroker")).toMatchObject({ ack: "pubcomp", packetId: 5 });
  });

  test("the broker repeats a QoS 2 message over a new connection: acknowledged, not delivered twice", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t", 2);
    const { msgId } = bench.link().delivers({ qos: 2, packetId: 5 }).message("PUBLISH");
    bench.client({ type: "PUBREC", msgId });
    bench.client({ type: "PUBCOMP", msgId });
    bench.link().down();
    bench.client(connect({ cleanSession: false }));
    bench.link().up(true);
    expect(bench.link().delivers({ qos: 2, packetId: 5, dup: true }).gets().effect("ackBroker").ack).toBe("pubrec");
  });

  test("'invalid topic id' leads to one registration more, not to a loop [i29] [6.10]", () => {
    const bench = new Bench().connected().subscribed("t");
    bench.after(6_000); // right behind the SUBACK it would be sent once more first
    const first = bench.link().delivers({}).message("PUBLISH");
    const registered = bench.client(pubAck(first, 2)).gets("REGISTER").message("REGISTER");
    bench.client(pubAck(first, 2)).gets(); // a copy of the same refusal
    const again = bench.client(regAck(registered)).message("PUBLISH");
    expect(again).toEqual({ ...first, dup: true });
    bench.client(pubAck(again, 2)).gets().asks(); // may be a copy of the first refusal that came late
    const last = bench.after(1_000).message("PUBLISH");
    expect(last).toEqual(again);
    expect(bench.client(pubAck(last, 2)).gets().asks("ackBroker").drops).toEqual(["refused-by-client"]);
  });

  test("a copy of 'invalid topic id' that comes behind the repetition does not end the message [i29] [6.10]", () => {
    const bench = new Bench().connected().subscribed("t");
    bench.after(6_000);
    const first = bench.link().delivers({}).message("PUBLISH");
    const registered = bench.client(pubAck(first, 2)).message("REGISTER");
    const again = bench.client(regAck(registered)).message("PUBLISH");
    bench.client(pubAck(first, 2)).gets().asks(); // the network made it of the first
    expect(bench.client(pubAck(again, 0)).gets().asks("ackBroker").drops).toEqual([]);
    bench.after(60_000).gets();
  });

  test("refused while its name is being subscribed to: sent again once the id is told, a second copy of the refusal is none [i29] [6.10]", () => {
    const bench = new Bench().connected({ cleanSession: false, duration: 600 }).subscribed("t");
    bench.client(sleep(600));
    bench.link().delivers({});
    bench.client(connect({ cleanSession: false })).gets("CONNACK", "PUBLISH");
    const { packetId } = bench.client(subscribe("t", 1, 9)).effect("subscribe");
    const sent = bench.client(ping).gets("PINGRESP") && bench.after(10_000).message("PUBLISH");
    bench.client(pubAck(sent, 2)).gets();
    bench.link().acks("suback", packetId, 1).gets("SUBACK", "PUBLISH");
    bench.client(pubAck(sent, 2)).gets();
    const repeated = bench.after(10_000).message("PUBLISH");
    bench.client(pubAck(repeated, 2)).gets("REGISTER"); // refused indeed
  });

  test("a client that refuses DUP gets it once without [i23]", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t");
    bench.link().delivers({});
    const repeated = bench.after(10_000).message("PUBLISH");
    const plain = bench.client(pubAck(repeated, 3)).message("PUBLISH");
    expect(plain.dup).toBe(false);
    bench.client(pubAck(repeated, 3)).gets().asks(); // may be a copy of the first refusal that came late
    const last = bench.after(1_000).message("PUBLISH");
    expect(last).toEqual(plain);
    bench.client(pubAck(last, 3)).gets().asks("ackBroker");
  });

  test("'congestion' from the client: a pause, then the same message", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t");
    const first = bench.link().delivers({}).message("PUBLISH");
    bench.client(pubAck(first, 1)).gets().asks();
    bench.after(29_999).gets();
    expect(bench.after(1).message("PUBLISH").msgId).toBe(first.msgId);
  });

  test("too large for the link: dropped, counted, and the broker released [i16] [7.4]", () => {
    const bench = new Bench().connected().subscribed("t");
    expect(
      bench
        .link()
        .delivers({ payload: new Uint8Array(2_000) })
        .gets()
        .asks("ackBroker").drops,
    ).toEqual(["too-large-for-peer"]);
  });

  test("a message that comes before SUBACK waits for the id in it", () => {
    const bench = new Bench().connected();
    const { packetId } = bench
      .client({ type: "SUBSCRIBE", dup: false, qos: 1, topicIdType: "normal", msgId: 3, topic: "t" })
      .effect("subscribe");
    bench.link().delivers({ retain: true }).gets();
    bench.link().acks("suback", packetId, 1).gets("SUBACK", "PUBLISH");
  });

  test("after a reconnect every topic is registered again under its old id [i6] [6.5]", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t");
    const before = bench.client(register("t")).message("REGACK").topicId;
    bench.client(disconnect);
    bench.connected({ cleanSession: false });
    expect(bench.link().delivers({}).message("REGISTER")).toMatchObject({ topicId: before, topicName: "t" });
  });
});
