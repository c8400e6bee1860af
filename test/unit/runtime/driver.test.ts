import { expect, test } from "vitest";
import type { Core } from "../../../src/core/core.ts";
import { v12 } from "../../../src/core/dialects/v12.ts";
import type { Effect } from "../../../src/core/effect.ts";
import type { Input } from "../../../src/core/input.ts";
import type { LinkId, QoS } from "../../../src/core/types.ts";
import type { ToClient } from "../../../src/core/words.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import type { Edges } from "../../../src/runtime/perform.ts";

/** A driver whose core returns the effects that the test gives, and what was sent. */
function bench(owns: () => boolean = () => true) {
  const left: string[] = [];
  const next: Effect[][] = [];
  const connecting = new Set<string>();
  const core = {
    isConnecting: (peer: string) => connecting.has(peer),
    handle: () => next.shift() ?? [],
    timeout: () => [],
    nextDeadline: () => undefined,
  } as unknown as Core;
  const upstream = {
    publish: (linkId: string, { qos }: { qos: QoS }, packetId: number) =>
      left.push(`${linkId} QoS ${qos} #${packetId}`),
    release: (linkId: string, packetId: number) => left.push(`${linkId} PUBREL #${packetId}`),
    ping: (linkId: string) => left.push(`${linkId} PINGREQ`),
    ack: (linkId: string, ack: string, packetId: number) => left.push(`${linkId} ${ack} #${packetId}`),
  };
  const store = { commit: () => {} };
  const udp = { send: (to: string, bytes: Uint8Array) => left.push(`${to} ${Buffer.from(bytes).toString("hex")}`) };
  const edges = { transports: new Map([["udp", udp]]), upstream, store, report: () => {} } as unknown as Edges;
  const driver = new Driver(core, edges, { now: () => 0, wakeAt: () => {}, afterReading: () => {} }, { owns });
  return {
    start: () => driver.start(),
    connecting,
    /** One turn of the core, and what left in it. */
    turn(input: Partial<Input>, ...effects: Effect[]): string[] {
      next.push(effects);
      left.length = 0;
      driver.handle(input as Input);
      return [...left];
    },
  };
}

const publish = (linkId: LinkId, qos: QoS, packetId: number, behind?: number): Effect => ({
  kind: "publish",
  linkId,
  publication: { topicName: "t", payload: new Uint8Array(), qos, retain: false },
  packetId,
  dup: false,
  ...(behind !== undefined && { behind }),
});
const release = (linkId: LinkId, packetId: number, behind: number): Effect => ({
  kind: "release",
  linkId,
  packetId,
  behind,
});

test("a step of a QoS 2 exchange waits for a commit that succeeds, what is not one leaves all the same", () => {
  const { turn } = bench();
  expect(turn({ kind: "datagram" }, publish("a~1", 2, 1, 1), publish("a~1", 0, 0, 1), release("b~1", 9, 1))).toEqual(
    [],
  );
  expect(turn({ kind: "persistFailed", token: 1 })).toEqual(["a~1 QoS 0 #0"]);
  // Other effects continue; those of the same client do not overtake, except at QoS 0.
  expect(turn({ kind: "datagram" }, publish("a~1", 1, 2), publish("a~1", 0, 0), publish("c~1", 1, 5))).toEqual([
    "a~1 QoS 0 #0",
    "c~1 QoS 1 #5",
  ]);
  expect(turn({ kind: "persistFailed", token: 2 })).toEqual([]);
  expect(turn({ kind: "persisted", token: 3 })).toEqual(["a~1 QoS 2 #1", "b~1 PUBREL #9", "a~1 QoS 1 #2"]);
  expect(turn({ kind: "datagram" }, publish("a~1", 2, 3))).toEqual(["a~1 QoS 2 #3"]);
});

test("an acknowledgement that waits for a commit when its connection ends is not said over the next one", () => {
  const { turn } = bench();
  const pubcomp = (packetId: number, behind?: number): Effect => ({
    kind: "ackBroker",
    linkId: "a~1",
    ack: "pubcomp",
    packetId,
    ...(behind !== undefined && { behind }),
  });
  turn({ kind: "released" }, pubcomp(1, 1), pubcomp(2, 1), release("a~1", 9, 1));
  turn({ kind: "linkDown", linkId: "a~1" });
  // The broker asks again for one of them; the commit that it waits for is still to come.
  expect(turn({ kind: "released" }, pubcomp(2))).toEqual([]);
  expect(turn({ kind: "persisted", token: 1 })).toEqual(["a~1 PUBREL #9", "a~1 pubcomp #2"]);

  // The same where the commit fails: what the broker asks for again waits for one that does not.
  turn({ kind: "released" }, pubcomp(3, 2), pubcomp(4, 2));
  turn({ kind: "linkDown", linkId: "a~1" });
  expect(turn({ kind: "persistFailed", token: 2 })).toEqual([]);
  expect(turn({ kind: "released" }, pubcomp(4))).toEqual([]);
  turn({ kind: "linkDown", linkId: "b~1" });
  expect(turn({ kind: "persisted", token: 3 })).toEqual(["a~1 pubcomp #4"]);
});

test("a ping does not overtake what was said before it over the same connection", () => {
  const { turn } = bench();
  const ping = (linkId: LinkId): Effect => ({ kind: "ping", linkId });
  expect(turn({ kind: "datagram" }, publish("a~1", 1, 1, 1), ping("a~1"), ping("b~1"))).toEqual(["b~1 PINGREQ"]);
  expect(turn({ kind: "persisted", token: 1 })).toEqual(["a~1 QoS 1 #1", "a~1 PINGREQ"]);
});

const send = (message: ToClient, behind?: number): Effect => ({
  kind: "send",
  dialect: v12,
  to: "udp/a",
  message,
  ...(behind !== undefined && { behind }),
});
const news = { type: "PUBLISH", qos: 2, dup: false, retain: false, topicIdType: "normal", topicId: 1 } as const;
const message = { ...news, msgId: 5, data: new Uint8Array() };

test("what is kept back for a device is not sent once it was told that it may sleep", () => {
  const { turn } = bench();
  turn({ kind: "datagram" }, send(message, 1), send({ type: "PUBREC", msgId: 9 }, 1));
  turn({ kind: "datagram" }, send({ type: "DISCONNECT", duration: undefined }));
  expect(turn({ kind: "persistFailed", token: 1 })).toEqual(["udp/a 0218"]);
  expect(turn({ kind: "persisted", token: 2 })).toEqual(["udp/a 040f0009"]);
});

test("what is kept back for a device that begins anew is not sent before its CONNACK", () => {
  const { turn, connecting } = bench();
  turn({ kind: "datagram" }, send(message, 1), send({ type: "PUBCOMP", msgId: 9 }, 1));
  turn({ kind: "persistFailed", token: 1 });
  connecting.add("udp/a");
  expect(turn({ kind: "persisted", token: 2 })).toEqual(["udp/a 040e0009"]);
});

test("a QoS 2 publication whose own record is on disk does not overtake one that is kept back", () => {
  const { turn } = bench();
  turn({ kind: "datagram" }, publish("a~1", 2, 1, 2), publish("b~1", 2, 7, 1));
  turn({ kind: "persisted", token: 1 });
  turn({ kind: "persistFailed", token: 2 });
  expect(turn({ kind: "datagram" }, publish("a~1", 2, 2), publish("b~1", 2, 8))).toEqual(["b~1 QoS 2 #8"]);
  expect(turn({ kind: "persisted", token: 3 })).toEqual(["a~1 QoS 2 #1", "a~1 QoS 2 #2"]);
});

test("while a step is kept back, what follows it does not overtake what waits for later commits", () => {
  const { turn } = bench();
  turn({ kind: "datagram" }, publish("a~1", 2, 1, 1));
  turn({ kind: "datagram" }, publish("a~1", 2, 2, 2), publish("a~1", 1, 3));
  turn({ kind: "persistFailed", token: 1 });
  turn({ kind: "datagram" }, publish("a~1", 1, 4));
  expect(turn({ kind: "persisted", token: 2 })).toEqual([
    "a~1 QoS 2 #1",
    "a~1 QoS 2 #2",
    "a~1 QoS 1 #3",
    "a~1 QoS 1 #4",
  ]);
});

test("what is sent again after a cut does not slip out in its place", () => {
  const { turn } = bench();
  turn({ kind: "datagram" }, publish("a~1", 2, 1, 1));
  turn({ kind: "persistFailed", token: 1 });
  expect(turn({ kind: "linkUp" }, { ...publish("a~2", 2, 1), dup: true } as Effect)).toEqual([]);
  expect(turn({ kind: "persisted", token: 2 })).toEqual(["a~2 QoS 2 #1"]);
});

test("a promise whose commit failed is not kept", () => {
  const { turn } = bench();
  turn({ kind: "datagram" }, { ...publish("a~1", 1, 1), after: 1 } as Effect);
  expect(turn({ kind: "persistFailed", token: 1 })).toEqual([]);
  expect(turn({ kind: "persisted", token: 2 })).toEqual([]);
});

test("each commit lets go what waits for it, and nothing overtakes on its way to one place", () => {
  const { turn } = bench();
  const after = (effect: Effect, token: number) => ({ ...effect, after: token }) as Effect;
  turn({ kind: "datagram" }, after(publish("a~1", 1, 1), 1), after(publish("b~1", 1, 2), 2), publish("a~1", 1, 3));
  turn({ kind: "datagram" }, after(publish("a~1", 1, 4), 3), after(publish("a~1", 1, 5), 2), publish("c~1", 1, 6));
  expect(turn({ kind: "persisted", token: 2 })).toEqual(["a~1 QoS 1 #1", "a~1 QoS 1 #3", "b~1 QoS 1 #2"]);
  expect(turn({ kind: "datagram" }, publish("b~1", 1, 7), publish("a~1", 1, 8))).toEqual(["b~1 QoS 1 #7"]);
  expect(turn({ kind: "persisted", token: 3 })).toEqual(["a~1 QoS 1 #4", "a~1 QoS 1 #5", "a~1 QoS 1 #8"]);
  expect(turn({ kind: "datagram" }, publish("a~1", 1, 9), after(publish("a~1", 1, 10), 3))).toHaveLength(2);
});

test("one of a pair: when it owns no more, nothing leaves, whatever comes, and for good", () => {
  let owns = false;
  const { turn, start } = bench(() => owns);
  // The store is read before the gateway serves, so no broker is asked.
  expect(turn({ kind: "datagram" }, publish("c|1" as LinkId, 1, 1))).toHaveLength(1);
  start();
  expect(turn({ kind: "datagram" }, publish("c|1" as LinkId, 1, 2))).toEqual([]);
  owns = true;
  expect(turn({ kind: "datagram" }, publish("c|1" as LinkId, 1, 3))).toEqual([]);
});
