/** Topic names on disk: each by itself, so that one REGISTER does not write all the others again. */
import { expect, test } from "vitest";
import type { Change } from "../../../src/core/record.ts";
import { StateTable, standIn } from "../../../src/storage/state-table.ts";
import { connect, disconnect, publish, register } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

function connected(cleanSession = false): GatewayRun {
  const run = new GatewayRun();
  run.keep(run.bench.client(connect({ cleanSession })));
  run.keep(run.bench.link().up());
  return run;
}

function changes(turn: {
  readonly effects: readonly { readonly kind: string; changes?: readonly Change[] }[];
}): Change[] {
  return turn.effects.flatMap((effect) => (effect.kind === "persist" ? (effect.changes ?? []) : []));
}

test("a REGISTER writes its own name, however many there are [6.5]", () => {
  const run = connected();
  let octets = 0;
  for (let i = 0; i < 100; i++) {
    const written = changes(run.keep(run.bench.client(register(`sensor/${"x".repeat(160)}/${i}`, i + 1))));
    octets += JSON.stringify(written).length;
    if (i > 0) expect(written).toMatchObject([{ of: "topic", id: i + 1 }]);
  }
  expect(octets).toBeLessThan(40_000); // 17 KB of names
  const next = run.next();
  expect(next.bench.core.session("c1")?.record.topics).toHaveLength(100);
  expect(next.bench.core.session("c1")?.record.topics[7]?.name).toMatch(/x\/7$/);
});

test("what the client is told waits until its name is written [6.5]", () => {
  const run = connected();
  const turn = run.bench.client(register("t"));
  const token = turn.effect("persist").token;
  expect(turn.effects.find(({ kind }) => kind === "send")).toMatchObject({ behind: token });
});

test("a new start and an end leave no name behind [6.5]", () => {
  const run = connected();
  run.keep(run.bench.client(register("old")));
  run.keep(run.bench.client(connect({ cleanSession: true })));
  run.keep(run.bench.link().up());
  expect(run.next().bench.core.session("c1")?.record.topics).toEqual([]);
  run.keep(run.bench.client(register("new")));
  run.keep(run.bench.client(disconnect));
  expect([...run.table.states()]).toEqual([]);
});

test("an id goes on above those that are there, also where the session was not written since [6.5]", () => {
  const run = connected();
  run.keep(run.bench.client(register("a", 1)));
  run.keep(run.bench.client(register("b", 2)));
  const next = run.next();
  next.keep(next.bench.link().up(true));
  expect(next.keep(next.bench.client(register("c", 3))).message("REGACK").topicId).toBe(3);
  expect(next.keep(next.bench.client(publish({ topicId: 2 }))).effect("publish").publication.topicName).toBe("b");
});

test("names in the session's record, as 0.1.0 wrote them, get records of their own at the first start [6.5]", () => {
  const table = new StateTable();
  const topics = [
    { id: 4, name: "a", known: true },
    { id: 9, name: "b", known: false },
  ];
  const session = { ...standIn("c1", true), clean: false, topics, nextTopicId: 10 };
  table.apply({ of: "session", clientId: "c1", id: 0, record: session });
  const first = new GatewayRun({}, table);
  expect(first.bench.core.session("c1")?.record.topics).toEqual(topics);
  const [state] = table.states();
  expect(state?.session.topics).toEqual([]);
  expect(state?.topics).toEqual([
    [4, { name: "a", known: true }],
    [9, { name: "b", known: false }],
  ]);
  expect(first.next().bench.core.session("c1")?.record.topics).toEqual(topics);
});
