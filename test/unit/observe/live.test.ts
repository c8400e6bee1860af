/** Pages that observe the gateway cost nothing while none is open, and a limited amount otherwise. */
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { shownBy } from "../../../src/config/payloads.ts";
import { Live } from "../../../src/observe/live.ts";
import { Knocks } from "../../../src/runtime/knocks.ts";
import { stateInWords } from "../../../src/runtime/state-words.ts";
import { TotalsOfTheHour } from "../../../src/runtime/totals.ts";
import { encode } from "../../../src/wire/v12/codec.ts";

const peer = "udp/192.0.2.1:1";
const ping = encode({ type: "PINGREQ", clientId: "" });

function live(client: string | undefined = "c1") {
  const asked = { times: 0 };
  const names = {
    clientAt: () => {
      asked.times++;
      return client;
    },
    topicName: () => undefined,
  };
  return { asked, live: new Live(names, () => 5) };
}

const sees = { seesPayloads: true, seesStrangers: true };

test("nobody looks: there is no tap, and an event leaves nothing behind", () => {
  const { live: looked } = live();
  looked.report({ event: "session_ended", clientId: "c1", why: "" });
  expect(looked.tap).toBeUndefined();
  const list = looked.watch({ datagrams: "none", ...sees });
  expect(looked.tap).toBeUndefined(); // a list of devices needs no datagrams
  expect(list.take()).toBeUndefined();
  const datagrams = looked.watch({ datagrams: "all", ...sees });
  expect(looked.tap).toBeDefined();
  datagrams.close();
  expect(looked.tap).toBeUndefined();
});

test("a page that does not look holds two hundred datagrams, and hears how many it missed", () => {
  const { live: looked } = live();
  const watch = looked.watch({ datagrams: "all", ...sees });
  for (let i = 0; i < 250; i++) looked.tap?.("in", peer, ping);
  const news = watch.take();
  expect([news?.datagrams.length, news?.lost]).toEqual([200, 50]);
  expect(watch.take()).toBeUndefined();
});

test("more clients than can be named are told as many", () => {
  const { live: looked } = live();
  const watch = looked.watch({ datagrams: "none", ...sees });
  for (let i = 0; i < 5_000; i++) looked.report({ event: "session_ended", clientId: `c${i}`, why: "" });
  expect(watch.take()).toMatchObject({ clients: undefined });
});

test("one device is watched: the last hundred are there for who looks later, others' are not kept", () => {
  const { live: looked } = live();
  const first = looked.watch({ datagrams: { clientId: "c1" }, ...sees });
  const other = looked.watch({ datagrams: { clientId: "c2" }, ...sees });
  for (let i = 0; i < 150; i++) looked.tap?.("out", peer, ping);
  const second = looked.watch({ datagrams: { clientId: "c1" }, ...sees });
  expect(second.take()?.datagrams.map(({ number }) => number)).toEqual(Array.from({ length: 100 }, (_, i) => i + 51));
  expect(other.take()).toBeUndefined();
  first.close();
  second.close();
  expect(looked.watch({ datagrams: { clientId: "c1" }, ...sees }).take()).toBeUndefined();
});

test("a CONNECT from an address without a session is its client's, and a node behind a forwarder is itself", () => {
  const names = { clientAt: () => undefined, topicName: () => undefined };
  const looked = new Live(names, () => 5);
  const watch = looked.watch({ datagrams: "all", ...sees });
  const viewer = looked.watch({ datagrams: "all", seesPayloads: false, seesStrangers: false });
  const connect = encode(
    { type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 10, clientId: "new" },
    { nodeId: new Uint8Array([0xab]), radius: 0 },
  );
  looked.tap?.("in", peer, connect);
  looked.tap?.("in", peer, new Uint8Array([1]));
  expect(watch.take()?.datagrams).toMatchObject([
    { client: "new", peer: `${peer}#ab`, type: "CONNECT" },
    { peer, type: "malformed" },
  ]);
  expect(viewer.take()).toBeUndefined(); // a viewer does not see refused devices
});

const facts = { why: "", stateSeconds: 0, secondsSilent: 0, keepAliveSeconds: 60, sleepSeconds: 300 };

test.each([
  [{ state: "active", secondsSilent: 12 }, "active, heard 12 s ago", false],
  [{ state: "active", secondsSilent: 75 }, "late by 15 s: it should have spoken", true],
  [{ state: "active", secondsSilent: 9_000, keepAliveSeconds: 0 }, "active, heard 3 h ago", false],
  [{ state: "asleep", secondsSilent: 60 }, "asleep, due in 4 min", false],
  [{ state: "asleep", secondsSilent: 1_020 }, "late by 12 min: it should have woken", true],
  [{ state: "awake" }, "awake, fetching its messages", false],
  [{ state: "lost", why: "keep alive ran out", stateSeconds: 10_800 }, "lost: keep alive ran out, 3 h ago", false],
  [{ state: "lost", stateSeconds: undefined }, "lost, since before the gateway started", false],
  [{ state: "disconnected", why: "DISCONNECT", stateSeconds: 5 }, "disconnected, 5 s ago", false],
  [
    { state: "disconnected", why: "not admitted any more", stateSeconds: 5 },
    "disconnected: not admitted any more, 5 s ago",
    false,
  ],
] as const)("a state is told with its cause: %o", (over, says, isLate) => {
  expect(stateInWords({ ...facts, ...over })).toMatchObject({ says, isLate });
});

test("who knocks again and again is one line with a count; who is let in is none", () => {
  const knocks = new Knocks(() => 7);
  const event = { event: "not_admitted", what: "client", clientId: "c", peer, hint: "access.rules: …" } as const;
  knocks.note(event);
  knocks.note(event);
  expect(knocks.all).toEqual([expect.objectContaining({ clientId: "c", times: 2, hint: "access.rules: …" })]);
  knocks.note({ event: "client_state", clientId: "c", state: "active", peer, why: "CONNECT" });
  expect(knocks.all).toEqual([]);
  for (let i = 0; i < 300; i++) knocks.note({ ...event, clientId: `made up ${i}` });
  expect([knocks.size, knocks.all[0]?.clientId]).toEqual([200, "made up 299"]);
});

test("a device without a good key is one line too, until a client of that name is there", () => {
  const knocks = new Knocks(() => 7);
  const why = "there is no key for this identity";
  const refusal = { identity: "c", from: "dtls/192.0.2.1:5", why, isUnknown: true } as const;
  knocks.noteTurnedAway(refusal, "a hint");
  knocks.noteTurnedAway({ ...refusal, from: "dtls/192.0.2.1:6" }, "a hint");
  for (const port of [7, 8])
    knocks.noteTurnedAway(
      { ...refusal, identity: undefined, from: `dtls/192.0.2.1:${port}`, why: "no certificate" },
      "",
    );
  expect(knocks.all).toMatchObject([
    { what: "key", clientId: undefined, why: "no certificate", times: 2 },
    { what: "key", clientId: "c", peer: "dtls/192.0.2.1:6", why, hint: "a hint", times: 2 },
  ]);
  knocks.note({ event: "client_state", clientId: "c", state: "active", peer, why: "CONNECT" });
  expect(knocks.all).toHaveLength(1);
});

test("the hour is told in messages per second; a clock that was set back draws nothing twice", () => {
  const totals = new TotalsOfTheHour();
  const row = { published: 0, delivered: 0, heard: 0, sent: 0, dropped: 0 };
  for (let i = 0; i < 400; i++) totals.note(i * 10_000, { ...row, published: i * 50 });
  const { at, published } = totals.perSecond();
  expect([at.length, new Set(published)]).toEqual([360, new Set([5])]);
  totals.note(1_000_000, { ...row, published: 99_999 });
  expect(totals.perSecond().at.every((when, i, all) => i === 0 || when > (all[i - 1] ?? 0))).toBe(true);
});

const publishOf = (data: Uint8Array) =>
  encode({ type: "PUBLISH", dup: false, qos: 0, retain: false, topicIdType: "normal", topicId: 1, msgId: 0, data });

test("a value that is known only when somebody looks is shown all the same", () => {
  let answer: string | undefined;
  const looked = new Live(
    { clientAt: () => "c1", topicName: () => "t" },
    () => 5,
    () => answer,
  );
  const watch = looked.watch({ datagrams: "all", ...sees });
  looked.tap?.("in", peer, publishOf(Uint8Array.of(43)));
  answer = '{"temperature":21.5}';
  expect(watch.take()?.datagrams[0]?.words?.at(-1)).toBe('value: {"temperature":21.5}');
});

test("a payload that a declaration is for is shown as what it says, to who sees payloads", () => {
  const names = { clientAt: () => "c1", topicName: () => "barn/1" };
  const { payloads } = parseConfig({
    payloads: [{ topics: "barn/+", fields: [{ name: "temperature", type: "u8", scale: 0.5, unit: "°C" }] }],
  });
  const looked = new Live(names, () => 5, shownBy(payloads));
  const watch = looked.watch({ datagrams: "all", ...sees });
  const hidden = looked.watch({ datagrams: "all", ...sees, seesPayloads: false });
  looked.tap?.("in", peer, publishOf(Uint8Array.of(43)));
  looked.tap?.("in", peer, publishOf(Uint8Array.of(43, 1))); // does not fit
  const [fits, unfit] = watch.take()?.datagrams ?? [];
  expect(fits?.words?.at(-1)).toBe('value: {"temperature":21.5}');
  expect(unfit?.words?.join()).not.toContain("value");
  expect(JSON.stringify(hidden.take())).not.toContain("21.5");
});
