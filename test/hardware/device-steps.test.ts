/** The device library in C: each procedure step by step. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DeviceWill, TopicNaming } from "../../src/device/device.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { CDevice } from "./c-device.ts";
import { make, missingCompiler } from "./compiler.ts";

const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;

const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const text = (words: string) => Buffer.from(words);

describe.skipIf(missing !== undefined)(`device library, step by step${named}`, () => {
  beforeAll(() => make("device"));

  const open: CDevice[] = [];
  afterEach(() => {
    for (const device of open.splice(0)) device.close();
  });

  /** A device and its events since the last look, in words. */
  class Sequence {
    readonly device = new CDevice({
      clientId: "c1",
      retrySeconds: 10,
      retryLimit: 2,
      congestionSeconds: 30,
      seed: 5,
    });
    now = 0;
    /** MsgId of the message that came last. */
    msgId = 0;

    constructor() {
      open.push(this.device);
    }

    seen(): string[] {
      return this.device.take().map((item) => {
        if (item.kind === "event")
          return `* ${item.event.event}${"returnCode" in item.event ? ` ${item.event.returnCode}` : ""}`;
        const decoded = decode(item.bytes);
        if (!decoded.ok) throw new Error(`sent ${hexOf(item.bytes)}`);
        const { message } = decoded;
        if ("msgId" in message && message.msgId !== 0) this.msgId = message.msgId;
        return "dup" in message && message.dup ? `${message.type} again` : message.type;
      });
    }

    hears(message: Message): string[] {
      this.device.receive(encode(message), this.now);
      return this.seen();
    }

    /** As late as it may be called, so many times. */
    waits(times = 1): string[][] {
      return Array.from({ length: times }, () => {
        this.now = this.device.nextDeadline() ?? Number.NaN;
        this.device.timeout(this.now);
        return this.seen();
      });
    }

    connected(will?: DeviceWill, clean = true): this {
      this.device.connect({ clean, keepAliveSeconds: 60, will }, this.now);
      this.seen();
      if (will) {
        expect(this.hears({ type: "WILLTOPICREQ" })).toEqual(["WILLTOPIC"]);
        expect(this.hears({ type: "WILLMSGREQ" })).toEqual(["WILLMSG"]);
      }
      expect(this.hears({ type: "CONNACK", returnCode: 0 })).toEqual(["* connected"]);
      return this;
    }

    publishes(topic: TopicNaming, qos: 0 | 1 | 2): string[] {
      this.device.publish({ topic, payload: text("21.5"), qos }, this.now);
      return this.seen();
    }

    publish(msgId: number, qos: 0 | 1 | 2, dup = false, topicId = 7): Message {
      return {
        type: "PUBLISH",
        dup,
        qos,
        retain: false,
        topicIdType: "predefined",
        topicId,
        msgId,
        data: text("on"),
      };
    }
  }
  const short: TopicNaming = { by: "short", topicName: "ab" };
  const byName: TopicNaming = { by: "name", topicName: "a/b" };

  test("CONNECT is repeated N_retry times; then there is no gateway", () => {
    const sequence = new Sequence();
    sequence.device.connect({ clean: true, keepAliveSeconds: 60 }, 0);
    expect(sequence.seen()).toEqual(["CONNECT"]);
    expect(sequence.waits(3)).toEqual([["CONNECT"], ["CONNECT"], ["* disconnected"]]);
    expect(sequence.now).toBe(30_000);
    expect(sequence.device.nextDeadline()).toBeUndefined();
  });

  test("the will's dialogue, each step repeated; and its update", () => {
    const sequence = new Sequence();
    const will = { topicName: "w", payload: text("gone"), qos: 1, retain: true } as const;
    sequence.device.connect({ clean: true, keepAliveSeconds: 60, will }, 0);
    expect(sequence.seen()).toEqual(["CONNECT"]);
    expect(sequence.hears({ type: "WILLTOPICREQ" })).toEqual(["WILLTOPIC"]);
    expect(sequence.waits()).toEqual([["WILLTOPIC"]]);
    expect(sequence.hears({ type: "WILLTOPICREQ" })).toEqual(["WILLTOPIC"]);
    expect(sequence.hears({ type: "WILLMSGREQ" })).toEqual(["WILLMSG"]);
    expect(sequence.hears({ type: "CONNACK", returnCode: 0 })).toEqual(["* connected"]);
    sequence.device.updateWillTopic({ topicName: "w2", qos: 0, retain: false }, sequence.now);
    expect(sequence.seen()).toEqual(["WILLTOPICUPD"]);
    expect(sequence.hears({ type: "WILLTOPICRESP", returnCode: 0 })).toEqual(["* willUpdated"]);
    sequence.device.updateWillMessage(text("really"), sequence.now);
    expect(sequence.seen()).toEqual(["WILLMSGUPD"]);
    expect(sequence.hears({ type: "WILLMSGRESP", returnCode: 3 })).toEqual(["* failed 3"]);
  });

  test("a refusal ends the set-up; congestion is waited out", () => {
    const sequence = new Sequence();
    sequence.device.connect({ clean: true, keepAliveSeconds: 60 }, 0);
    sequence.seen();
    expect(sequence.hears({ type: "CONNACK", returnCode: 1 })).toEqual([]);
    expect(sequence.waits()).toEqual([["CONNECT"]]);
    expect(sequence.now).toBe(30_000);
    expect(sequence.hears({ type: "CONNACK", returnCode: 3 })).toEqual(["* failed 3"]);
    expect(sequence.device.state).toBe("disconnected");
  });

  test("QoS 0 is sent once; QoS 1 is repeated with DUP and the same MsgId", () => {
    const sequence = new Sequence().connected();
    expect(sequence.publishes(short, 0)).toEqual(["PUBLISH", "* published"]);
    expect(sequence.publishes(short, 1)).toEqual(["PUBLISH"]);
    const { msgId } = sequence;
    expect(sequence.waits()).toEqual([["PUBLISH again"]]);
    expect(sequence.msgId).toBe(msgId);
    const puback: Message = { type: "PUBACK", topicId: 0x6162, msgId, returnCode: 0 };
    expect(sequence.hears({ ...puback, msgId: msgId + 1 })).toEqual([]);
    expect(sequence.hears(puback)).toEqual(["* published"]);
    expect(sequence.hears(puback)).toEqual([]);
  });

  test("QoS 2: PUBREC, PUBREL repeated, PUBCOMP; after PUBREC the PUBLISH never again", () => {
    const sequence = new Sequence().connected();
    sequence.publishes(short, 2);
    const { msgId } = sequence;
    expect(sequence.hears({ type: "PUBCOMP", msgId })).toEqual([]);
    expect(sequence.hears({ type: "PUBREC", msgId })).toEqual(["PUBREL"]);
    expect(sequence.waits()).toEqual([["PUBREL"]]);
    expect(sequence.hears({ type: "PUBREC", msgId })).toEqual(["PUBREL"]);
    expect(sequence.hears({ type: "PUBCOMP", msgId })).toEqual(["* published"]);
  });

  test("a name is registered first, its id used ever after, and asked for again when the gateway forgot it", () => {
    const sequence = new Sequence().connected();
    expect(sequence.publishes(byName, 1)).toEqual(["REGISTER"]);
    expect(sequence.waits()).toEqual([["REGISTER"]]);
    expect(sequence.hears({ type: "REGACK", topicId: 9, msgId: sequence.msgId, returnCode: 0 })).toEqual(["PUBLISH"]);
    expect(sequence.hears({ type: "PUBACK", topicId: 9, msgId: sequence.msgId, returnCode: 2 })).toEqual(["REGISTER"]);
    expect(sequence.hears({ type: "REGACK", topicId: 10, msgId: sequence.msgId, returnCode: 0 })).toEqual([
      "PUBLISH again",
    ]);
    expect(sequence.hears({ type: "PUBACK", topicId: 10, msgId: sequence.msgId, returnCode: 0 })).toEqual([
      "* published",
    ]);
    expect(sequence.publishes(byName, 0)).toEqual(["PUBLISH", "* published"]);
    expect(sequence.hears({ type: "PUBACK", topicId: 10, msgId: 0, returnCode: 2 })).toEqual([]);
    expect(sequence.publishes(byName, 1)).toEqual(["REGISTER"]);
    expect(sequence.hears({ type: "REGACK", topicId: 0, msgId: sequence.msgId, returnCode: 3 })).toEqual([
      "* failed 3",
    ]);
  });

  test("congestion: a pause, then as a new message", () => {
    const sequence = new Sequence().connected();
    sequence.publishes(short, 1);
    const congestion: Message = { type: "PUBACK", topicId: 0x6162, msgId: sequence.msgId, returnCode: 1 };
    expect(sequence.hears(congestion)).toEqual([]);
    expect(sequence.device.idle).toBe(false);
    expect(sequence.waits()).toEqual([["PUBLISH"]]);
    expect(sequence.now).toBe(30_000);
  });

  test("what the loss of the gateway interrupts goes on behind the next CONNACK, with DUP", () => {
    const sequence = new Sequence().connected(undefined, false);
    sequence.publishes(short, 2);
    const { msgId } = sequence;
    expect(sequence.hears({ type: "DISCONNECT", duration: undefined })).toEqual(["* disconnected"]);
    sequence.device.connect({ clean: false, keepAliveSeconds: 60 }, sequence.now);
    expect(sequence.seen()).toEqual(["CONNECT"]);
    expect(sequence.hears({ type: "CONNACK", returnCode: 0 })).toEqual(["PUBLISH again", "* connected"]);
    expect(sequence.msgId).toBe(msgId);
    sequence.hears({ type: "PUBREC", msgId });
    sequence.hears({ type: "DISCONNECT", duration: undefined });
    sequence.device.connect({ clean: false, keepAliveSeconds: 60 }, sequence.now);
    sequence.seen();
    expect(sequence.hears({ type: "CONNACK", returnCode: 0 })).toEqual(["PUBREL", "* connected"]);
    expect(sequence.hears({ type: "PUBCOMP", msgId })).toEqual(["* published"]);
  });

  test("QoS 2 is not repeated in another connection once the gateway may have forgotten it; QoS 1 always is", () => {
    for (const [qos, after] of [
      [2, ["* failed 255", "* connected"]],
      [1, ["PUBLISH again", "* connected"]],
    ] as const) {
      const sequence = new Sequence().connected(undefined, false);
      sequence.publishes(short, qos);
      expect(sequence.waits(3).at(-1)).toEqual(["* disconnected"]);
      sequence.device.connect({ clean: false, keepAliveSeconds: 60 }, sequence.now);
      sequence.seen();
      expect(sequence.hears({ type: "CONNACK", returnCode: 0 })).toEqual(after);
    }
  });

  test("subscriptions by name, short name and predefined id; UNSUBSCRIBE has no DUP", () => {
    const sequence = new Sequence().connected();
    for (const topic of [byName, short, { by: "predefined", topicId: 3 } as const]) {
      sequence.device.subscribe(topic, 1, sequence.now);
      expect(sequence.seen()).toEqual(["SUBSCRIBE"]);
      expect(sequence.waits()).toEqual([["SUBSCRIBE again"]]);
      const { msgId } = sequence;
      expect(sequence.hears({ type: "SUBACK", qos: 1, topicId: 4, msgId, returnCode: 0 })).toEqual(["* subscribed"]);
    }
    const byId: Message = { ...sequence.publish(5, 1, false, 4), topicIdType: "normal" } as Message;
    expect(sequence.hears(byId)).toEqual(["PUBACK", "* message"]);
    sequence.device.unsubscribe(byName, sequence.now);
    expect(sequence.seen()).toEqual(["UNSUBSCRIBE"]);
    expect(sequence.waits()).toEqual([["UNSUBSCRIBE"]]);
    expect(sequence.hears({ type: "UNSUBACK", msgId: sequence.msgId })).toEqual(["* unsubscribed"]);
  });

  test("an id of the gateway's: learnt by REGISTER, refused when it is not known or its name does not fit", () => {
    const sequence = new Sequence().connected();
    const unknown: Message = { ...sequence.publish(5, 1, false, 40), topicIdType: "normal" } as Message;
    sequence.device.receive(encode(unknown), 0);
    expect(decode(sent(sequence))).toMatchObject({
      message: { type: "PUBACK", returnCode: 2, topicId: 40, msgId: 5 },
    });
    sequence.device.receive(encode({ type: "REGISTER", topicId: 40, msgId: 6, topicName: "down/x" }), 0);
    expect(decode(sent(sequence))).toMatchObject({
      message: { type: "REGACK", returnCode: 0, topicId: 40, msgId: 6 },
    });
    expect(sequence.hears(unknown)).toEqual(["PUBACK", "* message"]);
    sequence.device.receive(encode({ type: "REGISTER", topicId: 41, msgId: 7, topicName: "x".repeat(33) }), 0);
    expect(decode(sent(sequence))).toMatchObject({ message: { type: "REGACK", returnCode: 3, msgId: 7 } });
  });

  test("a QoS 2 message is delivered once, whatever DUP says, and late copies are none", () => {
    const sequence = new Sequence().connected();
    expect(sequence.hears(sequence.publish(5, 2))).toEqual(["PUBREC", "* message"]);
    expect(sequence.hears(sequence.publish(5, 2))).toEqual(["PUBREC"]);
    expect(sequence.hears(sequence.publish(5, 2, true))).toEqual(["PUBREC"]);
    expect(sequence.hears({ type: "PUBREL", msgId: 5 })).toEqual(["PUBCOMP"]);
    expect(sequence.hears({ type: "PUBREL", msgId: 5 })).toEqual(["PUBCOMP"]);
    expect(sequence.hears(sequence.publish(5, 2, true))).toEqual(["PUBREC"]);
    sequence.now += 30_000; // T_retry * (N_retry + 1)
    expect(sequence.hears(sequence.publish(5, 2, true))).toEqual(["PUBREC", "* message"]);
  });

  test("a QoS 2 message with other contents is another one: a gateway that was started again may use a MsgId again", () => {
    const sequence = new Sequence().connected();
    expect(sequence.hears(sequence.publish(5, 2))).toEqual(["PUBREC", "* message"]);
    expect(sequence.hears(sequence.publish(5, 2, false, 8))).toEqual(["PUBREC", "* message"]);
    expect(sequence.hears({ type: "PUBREL", msgId: 5 })).toEqual(["PUBCOMP"]);
    const other = { ...sequence.publish(5, 2, true, 8), data: text("off") } as Message;
    expect(sequence.hears(other)).toEqual(["PUBREC", "* message"]);
    expect(sequence.hears(other)).toEqual(["PUBREC"]);
  });

  test("more open QoS 2 messages than there is room for hear congestion and are not delivered; after a day there is room", () => {
    const sequence = new Sequence().connected();
    for (let msgId = 1; msgId <= 4; msgId++) {
      expect(sequence.hears(sequence.publish(msgId, 2))).toEqual(["PUBREC", "* message"]);
    }
    expect(sequence.hears(sequence.publish(5, 2))).toEqual(["PUBACK"]);
    sequence.hears({ type: "PUBREL", msgId: 2 });
    expect(sequence.hears(sequence.publish(5, 2, true))).toEqual(["PUBREC", "* message"]);
    expect(sequence.hears(sequence.publish(6, 2))).toEqual(["PUBACK"]);
    sequence.now += 86_400_001;
    expect(sequence.hears(sequence.publish(6, 2, true))).toEqual(["PUBREC", "* message"]);
  });

  test("the late answers to the copies of its sleep request end nothing, also when it has woken meanwhile; one more does", () => {
    const sequence = new Sequence().connected();
    const answer = { type: "DISCONNECT", duration: undefined } as const;
    sequence.device.sleep(300, 0);
    expect(sequence.seen()).toEqual(["DISCONNECT"]);
    expect(sequence.waits(2)).toEqual([["DISCONNECT"], ["DISCONNECT"]]);
    expect(sequence.hears(answer)).toEqual(["* asleep"]);
    expect(sequence.hears(answer)).toEqual([]);
    sequence.device.wake(sequence.now);
    expect(sequence.seen()).toEqual(["PINGREQ"]);
    expect(sequence.hears(answer)).toEqual([]);
    expect(sequence.device.state).toBe("awake");
    expect(sequence.hears(answer)).toEqual(["* disconnected"]);
  });

  test("after the PINGRESP of its first wake-up no answer to them is awaited any more", () => {
    const sequence = new Sequence().connected();
    sequence.device.sleep(300, 0);
    sequence.seen();
    sequence.waits(2);
    sequence.hears({ type: "DISCONNECT", duration: undefined });
    sequence.device.wake(sequence.now);
    sequence.seen();
    expect(sequence.hears({ type: "PINGRESP" })).toEqual(["* drained"]);
    expect(sequence.hears({ type: "DISCONNECT", duration: undefined })).toEqual(["* disconnected"]);
  });

  test("sleeps, wakes as often as it likes, keeps its QoS 2 memory meanwhile", () => {
    const sequence = new Sequence().connected();
    sequence.device.sleep(300, 0);
    expect(sequence.seen()).toEqual(["DISCONNECT"]);
    expect(sequence.waits()).toEqual([["DISCONNECT"]]);
    expect(sequence.hears({ type: "DISCONNECT", duration: undefined })).toEqual(["* asleep"]);
    expect(sequence.device.nextDeadline()).toBeUndefined();
    for (let wakes = 0; wakes < 3; wakes++) {
      sequence.now += 200_000;
      sequence.device.wake(sequence.now);
      const [ping] = sequence.device.take();
      if (ping?.kind !== "send") throw new Error("no PINGREQ");
      expect(decode(ping.bytes)).toMatchObject({ message: { type: "PINGREQ", clientId: "c1" } });
      expect(sequence.device.state).toBe("awake");
      sequence.now += 9_000; // just before the repetition: what comes puts it off
      expect(sequence.hears(sequence.publish(9, 2, wakes > 0))).toEqual(
        wakes === 0 ? ["PUBREC", "* message"] : ["PUBREC"],
      );
      expect((sequence.device.nextDeadline() ?? 0) - sequence.now).toBe(10_000);
      expect(sequence.hears({ type: "PINGRESP" })).toEqual(["* drained"]);
      expect(sequence.device.state).toBe("asleep");
    }
    sequence.device.wake(sequence.now);
    sequence.seen();
    expect(sequence.hears({ type: "DISCONNECT", duration: undefined })).toEqual(["* disconnected"]);
  });

  test("keeps alive a tenth early, only when it is silent; no answer is the end", () => {
    const sequence = new Sequence().connected();
    expect(sequence.device.nextDeadline()).toBe(54_000);
    sequence.now = 50_000;
    sequence.publishes(short, 0);
    expect(sequence.device.nextDeadline()).toBe(104_000);
    expect(sequence.waits()).toEqual([["PINGREQ"]]);
    expect(sequence.hears({ type: "PINGRESP" })).toEqual([]);
    expect(sequence.waits(4)).toEqual([["PINGREQ"], ["PINGREQ"], ["PINGREQ"], ["* disconnected"]]);
    const again = new Sequence().connected();
    expect(again.hears({ type: "PINGREQ", clientId: "" })).toEqual(["PINGRESP"]);
  });

  test("looks for gateways after a random delay, ever more seldom, until one is heard", () => {
    const sequence = new Sequence();
    sequence.device.searchGateway(1, 0);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      expect(sequence.waits()).toEqual([["SEARCHGW"]]);
      times.push(sequence.now);
    }
    expect(times[0]).toBeLessThan(5_000);
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    for (const [i, pause] of pauses.entries()) {
      expect(pause).toBeGreaterThanOrEqual(10_000 * 2 ** i);
      expect(pause).toBeLessThan(10_000 * 2 ** i + 5_000);
    }
    const before = sequence.device.nextDeadline() ?? 0;
    sequence.now = before - 1;
    expect(sequence.hears({ type: "SEARCHGW", radius: 1 })).toEqual([]); // another device asked it
    expect(sequence.device.nextDeadline()).toBeGreaterThan(before);
    expect(sequence.hears({ type: "GWINFO", gwId: 3, gwAdd: new Uint8Array(0) })).toEqual(["* gateway"]);
    expect(sequence.device.nextDeadline()).toBeUndefined();
    expect(sequence.hears({ type: "ADVERTISE", gwId: 3, duration: 900 })).toEqual(["* gateway"]);
    expect((sequence.device.nextDeadline() ?? 0) - sequence.now).toBe(2_700_000); // N_ADV
  });

  test("QoS -1 needs nobody", () => {
    const sequence = new Sequence();
    sequence.device.publishWithoutConnection({ topic: { by: "predefined", topicId: 7 }, payload: text("1") }, 0);
    const [only] = sequence.device.take();
    expect(only?.kind === "send" && hexOf(only.bytes)).toBe("080c610007000031");
    expect(sequence.device.nextDeadline()).toBeUndefined();
  });

  function sent(sequence: Sequence): Uint8Array {
    const [first] = sequence.device.take();
    if (first?.kind !== "send") throw new Error("it sent nothing");
    return first.bytes;
  }
});
