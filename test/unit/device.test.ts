import { describe, expect, test } from "vitest";
import { Device, type DeviceEvent } from "../../src/device/device.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";

const octets = (text: string) => new TextEncoder().encode(text);

/** A device, and the gateway that answers it step by step. */
class Exchange {
  readonly device = new Device({ clientId: "c1", retryMs: 1_000, retryLimit: 2 });
  now = 0;
  events: DeviceEvent[] = [];

  does(what: (device: Device, now: number) => void): Message[] {
    what(this.device, this.now);
    const sent: Message[] = [];
    for (const output of this.device.take()) {
      if (output.kind === "event") this.events.push(output.event);
      else {
        const decoded = decode(output.bytes);
        if (decoded.ok) sent.push(decoded.message);
      }
    }
    return sent;
  }

  hears(message: Message): Message[] {
    return this.does((device, now) => device.receive(encode(message), now));
  }

  after(ms: number): Message[] {
    this.now += ms;
    return this.does((device, now) => device.timeout(now));
  }

  connected(): this {
    this.does((device, now) => device.connect({ clean: true, keepAliveSeconds: 60 }, now));
    this.hears({ type: "CONNACK", returnCode: 0 });
    this.events = [];
    return this;
  }

  get told(): string[] {
    return this.events.splice(0).map(({ event }) => event);
  }
}

const types = (messages: Message[]) => messages.map(({ type }) => type);
const toTopic = (qos: 0 | 1 | 2) => ({ topic: { by: "name", topicName: "t" } as const, payload: octets("x"), qos });

describe("a device", () => {
  test("goes through the will dialogue", () => {
    const exchange = new Exchange();
    const will = { topicName: "w", payload: octets("gone"), qos: 1, retain: true } as const;
    expect(exchange.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60, will }, now))).toMatchObject([
      { type: "CONNECT", will: true },
    ]);
    expect(exchange.hears({ type: "WILLTOPICREQ" })).toMatchObject([
      { type: "WILLTOPIC", willTopic: "w", qos: 1, retain: true },
    ]);
    expect(types(exchange.hears({ type: "WILLMSGREQ" }))).toEqual(["WILLMSG"]);
    exchange.hears({ type: "CONNACK", returnCode: 0 });
    expect(exchange.told).toEqual(["connected"]);
  });

  test("repeats what is not answered, then gives up", () => {
    const exchange = new Exchange();
    exchange.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60 }, now));
    expect([types(exchange.after(1_000)), types(exchange.after(1_000)), types(exchange.after(1_000))]).toEqual([
      ["CONNECT"],
      ["CONNECT"],
      [],
    ]);
    expect(exchange.told).toEqual(["failed", "disconnected"]);
    expect(exchange.device.nextDeadline()).toBeUndefined();
  });

  test("registers before it publishes, and repeats with DUP", () => {
    const exchange = new Exchange().connected();
    expect(exchange.does((d, now) => void d.publish(toTopic(1), now))).toMatchObject([
      { type: "REGISTER", topicName: "t", msgId: 1 },
    ]);
    const [first] = exchange.hears({ type: "REGACK", topicId: 7, msgId: 1, returnCode: 0 });
    expect(first).toMatchObject({ type: "PUBLISH", topicId: 7, qos: 1, dup: false });
    expect(exchange.after(1_000)).toMatchObject([{ ...first, dup: true }]);
    exchange.hears({ type: "PUBACK", topicId: 7, msgId: 2, returnCode: 0 });
    expect(exchange.told).toEqual(["published"]);
  });

  test("QoS 2 goes PUBREC, PUBREL, PUBCOMP; a lost PUBCOMP brings PUBREL again", () => {
    const exchange = new Exchange().connected();
    exchange.does((d, now) => void d.publish({ ...toTopic(2), topic: { by: "short", topicName: "ab" } }, now));
    expect(exchange.hears({ type: "PUBREC", msgId: 1 })).toEqual([{ type: "PUBREL", msgId: 1 }]);
    expect(exchange.after(1_000)).toEqual([{ type: "PUBREL", msgId: 1 }]);
    exchange.hears({ type: "PUBCOMP", msgId: 1 });
    expect(exchange.told).toEqual(["published"]);
  });

  test("'invalid topic id': registers once more, then it is an error", () => {
    const exchange = new Exchange().connected();
    exchange.does((d, now) => void d.publish(toTopic(1), now));
    exchange.hears({ type: "REGACK", topicId: 7, msgId: 1, returnCode: 0 });
    expect(types(exchange.hears({ type: "PUBACK", topicId: 7, msgId: 2, returnCode: 2 }))).toEqual(["REGISTER"]);
    exchange.hears({ type: "REGACK", topicId: 8, msgId: 3, returnCode: 0 });
    exchange.hears({ type: "PUBACK", topicId: 8, msgId: 2, returnCode: 2 });
    expect(exchange.told).toEqual(["failed"]);
  });

  test("takes a QoS 2 message once, also when its repetition comes after its end", () => {
    const exchange = new Exchange().connected();
    const message: Message = {
      type: "PUBLISH",
      dup: false,
      qos: 2,
      retain: false,
      topicIdType: "short",
      topicId: 0x6162,
      msgId: 5,
      data: octets("x"),
    };
    expect(types(exchange.hears(message))).toEqual(["PUBREC"]);
    expect(types(exchange.hears({ ...message, dup: true }))).toEqual(["PUBREC"]);
    expect(types(exchange.hears({ type: "PUBREL", msgId: 5 }))).toEqual(["PUBCOMP"]);
    exchange.hears({ ...message, dup: true });
    expect(exchange.told).toEqual(["message"]);
    exchange.hears(message); // a new one under the same number
    expect(exchange.told).toEqual(["message"]);
  });

  test("a QoS 2 message with other contents is another one, whatever DUP says: the gateway may use a MsgId again", () => {
    const exchange = new Exchange().connected();
    const first: Message = {
      type: "PUBLISH",
      dup: false,
      qos: 2,
      retain: false,
      topicIdType: "short",
      topicId: 0x6162,
      msgId: 5,
      data: octets("x"),
    };
    exchange.hears(first);
    expect(exchange.told).toEqual(["message"]);
    // The gateway was started again, and knows nothing of it.
    expect(types(exchange.hears({ ...first, data: octets("y") }))).toEqual(["PUBREC"]);
    expect(exchange.told).toEqual(["message"]);
    exchange.hears({ type: "PUBREL", msgId: 5 });
    // Its first copy was lost.
    expect(types(exchange.hears({ ...first, dup: true, data: octets("z") }))).toEqual(["PUBREC"]);
    expect(exchange.told).toEqual(["message"]);
    exchange.hears({ ...first, dup: true, data: octets("z") });
    expect(exchange.told).toEqual([]);
  });

  test("answers REGISTER, and refuses what it cannot name", () => {
    const exchange = new Exchange().connected();
    const message: Message = {
      type: "PUBLISH",
      dup: false,
      qos: 1,
      retain: false,
      topicIdType: "normal",
      topicId: 9,
      msgId: 5,
      data: octets("x"),
    };
    expect(exchange.hears(message)).toMatchObject([{ type: "PUBACK", returnCode: 2 }]);
    expect(exchange.hears({ type: "REGISTER", topicId: 9, msgId: 4, topicName: "t" })).toMatchObject([
      { type: "REGACK", topicId: 9, returnCode: 0 },
    ]);
    exchange.hears(message);
    expect(exchange.events).toMatchObject([{ event: "message", topicName: "t" }]);
  });

  test("a wake-up in which messages come is not given up: repetitions count from the last that was heard", () => {
    const exchange = new Exchange().connected();
    exchange.does((d, now) => d.sleep(60, now));
    exchange.hears({ type: "DISCONNECT", duration: undefined });
    exchange.does((d, now) => d.wake(now));
    for (let run = 0; run < 5; run++) {
      expect(types(exchange.after(1_000))).toEqual(["PINGREQ"]);
      expect(types(exchange.after(1_000))).toEqual(["PINGREQ"]);
      exchange.hears({ type: "REGISTER", topicId: 9, msgId: run + 1, topicName: "t" });
    }
    expect(exchange.device.state).toBe("awake");
    exchange.after(1_000);
    exchange.after(1_000);
    exchange.after(1_000);
    expect(exchange.device.state).toBe("disconnected");
  });

  test("sleeps silently, wakes with its id, and is asleep again after PINGRESP", () => {
    const exchange = new Exchange().connected();
    expect(exchange.does((d, now) => d.sleep(300, now))).toEqual([{ type: "DISCONNECT", duration: 300 }]);
    exchange.hears({ type: "DISCONNECT", duration: undefined });
    expect(exchange.after(200_000)).toEqual([]);
    expect(exchange.does((d, now) => d.wake(now))).toEqual([{ type: "PINGREQ", clientId: "c1" }]);
    exchange.hears({ type: "PINGRESP" });
    expect(exchange.told).toEqual(["asleep", "drained"]);
    expect(exchange.device.state).toBe("asleep");
  });

  test("the late answers to the copies of its sleep request end nothing, also when it has woken meanwhile; one more does", () => {
    const exchange = new Exchange().connected();
    const answer = { type: "DISCONNECT", duration: undefined } as const;
    exchange.does((d, now) => d.sleep(300, now));
    for (let copies = 0; copies < 2; copies++) exchange.after(1_000);
    exchange.hears(answer);
    exchange.hears(answer);
    expect(exchange.device.state).toBe("asleep");
    exchange.does((d, now) => d.wake(now));
    exchange.hears(answer);
    expect(exchange.device.state).toBe("awake");
    exchange.hears(answer);
    expect(exchange.told).toEqual(["asleep", "disconnected"]);
  });

  test("an answer long after its sleep request is no late one", () => {
    const exchange = new Exchange().connected();
    exchange.does((d, now) => d.sleep(300, now));
    exchange.after(1_000);
    exchange.hears({ type: "DISCONNECT", duration: undefined });
    exchange.after(10_000);
    exchange.hears({ type: "DISCONNECT", duration: undefined });
    expect(exchange.told).toEqual(["asleep", "disconnected"]);
  });

  test("pings within its keep alive", () => {
    const exchange = new Exchange().connected();
    expect(exchange.after(53_999)).toEqual([]);
    expect(exchange.after(1)).toEqual([{ type: "PINGREQ", clientId: "" }]);
  });

  test("a DISCONNECT that nobody asked for is told", () => {
    const exchange = new Exchange().connected();
    exchange.hears({ type: "DISCONNECT", duration: undefined });
    expect(exchange.events).toEqual([{ event: "disconnected", asked: false }]);
  });

  test("before CONNACK nothing is taken that is for its former self", () => {
    const exchange = new Exchange();
    exchange.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60 }, now));
    expect(
      exchange.hears({
        type: "PUBLISH",
        dup: true,
        qos: 2,
        retain: false,
        topicIdType: "short",
        topicId: 0x6162,
        msgId: 5,
        data: octets("x"),
      }),
    ).toEqual([]);
  });
});
