/** A device that does all right, and those with one planted fault each, under virtual time. */
import { expect, test } from "vitest";
import { Examiner } from "../../../src/cli/try-device/examiner.ts";
import { situations } from "../../../src/cli/try-device/situations.ts";
import { Device, type DeviceEvent } from "../../../src/device/device.ts";
import { decode, encode } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import { VirtualTime } from "../../simulation/virtual-time.ts";

interface Fault {
  /** What leaves the device instead of this; undefined: nothing. */
  readonly says?: (message: Message, bench: { readonly asleep: boolean }) => Message | undefined;
  /** false: the device takes no notice of it. */
  readonly hears?: (message: Message, bytes: Uint8Array) => boolean;
  readonly pauseAfterCongestionMs?: number;
  readonly talksInSleep?: boolean;
}

/** A device with an owner that does everything that firmware does: subscribes, publishes, sleeps, wakes, comes back. */
function examined(fault: Fault = {}) {
  const time = new VirtualTime();
  const examiner = new Examiner();
  const device = new Device({ clientId: "d1", retryMs: 10_000, retryLimit: 4 });
  let planned: number | undefined;
  let published = 0;
  /** The owner was told that the answer was "congestion". */
  let quietUntil = 0;

  const air = (from: "device" | "gateway", bytes: Uint8Array) => {
    time.plan(20, () => {
      if (from === "device") examiner.receive(bytes, time.now());
      else device.receive(bytes, time.now());
      flush();
    });
  };
  const flush = () => {
    for (let output = device.take(); output.length > 0; output = device.take())
      for (const item of output) {
        if (item.kind === "event") onEvent(item.event);
        else {
          const decoded = decode(item.bytes);
          if (!decoded.ok) continue;
          const said = fault.says
            ? fault.says(decoded.message, { asleep: device.state === "asleep" })
            : decoded.message;
          if (said) air("device", encode(said as Parameters<typeof encode>[0]));
        }
      }
    for (const bytes of examiner.take()) {
      const decoded = decode(bytes);
      if (decoded.ok && fault.hears?.(decoded.message, bytes) === false) continue;
      air("gateway", bytes);
    }
    const next = Math.min(
      device.nextDeadline() ?? Number.POSITIVE_INFINITY,
      examiner.nextDeadline() ?? Number.POSITIVE_INFINITY,
    );
    if (next === Number.POSITIVE_INFINITY || (planned !== undefined && planned <= next && planned > time.now())) return;
    planned = next;
    time.plan(Math.max(0, next - time.now()), () => {
      planned = undefined;
      if ((device.nextDeadline() ?? Number.POSITIVE_INFINITY) <= time.now()) device.timeout(time.now());
      if ((examiner.nextDeadline() ?? Number.POSITIVE_INFINITY) <= time.now()) examiner.timeout(time.now());
      flush();
    });
  };
  const act = (inMs: number, what: () => void) =>
    time.plan(inMs, () => {
      what();
      flush();
    });
  const connect = () => device.connect({ clean: true, keepAliveSeconds: 60 }, time.now());
  const publish = () => {
    if (device.state !== "active" || !device.idle || time.now() < quietUntil) return;
    const payload = new TextEncoder().encode(String(++published));
    device.publish({ topic: { by: "name", topicName: "sensors/d1" }, payload, qos: 1 }, time.now());
  };
  const onEvent = (event: DeviceEvent): void => {
    if (event.event === "connected") device.subscribe({ by: "name", topicName: "cmd/d1" }, 1, time.now());
    if (event.event === "subscribed") act(120_000, publish);
    if (event.event === "published") {
      if (published % 6 === 0) act(1_000, () => device.state === "active" && device.sleep(60, time.now()));
      else act(30_000, publish);
    }
    if (event.event === "failed" && event.request.kind === "publish") {
      const pauseMs = event.returnCode === 1 ? (fault.pauseAfterCongestionMs ?? 400_000) : 30_000;
      quietUntil = time.now() + pauseMs;
      published--;
      act(pauseMs, publish);
    }
    if (event.event === "disconnected") act(1_000, connect);
    if (event.event === "asleep") {
      act(50_000, () => device.state === "asleep" && device.wake(time.now()));
      if (fault.talksInSleep) act(20_000, () => air("device", encode({ type: "PINGREQ", clientId: "" })));
    }
    if (event.event === "drained") act(10_000, connect);
  };
  act(0, connect);
  time.runUntil(4 * 3_600_000);
  return {
    examiner,
    wrong: examiner.results.flatMap(({ situation, verdict }) =>
      verdict?.is === "wrong" ? [`${situation.name}: ${verdict.say} [${verdict.clause}]`] : [],
    ),
    notPlayed: examiner.results.flatMap(({ situation, verdict }) => (verdict ? [] : [situation.name])),
  };
}

test("a device that does all right: every situation is played, nothing is wrong", () => {
  const { wrong, notPlayed, examiner } = examined();
  expect({ wrong, notPlayed, unreadable: examiner.unreadable }).toEqual({ wrong: [], notPlayed: [], unreadable: [] });
  expect(examiner.isDone).toBe(true);
  expect(situations.length).toBeGreaterThanOrEqual(10);
});

test.each<[string, Fault, string]>([
  [
    "repeats without DUP",
    { says: (message) => (message.type === "PUBLISH" ? { ...message, dup: false } : message) },
    "lost-puback: sends PUBLISH again without DUP [5.3.4]",
  ],
  [
    "repeats under another MsgId",
    {
      says: (message) =>
        message.type === "PUBLISH" && message.dup ? { ...message, msgId: message.msgId + 100 } : message,
    },
    "lost-puback: sends PUBLISH again under another MsgId [6.13]",
  ],
  [
    "has no code for REGISTER",
    { hears: (message) => message.type !== "REGISTER" },
    "register: does not answer REGISTER [6.10]",
  ],
  [
    "has a buffer of 128 octets",
    { hears: (_message, bytes) => bytes.length <= 128 },
    "long-message: does not acknowledge the message [5.2.1]",
  ],
  [
    "tries again at once when there is no room",
    { pauseAfterCongestionMs: 1_000 },
    'congestion: publishes the same again within 30 s of "congestion" [7.2]',
  ],
  [
    "acknowledges what it cannot know",
    { says: (message) => (message.type === "PUBACK" ? { ...message, returnCode: 0 } : message) },
    "unknown-topic-id: accepts a message whose topic it cannot know (PUBACK with code 0) [6.10]",
  ],
  ["talks in its sleep", { talksInSleep: true }, "sleep-and-wake: wakes with a PINGREQ that has no client id [6.14]"],
  [
    "does not know its topic id when the retained message comes",
    { says: (message) => (message.type === "PUBACK" ? { ...message, returnCode: 2 } : message) },
    "retained: does not know the topic id that it was told [6.9]",
  ],
  [
    "takes no notice of DISCONNECT",
    { hears: (message) => message.type !== "DISCONNECT" },
    "new-address: sends PINGREQ after DISCONNECT, and not CONNECT [6.12]",
  ],
  [
    "drops repetitions without a word",
    { hears: (message) => !(message.type === "PUBLISH" && message.dup) },
    "repeated: does not acknowledge the repetition [6.13]",
  ],
])("a device that %s", (_what, fault, said) => {
  expect(examined(fault).wrong).toContain(said);
});
