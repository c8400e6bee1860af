/** Clients are served while sessions of an earlier run are still restored: what the broker gets, and when. */
import { expect, test } from "vitest";
import { restoringLimits } from "../../../src/core/state/restoring.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { connect, octets, publish, register, subscribe, wake } from "../../helpers/bench.ts";
import { again, aggregating, type Options, Run, restarted, sentTo } from "../../helpers/restoring-run.ts";
import { testOptions } from "../../simulation/options.ts";

test("the shared connection opens at once, publications go over it, and nothing is subscribed to yet", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  expect(run.bench.began.effects.some(({ kind }) => kind === "openLink")).toBe(true);
  expect(run.bench.began.effects.some(({ kind }) => kind === "subscribe")).toBe(false);
  run.says("a", connect({ clientId: "a", cleanSession: false }));
  run.loads("a").gets("CONNACK");
  const { topicId } = run.says("a", register("t/up")).message("REGACK");
  const { packetId } = run.says("a", publish({ topicId, msgId: 7 })).effect("publish");
  run.keep(run.shared.acks("puback", packetId)).gets("PUBACK");
  run.slice("a", "b");
  const filters = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "subscribe" ? [effect.topicFilter] : []));
  expect(filters.sort()).toEqual(["t/a", "t/b"]);
});

test("a shared connection whose session at the broker is not the gateway's own waits until all is restored", () => {
  const run = new Run(aggregating, new StateTable(), []);
  expect(run.bench.links.size).toBe(0);
  run.completes();
  expect(run.bench.links.has("gateway")).toBe(true);
});

test("a broker that has lost the session gets all subscriptions when all sessions are restored", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  run.keep(run.shared.down());
  expect(run.keep(run.shared.up(false)).effects.filter(({ kind }) => kind === "subscribe")).toEqual([]);
  run.slice("a", "b");
  expect(run.completes().effects.filter(({ kind }) => kind === "subscribe")).toHaveLength(2);
});

test("while the broker is away at the end, the subscriptions are made at its return", () => {
  const run = restarted({ a: "t/a" });
  run.keep(run.shared.down());
  run.slice("a");
  expect(run.completes().effects.filter(({ kind }) => kind === "subscribe")).toEqual([]);
  expect(run.keep(run.shared.up(true)).effects.filter(({ kind }) => kind === "subscribe")).toHaveLength(1);
});

test("SUBSCRIBE and UNSUBSCRIBE are answered when all sessions are restored, and each once", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  run.says("a", connect({ clientId: "a", cleanSession: false }));
  run.loads("a").gets("CONNACK");
  run
    .says("a", subscribe("t/new", 1, 8))
    .gets()
    .asks();
  run.says("a", { type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 9, topic: "t/b" }).gets().asks();
  run.slice("b");
  const end = run.completes();
  const subscribes = end.effects.flatMap((effect) => (effect.kind === "subscribe" ? [effect] : []));
  const mine = subscribes.find(({ topicFilter }) => topicFilter === "t/new");
  expect(run.keep(run.shared.acks("suback", mine?.packetId ?? 0, 1)).message("SUBACK").msgId).toBe(8);
  expect(end.message("UNSUBACK").msgId).toBe(9); // b has the filter, so the broker is not asked
  expect(end.effects.filter(({ kind }) => kind === "unsubscribe")).toEqual([]);
});

test("a filter of a session that ends is ended at the broker only at the end, and only if nobody has it", () => {
  const run = restarted({ a: "t/both", b: "t/both", c: "t/own" });
  for (const clientId of ["a", "c"]) {
    run.says(clientId, connect({ clientId, cleanSession: true }));
    run.loads(clientId).gets("CONNACK").asks();
  }
  run.slice("a", "b", "c");
  const ended = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "unsubscribe" ? [effect.topicFilter] : []));
  expect(ended).toEqual(["t/own"]);
});

test("what the broker delivers waits for all sessions, is given to each of them, and is acknowledged then", () => {
  const run = restarted({ a: "t/#", b: "t/x" });
  run.keep(run.shared.delivers({ topicName: "t/x", payload: octets("1"), packetId: 5 })).asks();
  run.keep(run.shared.delivers({ topicName: "t/x", payload: octets("2"), qos: 0 })).asks();
  run.slice("a", "b");
  const acks = run.completes().effects.flatMap((effect) => (effect.kind === "ackBroker" ? [effect.packetId] : []));
  expect(acks).toEqual([5]);
  expect([...run.bench.core.sessions()].map(({ waitingMessages }) => waitingMessages)).toEqual([2, 2]);
});

test("a delivery that comes while others are handed on goes behind them", () => {
  const run = restarted({ a: "tx" });
  for (let i = 0; i < 30; i++) run.keep(run.shared.delivers({ topicName: "tx", payload: octets(`${i}`), qos: 0 }));
  run.slice("a");
  run.completes();
  run.keep(run.shared.delivers({ topicName: "tx", payload: octets("30"), qos: 0 }));
  run.keep(run.bench.after(1));
  const got = sentTo(run, "a", run.says("a", wake("a")));
  expect(got).toEqual(Array.from({ length: 31 }, (_, i) => `${i}`));
});

test("deliveries of a connection that ended are not acknowledged over the next one; the broker sends them again", () => {
  const run = restarted({ a: "t/a" });
  run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("old"), packetId: 5 }));
  run.keep(run.shared.down());
  run.keep(run.shared.up(true));
  run.slice("a");
  expect(run.completes().effects.filter(({ kind }) => kind === "ackBroker")).toEqual([]);
  run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("old"), packetId: 5, dup: true }));
  expect([...run.bench.core.sessions()].map(({ waitingMessages }) => waitingMessages)).toEqual([1]);
});

test("more deliveries at QoS 0 than may wait are dropped; too many octets at QoS 1 close the connection till the end", () => {
  const run = restarted({ a: "t/a" });
  for (let i = 0; i < restoringLimits.unanswered; i++)
    run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("x"), qos: 0 }));
  expect(run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("x"), qos: 0 })).drops).toEqual([
    "not-restored",
  ]);
  const { linkId } = run.shared;
  const large = new Uint8Array(restoringLimits.deliveryOctets);
  const closed = run.keep(run.shared.delivers({ topicName: "t/a", payload: large, packetId: 9 })).effect("closeLink");
  expect([closed.linkId, closed.endSession]).toEqual([linkId, false]);
  run.slice("a");
  const opened = run.completes().effects.flatMap((effect) => (effect.kind === "openLink" ? [effect.link] : []));
  expect(opened.map(({ mqttClientId, clean }) => [mqttClientId, clean])).toEqual([["gateway", false]]);
});

test("the time for which a delivery has waited is taken from the time after which it expires", () => {
  const run = restarted({ a: "t/a" });
  run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("x"), packetId: 5, expirySeconds: 10 }));
  run.keep(run.bench.after(8_000));
  run.slice("a");
  run.completes();
  expect([...run.bench.core.sessions()].map(({ waitingMessages }) => waitingMessages)).toEqual([1]);
  run.keep(run.bench.after(2_500));
  expect([...run.bench.core.sessions()].map(({ waitingMessages }) => waitingMessages)).toEqual([0]);
});

test("a packet id of a publication that is under way is not given to another one", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false }));
  const { topicId } = before.says("a", register("t/up")).message("REGACK");
  const open = before.says("a", publish({ topicId, qos: 2, msgId: 3 })).effect("publish");
  const run = again(before);
  run.says("z", connect({ clientId: "z", cleanSession: false }));
  run.loads("z").gets("CONNACK");
  const { topicId: of } = run.says("z", register("t/up")).message("REGACK");
  const ids = new Set([open.packetId]);
  for (let msgId = 1; msgId <= 8; msgId++) {
    const { packetId } = run.says("z", publish({ topicId: of, msgId })).effect("publish");
    expect(ids.has(packetId)).toBe(false);
    ids.add(packetId);
  }
});

test("an exchange whose client the store did not name begins again under another id, if its id is in use", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false }));
  const { topicId } = before.says("a", register("t/up")).message("REGACK");
  before.says("a", publish({ topicId, qos: 2, msgId: 3 }));
  const first = [...before.table.states()].filter(({ session }) => session.clientId.startsWith("\0"));
  const run = new Run(aggregating, before.table, first);
  run.slice("a");
  const published = run.completes().effect("publish");
  expect(published.publication.qos).toBe(2);
  const { uplink } = run.table.state("a") ?? { uplink: [] };
  expect(uplink.map(([packetId]) => packetId)).toEqual([published.packetId]);
});

test("a connection of an earlier run is left before the shared connection opens, also if all of it is known at once", () => {
  const two: Options = { upstream: { ...testOptions.upstream, mode: "aggregating", copies: "one", connections: 2 } };
  const before = new Run(two);
  for (const id of before.bench.links.keys()) before.keep(before.bench.link(id).up());
  for (const id of before.bench.links.keys()) before.keep(before.bench.link(id).up());
  const run = again(before);
  expect([...run.bench.links.keys()]).toEqual([]);
  const opened = run.completes().effects.flatMap((effect) => (effect.kind === "openLink" ? [effect.link] : []));
  const [left] = opened;
  expect([opened.length, left?.mqttClientId === "gateway"]).toEqual([1, false]);
  run.keep(run.bench.link(left?.mqttClientId ?? "").up(true));
  expect(run.bench.links.has("gateway")).toBe(true);
});

test("if a session is found that must be left at the broker first, the shared connection is closed until that is done", () => {
  const run = restarted({ a: "t/a" });
  const state = run.table.state("a");
  if (!state) throw new Error("a has a session");
  const { home: _, ...own } = state.session;
  run.input({ kind: "restored", goesOn: true, states: [{ ...state, session: own }] });
  const { linkId } = run.shared;
  const end = run.completes();
  expect(end.effect("closeLink").linkId).toBe(linkId);
  expect(end.effect("openLink").link.mqttClientId).toBe("a");
});

test("a broker that has lost the session is asked for nothing before the end, although some sessions are there", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  run.slice("a");
  run.keep(run.shared.down());
  expect(run.keep(run.shared.up(false)).effects.filter(({ kind }) => kind === "subscribe")).toEqual([]);
  run.slice("b");
  expect(run.completes().effects.filter(({ kind }) => kind === "subscribe")).toHaveLength(2);
});

test("the states of clients that were restored late are published when all are known", () => {
  const run = restarted({ a: "t/a" }, { ...aggregating, status: { topic: "gw" } });
  run.slice("a");
  const topics = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "publish" ? [effect.publication.topicName] : []));
  expect(topics).toEqual(["gw/clients/a"]);
});

test("with a connection for each client, the states of clients that were restored late are published too", () => {
  const options: Options = { status: { topic: "gw" } };
  const before = new Run(options);
  before.says("a", connect({ clientId: "a", cleanSession: false }));
  before.keep(before.bench.link("a").up()).gets("CONNACK");
  const run = again(before, options);
  run.slice("a");
  const topics = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "publish" ? [effect.publication.topicName] : []));
  expect(topics).toEqual(["gw/clients/a"]);
});

test("a connection of an earlier run is left once, although the slices have its record again", () => {
  const two: Options = { upstream: { ...testOptions.upstream, mode: "aggregating", copies: "one", connections: 2 } };
  const before = new Run(two);
  for (const id of before.bench.links.keys()) before.keep(before.bench.link(id).up());
  for (const id of before.bench.links.keys()) before.keep(before.bench.link(id).up());
  const run = again(before);
  run.slice("\0/0", "\0/1");
  const opened = run.completes().effects.flatMap((effect) => (effect.kind === "openLink" ? [effect.link] : []));
  expect(opened.map(({ mqttClientId }) => mqttClientId)).toHaveLength(1);
});

test("a packet id that the broker has released since the start does not come back with a slice", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false }));
  const { packetId } = before.says("a", subscribe("t/a", 2)).effect("subscribe");
  before.keep(before.shared.acks("suback", packetId, 2));
  before.keep(before.shared.delivers({ topicName: "t/a", payload: octets("1"), qos: 2, packetId: 7 }));
  const run = again(before);
  const stale = [...run.table.states()].filter(({ session }) => session.clientId.startsWith("\0"));
  run.keep(run.shared.releases(7)).effect("ackBroker");
  run.input({ kind: "restored", goesOn: true, states: stale });
  run.slice("a");
  run.completes();
  // The same contents under the id again: it is another message, not a repetition.
  run.keep(run.shared.delivers({ topicName: "t/a", payload: octets("1"), qos: 2, packetId: 7 }));
  expect(run.bench.core.counters.dropped.repeat).toBe(0);
});
