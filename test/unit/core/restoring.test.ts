/** Clients are served while sessions of an earlier run are still restored. */
import { expect, test } from "vitest";
import type { Input } from "../../../src/core/input.ts";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { Restoring, restoringLimits } from "../../../src/core/state/restoring.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import {
  Bench,
  connect,
  disconnect,
  elsewhere,
  octets,
  ping,
  pubAck,
  publish,
  regAck,
  register,
  sleep,
  subscribe,
  type Turn,
  wake,
} from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

type Options = Partial<CoreOptions>;

const aggregating: Options = { upstream: { ...testOptions.upstream, mode: "aggregating", copies: "one" } };
const peerOf = (clientId: string): PeerId => `udp/192.0.2.${clientId.charCodeAt(0)}:1`;

/** A core over a table of records: commits are kept, and done at once. */
class Run {
  readonly bench: Bench;
  readonly table: StateTable;

  constructor(options: Options, table = new StateTable(), first?: readonly StoredState[]) {
    this.table = table;
    this.bench = new Bench({ ...options, durable: true }, first ? { first } : []);
    this.keep(this.bench.began);
  }

  keep(turn: Turn): Turn {
    for (const effect of turn.effects) {
      if (effect.kind !== "persist") continue;
      for (const change of effect.changes) this.table.apply(change);
      this.bench.input({ kind: "persisted", token: effect.token });
    }
    return turn;
  }

  says(clientId: string, message: Parameters<Bench["client"]>[0], from = peerOf(clientId)): Turn {
    return this.keep(this.bench.client(message, from));
  }

  input(input: Input): Turn {
    return this.keep(this.bench.input(input));
  }

  /** The store answers the question for this session. */
  loads(clientId: string): Turn {
    const state = this.table.state(clientId);
    return this.input({ kind: "loaded", clientId, ...(state && { state }) });
  }

  slice(...clientIds: string[]): Turn {
    const states = clientIds.flatMap((clientId) => this.table.state(clientId) ?? []);
    return this.input({ kind: "restored", goesOn: true, states });
  }

  completes(): Turn {
    return this.input({ kind: "restored", goesOn: true, isComplete: true });
  }

  get shared() {
    return this.bench.link("gateway");
  }
}

/**
 * A run in which clients sleep that share a connection, each with the filter of its letters; then the next run, to
 * which only the record of the shared connection was handed yet.
 */
function restarted(filters: Record<string, string>, options: Options = aggregating): Run {
  const before = new Run(options);
  before.keep(before.shared.up()); // the second: what the first found there was ended
  for (const [clientId, filter] of Object.entries(filters)) {
    before.says(clientId, connect({ clientId, cleanSession: false })).gets("CONNACK");
    const { packetId } = before.says(clientId, subscribe(filter)).effect("subscribe");
    before.keep(before.shared.acks("suback", packetId, 1)).gets("SUBACK");
    before.says(clientId, sleep(600)).gets("DISCONNECT");
  }
  return again(before, options);
}

function again(before: Run, options: Options = aggregating): Run {
  const first = [...before.table.states()].filter(
    ({ session, uplink }) => session.clientId.startsWith("\0") || uplink.length > 0,
  );
  return new Run(options, before.table, first);
}

const loads = (turn: Turn) => turn.effects.flatMap((effect) => (effect.kind === "load" ? [effect.clientId] : []));

/** What a client that wakes is sent, beginning with this turn, if it answers everything. */
function sentTo(run: Run, clientId: string, first: Turn): string[] {
  const got: string[] = [];
  for (let turn: Turn | undefined = first; turn; ) {
    const { sent }: Turn = turn;
    turn = undefined;
    for (const message of sent) {
      if (message.type === "PUBLISH") got.push(Buffer.from(message.data).toString());
      if (message.type === "REGISTER") turn = run.says(clientId, regAck(message));
      if (message.type === "PUBLISH" && message.qos === 1) turn = run.says(clientId, pubAck(message));
    }
  }
  return got;
}

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
  for (let i = 0; i < restoringLimits.waiting; i++)
    dropped += run.says("q", register("t"), `udp/10.0.${i >> 8}.${i & 255}:1`).drops.length;
  expect(dropped).toBe(restoringLimits.perKey);
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

const storingAll: CoreOptions["uplink"] = {
  ...testOptions.uplink,
  policyOf: () => ({ ...testOptions.uplink.policyOf("a"), whenAway: "store" }),
};

test("a session that was restored before its slice, and has ended since, is not restored by the slice", () => {
  const run = restarted({ a: "t/a" });
  const stale = run.table.state("a");
  run.slice("a");
  run.input({ kind: "dropSession", clientId: "a" });
  if (stale) run.input({ kind: "restored", goesOn: true, states: [stale] });
  expect([...run.bench.core.sessions()]).toEqual([]);
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

test("the states of clients that were restored late are published when all are known", () => {
  const run = restarted({ a: "t/a" }, { ...aggregating, status: { topic: "gw" } });
  run.slice("a");
  const topics = run
    .completes()
    .effects.flatMap((effect) => (effect.kind === "publish" ? [effect.publication.topicName] : []));
  expect(topics).toEqual(["gw/clients/a"]);
});

test("octets that are no message get no answer that says: you have no session", () => {
  const run = restarted({ a: "t/a" });
  const malformed = "08122100016162" + "63"; // SUBSCRIBE with an id of three octets
  const turn = run.bench.datagram(malformed, peerOf("a")).gets();
  expect(turn.drops).toEqual(["malformed"]);
});
