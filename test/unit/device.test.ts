import { describe, expect, test } from "vitest";
import { Device, type DeviceEvent } from "../../src/device/device.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";

const octets = (text: string) => new TextEncoder().encode(text);

/** A device and the other end of its ladder. */
class Ladder {
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
    const ladder = new Ladder();
    const will = { topicName: "w", payload: octets("gone"), qos: 1, retain: true } as const;
    expect(ladder.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60, will }, now))).toMatchObject([
      { type: "CONNECT", will: true },
    ]);
    expect(ladder.hears({ type: "WILLTOPICREQ" })).toMatchObject([
      { type: "WILLTOPIC", willTopic: "w", qos: 1, retain: true },
    ]);
    expect(types(ladder.hears({ type: "WILLMSGREQ" }))).toEqual(["WILLMSG"]);
    ladder.hears({ type: "CONNACK", returnCode: 0 });
    expect(ladder.told).toEqual(["connected"]);
  });

  test("repeats what is not answered, then gives up", () => {
    const ladder = new Ladder();
    ladder.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60 }, now));
    expect([types(ladder.after(1_000)), types(ladder.after(1_000)), types(ladder.after(1_000))]).toEqual([
      ["CONNECT"],
      ["CONNECT"],
      [],
    ]);
    expect(ladder.told).toEqual(["failed", "disconnected"]);
    expect(ladder.device.nextDeadline()).toBeUndefined();
  });

  test("registers before it publishes, and repeats with DUP", () => {
    const ladder = new Ladder().connected();
    expect(ladder.does((d, now) => void d.publish(toTopic(1), now))).toMatchObject([
      { type: "REGISTER", topicName: "t", msgId: 1 },
    ]);
    const [first] = ladder.hears({ type: "REGACK", topicId: 7, msgId: 1, returnCode: 0 });
    expect(first).toMatchObject({ type: "PUBLISH", topicId: 7, qos: 1, dup: false });
    expect(ladder.after(1_000)).toMatchObject([{ ...first, dup: true }]);
    ladder.hears({ type: "PUBACK", topicId: 7, msgId: 2, returnCode: 0 });
    expect(ladder.told).toEqual(["published"]);
  });

  test("QoS 2 goes PUBREC, PUBREL, PUBCOMP; a lost PUBCOMP brings PUBREL again", () => {
    const ladder = new Ladder().connected();
    ladder.does((d, now) => void d.publish({ ...toTopic(2), topic: { by: "short", topicName: "ab" } }, now));
    expect(ladder.hears({ type: "PUBREC", msgId: 1 })).toEqual([{ type: "PUBREL", msgId: 1 }]);
    expect(ladder.after(1_000)).toEqual([{ type: "PUBREL", msgId: 1 }]);
    ladder.hears({ type: "PUBCOMP", msgId: 1 });
    expect(ladder.told).toEqual(["published"]);
  });

  test("'invalid topic id': registers once more, then it is an error", () => {
    const ladder = new Ladder().connected();
    ladder.does((d, now) => void d.publish(toTopic(1), now));
    ladder.hears({ type: "REGACK", topicId: 7, msgId: 1, returnCode: 0 });
    expect(types(ladder.hears({ type: "PUBACK", topicId: 7, msgId: 2, returnCode: 2 }))).toEqual(["REGISTER"]);
    ladder.hears({ type: "REGACK", topicId: 8, msgId: 3, returnCode: 0 });
    ladder.hears({ type: "PUBACK", topicId: 8, msgId: 2, returnCode: 2 });
    expect(ladder.told).toEqual(["failed"]);
  });

  test("takes a QoS 2 message once, also when its repetition comes after its end", () => {
    const ladder = new Ladder().connected();
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
    expect(types(ladder.hears(message))).toEqual(["PUBREC"]);
    expect(types(ladder.hears({ ...message, dup: true }))).toEqual(["PUBREC"]);
    expect(types(ladder.hears({ type: "PUBREL", msgId: 5 }))).toEqual(["PUBCOMP"]);
    ladder.hears({ ...message, dup: true });
    expect(ladder.told).toEqual(["message"]);
    ladder.hears(message); // a new one under the same number
    expect(ladder.told).toEqual(["message"]);
  });

  test("answers REGISTER, and refuses what it cannot name", () => {
    const ladder = new Ladder().connected();
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
    expect(ladder.hears(message)).toMatchObject([{ type: "PUBACK", returnCode: 2 }]);
    expect(ladder.hears({ type: "REGISTER", topicId: 9, msgId: 4, topicName: "t" })).toMatchObject([
      { type: "REGACK", topicId: 9, returnCode: 0 },
    ]);
    ladder.hears(message);
    expect(ladder.events).toMatchObject([{ event: "message", topicName: "t" }]);
  });

  test("a wake-up in which messages come is not given up: repetitions count from the last that was heard", () => {
    const ladder = new Ladder().connected();
    ladder.does((d, now) => d.sleep(60, now));
    ladder.hears({ type: "DISCONNECT", duration: undefined });
    ladder.does((d, now) => d.wake(now));
    for (let life = 0; life < 5; life++) {
      expect(types(ladder.after(1_000))).toEqual(["PINGREQ"]);
      expect(types(ladder.after(1_000))).toEqual(["PINGREQ"]);
      ladder.hears({ type: "REGISTER", topicId: 9, msgId: life + 1, topicName: "t" });
    }
    expect(ladder.device.state).toBe("awake");
    ladder.after(1_000);
    ladder.after(1_000);
    ladder.after(1_000);
    expect(ladder.device.state).toBe("disconnected");
  });

  test("sleeps silently, wakes with its id, and is asleep again after PINGRESP", () => {
    const ladder = new Ladder().connected();
    expect(ladder.does((d, now) => d.sleep(300, now))).toEqual([{ type: "DISCONNECT", duration: 300 }]);
    ladder.hears({ type: "DISCONNECT", duration: undefined });
    expect(ladder.after(200_000)).toEqual([]);
    expect(ladder.does((d, now) => d.wake(now))).toEqual([{ type: "PINGREQ", clientId: "c1" }]);
    ladder.hears({ type: "PINGRESP" });
    expect(ladder.told).toEqual(["asleep", "drained"]);
    expect(ladder.device.state).toBe("asleep");
  });

  test("pings within its keep alive", () => {
    const ladder = new Ladder().connected();
    expect(ladder.after(53_999)).toEqual([]);
    expect(ladder.after(1)).toEqual([{ type: "PINGREQ", clientId: "" }]);
  });

  test("a DISCONNECT that nobody asked for is told", () => {
    const ladder = new Ladder().connected();
    ladder.hears({ type: "DISCONNECT", duration: undefined });
    expect(ladder.events).toEqual([{ event: "disconnected", asked: false }]);
  });

  test("before CONNACK nothing is taken that is for its former self", () => {
    const ladder = new Ladder();
    ladder.does((d, now) => d.connect({ clean: true, keepAliveSeconds: 60 }, now));
    expect(
      ladder.hears({
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
