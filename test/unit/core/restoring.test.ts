/** Clients are served while sessions of an earlier run are still restored: what a client gets, and when. */
import { expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import { Restoring, restoringLimits } from "../../../src/core/state/restoring.ts";
import {
  connect,
  disconnect,
  elsewhere,
  octets,
  ping,
  publish,
  register,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";
import {
  again,
  aggregating,
  loads,
  type Options,
  peerOf,
  Run,
  restarted,
  sentTo,
} from "../../helpers/restoring-run.ts";
import { testOptions } from "../../simulation/options.ts";

const storingAll: CoreOptions["uplink"] = {
  ...testOptions.uplink,
  policyOf: () => ({ ...testOptions.uplink.policyOf("a"), whenAway: "store" }),
};

test("a sleeper whose turn has not come is read from the store when it wakes, and gets its answer then", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  const asked = run.says("a", wake("a")).gets();
  expect(loads(asked)).toEqual(["a"]);
  run.loads("a").gets("PINGRESP");
  run.says("a", wake("a")).gets("PINGRESP");
  run.slice("a", "b");
  run.completes();
  expect([...run.bench.core.sessions()].map(({ clientId }) => clientId).sort()).toEqual(["a", "b"]);
});

test("messages that wait for a sleeper are sent when it wakes, before all sessions are restored", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false }));
  const { packetId } = before.says("a", subscribe("ta")).effect("subscribe");
  before.keep(before.shared.acks("suback", packetId, 1));
  before.says("a", sleep(600));
  before.keep(before.shared.delivers({ topicName: "ta", payload: octets("17") }));
  const run = again(before);
  run.says("a", wake("a"));
  expect(sentTo(run, "a", run.loads("a"))).toEqual(["17"]);
});

test("a CONNECT waits for the answer of the store: of a known client its session goes on, of another one begins", () => {
  const run = restarted({ a: "t/a" });
  const both = [
    run.says("a", connect({ clientId: "a", cleanSession: false })).gets(),
    run.says("z", connect({ clientId: "z", cleanSession: false })).gets(),
  ];
  expect(both.map(loads)).toEqual([["a"], ["z"]]);
  run.loads("a").gets("CONNACK");
  run.loads("z").gets("CONNACK");
  const filters = [...run.bench.core.sessions()].map(({ subscriptions }) => subscriptions);
  expect(filters).toEqual([1, 0]);
});

test("a repeated CONNECT does not ask the store again, and the session that it needs is made once", () => {
  const run = restarted({ a: "t/a" });
  expect(loads(run.says("a", connect({ clientId: "a", cleanSession: false })))).toEqual(["a"]);
  expect(loads(run.says("a", connect({ clientId: "a", cleanSession: false })))).toEqual([]);
  expect(run.loads("a").sent.map(({ type }) => type)).toContain("CONNACK");
});

test("while the store cannot read a session, its client gets no answer, and the next message asks again", () => {
  const run = restarted({ a: "t/a" });
  run.says("a", wake("a"));
  const failed = run.input({ kind: "loaded", clientId: "a", failed: "gone" }).gets();
  expect(failed.drops).toEqual(["store-failing"]);
  expect(loads(run.says("a", wake("a")))).toEqual(["a"]);
  run.loads("a").gets("PINGRESP");
});

test("an address without a session gets no DISCONNECT; its message is handled when its session is restored", () => {
  const run = restarted({ a: "t/a" });
  run.says("a", register("t/up")).gets();
  run.says("b", register("t/up")).gets();
  run.slice("a").gets("REGACK");
  const end = run.completes();
  expect(end.sent.map(({ type }) => type)).toContain("DISCONNECT"); // of b, which has no session
});

test("an active client whose session is restored later gets the answer to what it sent before", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false })).gets("CONNACK");
  const run = again(before);
  run.says("a", register("t/up")).gets();
  run.says("a", ping).gets();
  run.slice("a").gets("REGACK", "PINGRESP");
});

test("a slice brings nothing back that has ended meanwhile", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  const stale = run.table.state("a");
  run.says("a", connect({ clientId: "a", cleanSession: true }));
  run.loads("a").gets("CONNACK");
  run.says("a", disconnect);
  run.input({ kind: "dropSession", clientId: "a" });
  expect([...run.bench.core.sessions()]).toEqual([]);
  if (stale) run.input({ kind: "restored", goesOn: true, states: [stale] });
  expect([...run.bench.core.sessions()]).toEqual([]);
  run.completes();
  expect([...run.bench.core.sessions()].map(({ clientId }) => clientId)).toEqual([]);
});

test("a session that the store had not, and that has begun since, is not replaced by a slice", () => {
  const run = restarted({ a: "t/a" });
  const stale = run.table.state("a");
  run.says("a", connect({ clientId: "a", cleanSession: true }));
  run.loads("a").gets("CONNACK");
  if (stale) run.input({ kind: "restored", goesOn: true, states: [stale] });
  expect([...run.bench.core.sessions()].map(({ subscriptions }) => subscriptions)).toEqual([0]);
});

test("a client that begins anew gets no answer to what it asked before", () => {
  const run = restarted({ a: "t/a" });
  run.says("a", connect({ clientId: "a", cleanSession: false }));
  run.loads("a").gets("CONNACK");
  run.says("a", subscribe("t/old", 1, 8)).gets();
  run.says("a", connect({ clientId: "a", cleanSession: false })).gets("CONNACK");
  const filters = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "subscribe" ? [effect.topicFilter] : []));
  expect(filters).toEqual(["t/a"]);
});

test("an address belongs to the client that was heard there since the start", () => {
  const run = restarted({ a: "t/a" });
  run.says("z", connect({ clientId: "z", cleanSession: false }), peerOf("a"));
  run.loads("z").gets("CONNACK");
  run.slice("a");
  run.completes();
  const peers = [...run.bench.core.sessions()].map(({ clientId, peer }) => [clientId, peer]);
  expect(Object.fromEntries(peers)).toEqual({ z: peerOf("a"), a: undefined });
  expect(run.table.state("a")?.session.peer).toBeUndefined();
});

test("what the operator wants of a client waits until its session was read", () => {
  const run = restarted({ a: "t/a", b: "t/b" });
  expect(loads(run.input({ kind: "dropSession", clientId: "a" }))).toEqual(["a"]);
  run.loads("a");
  run.slice("a", "b");
  run.completes();
  expect([...run.bench.core.sessions()].map(({ clientId }) => clientId)).toEqual(["b"]);
});

test("what waits has a limit: for one client, and for all together", () => {
  const run = restarted({ a: "t/a" });
  for (let i = 0; i < restoringLimits.perKey; i++) expect(run.says("a", wake("a")).drops).toEqual([]);
  expect(run.says("a", wake("a")).drops).toEqual(["not-restored"]);
  let dropped = 0;
  for (let i = 0; i < restoringLimits.waiting + 7; i++)
    dropped += run.says("q", register("t"), `udp/10.0.${i >> 8}.${i & 255}:1`).drops.length;
  expect(dropped).toBe(7);
});

test("who fills the place for unknown addresses keeps no client from its session", () => {
  const run = restarted({ a: "t/a" });
  for (let i = 0; i < restoringLimits.waiting; i++) run.says("q", register("t"), `udp/10.0.${i >> 8}.${i & 255}:1`);
  expect(run.says("q", register("t"), elsewhere).drops).toEqual(["not-restored"]);
  run.says("a", wake("a"));
  run.loads("a").gets("PINGRESP");
});

test("when all sessions are restored, the store is not asked for any more", () => {
  const run = restarted({ a: "t/a" });
  for (let i = 0; i < restoringLimits.asked + 30; i++)
    run.says("q", connect({ clientId: `n${i}` }), `udp/10.0.0.${i}:1`);
  run.slice("a");
  expect(loads(run.completes())).toEqual([]);
});

test("so many sessions are asked for at a time, the others after them", () => {
  const run = restarted({ a: "t/a" });
  const asked: string[] = [];
  for (let i = 0; i < restoringLimits.asked + 3; i++)
    asked.push(...loads(run.says("q", connect({ clientId: `n${i}` }), `udp/10.0.0.${i}:1`)));
  expect(asked).toHaveLength(restoringLimits.asked);
  const next = run.input({ kind: "loaded", clientId: "n0" }).gets("CONNACK");
  expect(loads(next)).toEqual([`n${restoringLimits.asked}`]);
});

test("new clients do not make more sessions than there may be; the client that is away longest makes room", () => {
  const clients = { ...testOptions.clients, sessionsMax: 2 };
  const run = restarted({ a: "t/a", b: "t/b" }, { ...aggregating, clients });
  run.says("z", connect({ clientId: "z", cleanSession: false }));
  run.loads("z").gets("CONNACK");
  run.says("z", disconnect);
  run.slice("a", "b");
  run.completes();
  expect([...run.bench.core.sessions()].map(({ clientId }) => clientId).sort()).toEqual(["a", "b"]);
});

test("where more sessions are stored than there may be now, all stay; each new client still costs one", () => {
  const access: CoreOptions["access"] = {
    ...testOptions.access,
    client: () => ({ admitted: true, byName: true }),
  };
  const away = ["a", "b", "c", "d"];
  const before = new Run({ ...aggregating, access });
  before.keep(before.shared.up());
  for (const clientId of away) {
    before.says(clientId, connect({ clientId, cleanSession: false })).gets("CONNACK");
    before.says(clientId, ping).gets("PINGRESP");
    before.says(clientId, disconnect).gets("DISCONNECT");
  }
  const lower: Options = { ...aggregating, access, clients: { ...testOptions.clients, sessionsMax: 2 } };
  const clients = (run: Run) => [...run.bench.core.sessions()].map(({ clientId }) => clientId).sort();
  const run = again(before, lower);
  run.slice("a", "b", "c");
  run.slice("d");
  run.completes();
  expect(clients(run)).toEqual(away);
  const other = again(before, lower);
  other.says("z", connect({ clientId: "z", cleanSession: false }));
  other.loads("z").gets("CONNACK");
  other.slice(...away);
  other.completes();
  expect(clients(other)).toEqual(["b", "c", "d", "z"]);
});

test("who is not admitted gets the answer without a question to the store", () => {
  const access: CoreOptions["access"] = {
    ...testOptions.access,
    client: (clientId) => (clientId === "bad" ? { admitted: false, hint: "" } : { admitted: true }),
  };
  const run = restarted({ a: "t/a" }, { ...aggregating, access });
  const refused = run.says("x", connect({ clientId: "bad" })).gets("CONNACK");
  expect(loads(refused)).toEqual([]);
});

test("gateways are searched for, and publications without a connection are taken, as always", () => {
  const run = restarted({ a: "t/a" });
  run.says("x", { type: "SEARCHGW", radius: 0 }, elsewhere).gets("GWINFO");
});

test("with a connection for each client, a client is restored, connected and answered before the others", () => {
  const before = new Run({});
  for (const clientId of ["a", "b"]) {
    before.says(clientId, connect({ clientId, cleanSession: false }));
    before.keep(before.bench.link(clientId).up()).gets("CONNACK");
    before.says(clientId, sleep(600)).gets("DISCONNECT");
  }
  const run = again(before, {});
  run.says("a", wake("a")).gets();
  run.loads("a").gets("PINGRESP").effect("openLink");
  run.slice("b").effect("openLink");
  run.completes();
  expect([...run.bench.core.sessions()]).toHaveLength(2);
});

test("a client whose broker is away and who stores gets its PUBACK at once, before all is restored", () => {
  const options: Options = { ...aggregating, uplink: storingAll };
  const run = restarted({ a: "t/a" }, options);
  run.keep(run.shared.down());
  run.says("a", connect({ clientId: "a", cleanSession: false }));
  run.loads("a").gets("CONNACK");
  const { topicId } = run.says("a", register("t/up")).message("REGACK");
  run.says("a", publish({ topicId, msgId: 7 })).gets("PUBACK");
});

test("a session that was restored before its slice, and has ended since, is not restored by the slice", () => {
  const run = restarted({ a: "t/a" });
  const stale = run.table.state("a");
  run.slice("a");
  run.input({ kind: "dropSession", clientId: "a" });
  if (stale) run.input({ kind: "restored", goesOn: true, states: [stale] });
  expect([...run.bench.core.sessions()]).toEqual([]);
});

test("an active client gets what was on the way to it as soon as its session is restored", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false })).gets("CONNACK");
  const { packetId } = before.says("a", subscribe("t/a")).effect("subscribe");
  before.keep(before.shared.acks("suback", packetId, 1));
  before.keep(before.shared.delivers({ topicName: "t/a", payload: octets("17") }));
  const run = again(before);
  expect(sentTo(run, "a", run.slice("a"))).toEqual(["17"]);
});

test("an active client gets its messages although the connection to the broker has just ended", () => {
  const before = new Run(aggregating);
  before.keep(before.shared.up());
  before.says("a", connect({ clientId: "a", cleanSession: false })).gets("CONNACK");
  const { packetId } = before.says("a", subscribe("t/a")).effect("subscribe");
  before.keep(before.shared.acks("suback", packetId, 1));
  before.keep(before.shared.delivers({ topicName: "t/a", payload: octets("17") }));
  const run = again(before);
  run.keep(run.shared.down());
  expect(sentTo(run, "a", run.slice("a"))).toEqual(["17"]);
});

test("a message from an address waits behind the one that needs the session, also if the address is a new one", () => {
  const run = restarted({ a: "t/a" });
  run.says("a", connect({ clientId: "a", cleanSession: false }), elsewhere).gets();
  run.says("a", register("t/up"), elsewhere).gets();
  run.loads("a").gets("CONNACK", "REGACK");
});

test("octets that wait have a limit too", () => {
  const run = restarted({ a: "t/a" });
  const large = publish({ topicId: 1, msgId: 1, data: new Uint8Array(1_000) });
  let dropped = 0;
  for (let i = 0; i < 2_500; i++)
    dropped += run
      .says("q", large, `udp/10.0.${i >> 8}.${i & 255}:1`)
      .drops.filter((why) => why === "not-restored").length;
  expect(dropped).toBeGreaterThan(2_500 - restoringLimits.waitingOctets / 1_000);
  expect(dropped).toBeLessThan(2_500 - restoringLimits.waitingOctets / 1_100);
});

test("if too many clients were needed before their turn, no more of them are read", () => {
  const restoring = new Restoring();
  for (let i = 0; i < restoringLimits.settled; i++) restoring.settle(`c${i}`);
  expect(restoring.holdFor("one more", { kind: "dropSession", clientId: "one more" })).toBe(false);
});

test("octets that are no message get no answer that says: you have no session", () => {
  const run = restarted({ a: "t/a" });
  const malformed = "08122100016162" + "63"; // SUBSCRIBE with an id of three octets
  const turn = run.bench.datagram(malformed, peerOf("a")).gets();
  expect(turn.drops).toEqual(["malformed"]);
});

test("it is seen that sessions are still restored, and when they all are", () => {
  const run = restarted({ a: "t/a" });
  expect(run.bench.core.isRestoring).toBe(true);
  run.slice("a");
  run.completes();
  expect(run.bench.core.isRestoring).toBe(false);
});
