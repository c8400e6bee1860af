/** Two versions of the wire on one port: the shipped core and driver, a toy beside MQTT-SN 1.2. */
import { expect, test } from "vitest";
import { v12 } from "../../../src/core/dialects/v12.ts";
import type { Input } from "../../../src/core/input.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { noLimits, type PeerId, type QoS } from "../../../src/core/types.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import type { Edges } from "../../../src/runtime/perform.ts";
import { decode, encode } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import { connect, disconnect, octets, pubAck, publish, register, sleep, subscribe, wake } from "../../helpers/bench.ts";
import { CheckedCore } from "../../helpers/checked-core.ts";
import { toy } from "../../helpers/toy-dialect.ts";
import { testOptions } from "../../simulation/options.ts";

const old: PeerId = "udp/192.0.2.1:1000";
const young: PeerId = "udp/192.0.2.2:2000";

/** A gateway whose broker answers everything at once, and gives each publication to who subscribed. */
function gateway(states: readonly StoredState[] = []) {
  const advertise = { ...testOptions.advertise, intervalSeconds: 900 };
  const options = { ...testOptions, advertise, upstream: { ...testOptions.upstream, copies: "one" as const } };
  const core = new CheckedCore(
    options,
    {
      maxMessageBytes: () => 1_024,
      hostOf: (peer) => peer,
      identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
      wallClock: () => undefined,
      random: () => 0,
    },
    [v12, toy],
  );
  const left: (readonly [PeerId, Uint8Array])[] = [];
  const broadcasts: Uint8Array[] = [];
  const filters = new Map<string, Input["kind"] | string>();
  let packetId = 0;
  let onTime = (): void => {};
  const tell = (input: Input): void => driver.handle(input);
  const upstream = {
    open: ({ linkId }: { linkId: `x~${number}` }) =>
      tell({ kind: "linkUp", linkId, sessionPresent: false, limits: noLimits }),
    close: () => {},
    subscribe: (linkId: `x~${number}`, id: number, filter: string, qos: QoS) => {
      filters.set(filter, linkId);
      tell({ kind: "brokerAck", linkId, ack: "suback", packetId: id, code: qos });
    },
    publish: (
      linkId: `x~${number}`,
      publication: { topicName: string; payload: Uint8Array; qos: QoS; retain: boolean },
      id: number,
    ) => {
      if (publication.qos === 1) tell({ kind: "brokerAck", linkId, ack: "puback", packetId: id, code: 0 });
      const to = filters.get(publication.topicName);
      if (to !== undefined)
        tell({ kind: "delivered", linkId: to as `x~${number}`, publication, packetId: ++packetId, dup: false });
    },
    ack: () => {},
  };
  const transport = {
    send: (to: PeerId, bytes: Uint8Array) => left.push([to, bytes]),
    broadcast: (bytes: Uint8Array) => broadcasts.push(bytes),
  };
  const store = { commit: (_changes: unknown, done: () => void) => done() };
  const edges = { transports: new Map([["udp", transport]]), upstream, store, report: () => {} } as unknown as Edges;
  const driver = new Driver(core, edges, {
    now: () => 1_000,
    wakeAt: (_at, due) => {
      onTime = due;
    },
    afterReading: () => {},
  });
  driver.start();
  onTime(); // the gateway's own connection
  if (states.length > 0) tell({ kind: "restored", states });
  const took = (to: PeerId) => left.splice(0).flatMap(([peer, bytes]) => (peer === to ? [bytes] : []));
  const datagram = (from: PeerId, bytes: Uint8Array) => tell({ kind: "datagram", from, bytes });
  return {
    core,
    broadcasts,
    linkOf: (filter: string) => filters.get(filter) as `x~${number}`,
    tell,
    /** The answers to the 1.2 client after this message. */
    old(message: Message, from = old): Message[] {
      datagram(from, encode(message));
      return took(from).flatMap((bytes) => {
        const heard = decode(bytes);
        return heard.ok ? [heard.message] : [];
      });
    },
    /** The answers to the toy after this message. */
    young(text: string, from = young): string[] {
      datagram(from, octets(text));
      return took(from).map((bytes) => Buffer.from(bytes).toString());
    },
    /** The answers to one client after another one's message. */
    hears(to: PeerId, what: () => void): string[] {
      left.length = 0;
      what();
      return left.splice(0).flatMap(([peer, bytes]) => (peer === to ? [Buffer.from(bytes).toString("latin1")] : []));
    },
    say: (from: PeerId, message: Message) => datagram(from, encode(message)),
    sayYoung: (text: string) => datagram(young, octets(text)),
  };
}

/** Both are there, each subscribed to what the other publishes. */
function both() {
  const port = gateway();
  expect(port.old(connect({ clientId: "old" })).map(({ type }) => type)).toEqual(["CONNACK"]);
  expect(port.young("Cyoung")).toEqual(["C+"]);
  expect(port.old(subscribe("up", 1, 2))).toMatchObject([{ type: "SUBACK", returnCode: 0 }]);
  expect(port.young("S3 down")).toEqual(["A3 accepted"]);
  const [registered] = port.old(register("down", 3));
  return { ...port, topicId: registered?.type === "REGACK" ? registered.topicId : 0 };
}

test("a toy connects, publishes and is published to beside a client of 1.2", () => {
  const port = both();
  const [seen] = port.hears(old, () => port.sayYoung("P4 up 21.5"));
  const read = decode(Buffer.from(seen ?? "", "latin1"));
  expect(read.ok && read.message).toMatchObject({ type: "PUBLISH", qos: 1, data: Buffer.from("21.5") });
  expect(port.young("P5 up 22")).toEqual(["A5 accepted"]); // the 1.2 client's acknowledgement is its own affair
  const told = port.hears(young, () => port.say(old, publish({ topicId: port.topicId, msgId: 9, data: octets("on") })));
  expect(told).toEqual([expect.stringMatching(/^P\d+ down on$/)]);
  expect(port.young(`A${/\d+/.exec(told[0] ?? "")?.[0]} accepted`)).toEqual([]);
  expect(port.core.counters.bufferedMessages).toBe(2); // what the 1.2 client has not acknowledged
});

test("it sleeps, hears nothing meanwhile, and gets what waited when it wakes, then Z", () => {
  const port = both();
  expect(port.young("Z60")).toEqual(["Z"]);
  const asleep = (text: string, msgId: number) =>
    port.hears(young, () => port.say(old, publish({ topicId: port.topicId, msgId, data: octets(text) })));
  expect([...asleep("one", 11), ...asleep("two", 12)]).toEqual([]);
  expect(port.core.session("young")?.view.state).toBe("asleep");
  const [first = ""] = port.young("Z");
  expect(first).toMatch(/^P\d+ down one$/);
  const [second = ""] = port.young(`A${/\d+/.exec(first)?.[0]} accepted`);
  expect(second).toMatch(/^P\d+ down two$/);
  expect(port.young(`A${/\d+/.exec(second)?.[0]} accepted`)).toEqual(["Z"]);
  expect(port.core.session("young")?.view.state).toBe("asleep");
});

test("a client of 1.2 sleeps and wakes beside it, and no octet of either is in the other's language", () => {
  const port = both();
  expect(port.old(sleep(60)).map(({ type }) => type)).toEqual(["DISCONNECT"]);
  expect(port.hears(old, () => port.sayYoung("P6 up x"))).toEqual([]);
  const [waited] = port.old(wake("old"));
  expect(waited).toMatchObject({ type: "PUBLISH", data: octets("x") });
  if (waited?.type !== "PUBLISH") throw new Error("no PUBLISH");
  expect(port.old(pubAck(waited)).map(({ type }) => type)).toEqual(["PINGRESP"]);
});

test("strangers hear a goodbye in what they speak, as far as anybody can tell", () => {
  const port = gateway();
  expect(port.old(subscribe("t")).map(({ type }) => type)).toEqual(["DISCONNECT"]);
  // No client has connected from here: a datagram that is no CONNECT is treated as 1.2.
  expect(port.young("P1 t x")).toEqual([]);
  expect(port.core.counters.dropped.malformed).toBe(1);
  expect(port.young("C")).toEqual([]);
});

test("what only 1.2 has is not said in the toy's language: ADVERTISE is broadcast once", () => {
  const { broadcasts } = gateway();
  expect(broadcasts.map((bytes) => decode(bytes))).toMatchObject([{ ok: true, message: { type: "ADVERTISE" } }]);
});

test("who connects in another language at the same address is spoken to in that from then on", () => {
  const port = both();
  expect(port.old(connect({ clientId: "young", cleanSession: false }), young)).toMatchObject([
    { type: "CONNACK", returnCode: 0 },
  ]);
  const sent = port.hears(young, () =>
    port.say(old, publish({ topicId: port.topicId, msgId: 21, data: octets("on") })),
  );
  const read = sent.map((text) => decode(Buffer.from(text, "latin1")));
  expect(read.map((each) => each.ok && each.message.type)).toEqual(["REGISTER"]); // it had learnt no id as a toy
  expect(port.young("Cyoung")).toEqual(["C+", expect.stringMatching(/^P\d+ down on$/)]);
});

test("a sleeper is not fetched from elsewhere in another language", () => {
  const port = both();
  expect(port.young("Z60")).toEqual(["Z"]);
  const elsewhere: PeerId = "udp/192.0.2.3:3000";
  expect(port.old(wake("young"), elsewhere).map(({ type }) => type)).toEqual(["DISCONNECT"]);
  expect(port.core.session("young")?.view).toMatchObject({ state: "asleep", peer: young });
});

test("a later run goes on in the language of the earlier one; a client of 1.2 is stored as ever", () => {
  const port = both();
  expect(port.young("Z60")).toEqual(["Z"]);
  expect(port.old(disconnect).map(({ type }) => type)).toEqual(["DISCONNECT"]);
  const record = port.core.session("young")?.record;
  expect(record).toMatchObject({ dialect: "toy" });
  expect(port.core.session("old")?.record ?? {}).not.toHaveProperty("dialect");
  if (!record) throw new Error("no session");
  const nothing = { queued: [], uplink: [], received: [], taken: [], backlog: undefined };
  const next = gateway([{ session: record, ...nothing }]);
  expect(next.young("Z")).toEqual(["Z"]);
});
