/** A retained message that comes because the gateway subscribed again, and not because the client did. */
import { describe, expect, test } from "vitest";
import type { Publication } from "../../../src/core/types.ts";
import { connect, octets, pubAck, subscribe } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

const command: Partial<Publication> = { topicName: "valve", payload: octets("open"), retain: true };

/** A client that is subscribed to the name of the command. */
function subscriber(filter = "valve"): GatewayRun {
  const run = new GatewayRun();
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false })));
  run.keep(bench.link().up());
  const { packetId } = run.keep(bench.client(subscribe(filter, 1))).effect("subscribe");
  run.keep(bench.link().acks("suback", packetId, 1));
  return run;
}

/** It is sent to the client, which answers what has to be answered. */
function shown(run: GatewayRun, publication: Partial<Publication> & { dup?: boolean }): void {
  const { bench } = run;
  let turn = run.keep(bench.link().delivers(publication));
  for (const effect of turn.effects)
    if (effect.kind === "send" && effect.message.type === "REGISTER")
      turn = run.keep(bench.client({ ...effect.message, type: "REGACK", returnCode: 0 }));
  const message = turn.message("PUBLISH");
  if (message.qos > 0) run.keep(bench.client(pubAck(message)));
}

/** Killed, or ended in order; the next one subscribes again. */
function restarted(run: GatewayRun, how: "killed" | "ended"): GatewayRun {
  if (how === "ended") run.keep(run.bench.input({ kind: "shutdown" }));
  const next = run.next();
  const { packetId } = next.keep(next.bench.link().up(true)).effect("subscribe");
  next.keep(next.bench.link().acks("suback", packetId, 1));
  return next;
}

describe.each(["killed", "ended"] as const)("after the gateway was %s", (how) => {
  test.each([0, 1, 2] as const)("a retained command that the client has does not come again, QoS %i", (qos) => {
    const run = subscriber();
    shown(run, { ...command, qos: qos === 2 ? 1 : qos });
    let next = restarted(run, how);
    const turn = next.keep(next.bench.link().delivers({ ...command, qos }));
    turn.gets();
    if (qos > 0) turn.asks("ackBroker");
    expect(next.bench.core.counters.dropped["retained-again"]).toBe(1);
    next = restarted(next, how);
    next.keep(next.bench.link().delivers({ ...command, qos })).gets();
  });

  test("one that changed meanwhile comes", () => {
    const run = subscriber();
    shown(run, command);
    const next = restarted(run, how);
    shown(next, { ...command, payload: octets("shut") });
    next.keep(next.bench.link().delivers({ ...command, payload: octets("shut") })).gets();
  });

  test("one that was on its way comes", () => {
    const run = subscriber();
    shown(run, command);
    shown(restarted(run, how), { ...command, dup: true });
  });

  test("one that the client had not answered comes, where the broker has forgotten that it was on its way", () => {
    const run = subscriber();
    run.keep(run.bench.link().delivers(command)).gets("PUBLISH");
    if (how === "ended") run.keep(run.bench.input({ kind: "shutdown" }));
    const next = run.next();
    const { packetId } = next.keep(next.bench.link().up(false)).effect("subscribe");
    next.keep(next.bench.link().acks("suback", packetId, 1));
    next.keep(next.bench.link().delivers(command)).gets("REGISTER"); // of the name, for the client has confirmed nothing
  });

  test("one that the client asks for again comes", () => {
    const run = subscriber();
    shown(run, command);
    const next = restarted(run, how);
    const { packetId } = next.keep(next.bench.client(subscribe("valve", 1, 7))).effect("subscribe");
    next.keep(next.bench.link().acks("suback", packetId, 1));
    shown(next, command);
  });

  test("what is published now comes, also if it says the same", () => {
    const run = subscriber();
    shown(run, command);
    shown(restarted(run, how), { ...command, retain: false });
  });

  test("of a retained name, what was published live is known too", () => {
    const run = subscriber("#");
    shown(run, command);
    shown(run, { ...command, payload: octets("shut"), retain: false });
    const next = restarted(run, how);
    next.keep(next.bench.link().delivers({ ...command, payload: octets("shut") })).gets();
    shown(next, command);
  });
});

test("what came live and was never seen retained is known when the gateway ended in order [6.9]", () => {
  const run = subscriber();
  shown(run, { ...command, retain: false });
  const next = restarted(run, "ended");
  next.keep(next.bench.link().delivers(command)).gets();
});

test("readings are not written for this [6.9]", () => {
  const run = subscriber();
  const { bench } = run;
  shown(run, { topicName: "valve", payload: octets("1"), qos: 0 });
  shown(run, { topicName: "valve", payload: octets("2"), qos: 0 });
  const turn = bench.link().delivers({ topicName: "valve", payload: octets("3"), qos: 0 });
  expect(turn.effects.filter(({ kind }) => kind === "persist")).toEqual([]);
});

test("of many names the oldest are forgotten [6.9]", () => {
  const run = subscriber("#");
  for (let i = 0; i < 40; i++) shown(run, { ...command, topicName: `v${i}` });
  expect(run.bench.core.session("c1")?.record.shown).toHaveLength(32);
  const next = restarted(run, "killed");
  shown(next, { ...command, topicName: "v0" });
  next.keep(next.bench.link().delivers({ ...command, topicName: "v39" })).gets();
});

test("one that waits for the client is not acknowledged a second time before it is ours: a later run delivers it [6.9]", () => {
  const run = restarted(subscriber(), "killed");
  const { bench } = run;
  run.keep(bench.link().delivers(command)).gets("REGISTER"); // and the client does not answer
  const turn = run.keep(bench.link().delivers(command));
  const acks = turn.effects.flatMap((effect) => (effect.kind === "ackBroker" ? [effect.after] : []));
  expect(acks).toEqual([expect.any(Number), expect.any(Number)]); // of both deliveries, behind their commit
  expect(bench.core.counters.dropped["retained-again"]).toBe(1);
  const next = run.next();
  const states = [...next.table.states()].flatMap(({ queued }) => queued.map(([, { publication }]) => publication));
  expect(states).toMatchObject([{ topicName: "valve", payload: octets("open") }]);
});

test("what waits before it under the same name becomes ours with it: a later run keeps their order [6.9]", () => {
  const run = restarted(subscriber(), "killed");
  const { bench } = run;
  run.keep(bench.link().delivers({ ...command, payload: octets("shut") })).gets("REGISTER"); // and the client does not answer
  run.keep(bench.link().delivers(command));
  run.keep(bench.link().delivers(command));
  const next = run.next();
  const states = [...next.table.states()].flatMap(({ queued }) => queued.map(([, { publication }]) => publication));
  expect(states).toMatchObject([{ payload: octets("shut") }, { payload: octets("open") }]);
});

test("if the commit fails behind which both deliveries are acknowledged, both are acknowledged when the client has them", () => {
  const run = restarted(subscriber(), "killed");
  const { bench } = run;
  const register = run.keep(bench.link().delivers({ ...command, packetId: 11 })).message("REGISTER");
  const { token } = bench
    .link()
    .delivers({ ...command, packetId: 22 })
    .effect("persist");
  bench.input({ kind: "persistFailed", token, reason: "full" });
  // Two messages for the broker, so two for the client: none is left at the broker without an answer.
  let turn = bench.client({ ...register, type: "REGACK", returnCode: 0 });
  const acks: number[] = [];
  for (let i = 0; i < 4; i++) {
    acks.push(...turn.effects.flatMap((effect) => (effect.kind === "ackBroker" ? [effect.packetId] : [])));
    const [next] = turn.sent.filter(({ type }) => type === "PUBLISH");
    if (next?.type !== "PUBLISH") break;
    turn = bench.client(pubAck(next));
  }
  expect(acks.sort()).toEqual([11, 22]);
});
