/** Topic names on disk: each by itself, so that one REGISTER does not write all the others again. */
import { expect, test } from "vitest";
import type { Change } from "../../../src/core/record.ts";
import { StateTable, standIn } from "../../../src/storage/state-table.ts";
import { connect, disconnect, publish, register } from "../../helpers/bench.ts";
import { Life } from "../../helpers/life.ts";

function connected(cleanSession = false): Life {
  const life = new Life();
  life.keep(life.bench.client(connect({ cleanSession })));
  life.keep(life.bench.link().up());
  return life;
}

function changes(turn: {
  readonly effects: readonly { readonly kind: string; changes?: readonly Change[] }[];
}): Change[] {
  return turn.effects.flatMap((effect) => (effect.kind === "persist" ? (effect.changes ?? []) : []));
}

test("a REGISTER writes its own name, however many there are [6.5]", () => {
  const life = connected();
  let octets = 0;
  for (let i = 0; i < 100; i++) {
    const written = changes(life.keep(life.bench.client(register(`sensor/${"x".repeat(160)}/${i}`, i + 1))));
    octets += JSON.stringify(written).length;
    if (i > 0) expect(written).toMatchObject([{ of: "topic", id: i + 1 }]);
  }
  expect(octets).toBeLessThan(40_000); // 17 KB of names
  const next = life.next();
  expect(next.bench.core.session("c1")?.record.topics).toHaveLength(100);
  expect(next.bench.core.session("c1")?.record.topics[7]?.name).toMatch(/x\/7$/);
});

test("what the client is told waits until its name is written [6.5]", () => {
  const life = connected();
  const turn = life.bench.client(register("t"));
  const token = turn.effect("persist").token;
  expect(turn.effects.find(({ kind }) => kind === "send")).toMatchObject({ behind: token });
});

test("a new start and an end leave no name behind [6.5]", () => {
  const life = connected();
  life.keep(life.bench.client(register("old")));
  life.keep(life.bench.client(connect({ cleanSession: true })));
  life.keep(life.bench.link().up());
  expect(life.next().bench.core.session("c1")?.record.topics).toEqual([]);
  life.keep(life.bench.client(register("new")));
  life.keep(life.bench.client(disconnect));
  expect([...life.table.states()]).toEqual([]);
});

test("an id goes on above those that are there, also where the session was not written since [6.5]", () => {
  const life = connected();
  life.keep(life.bench.client(register("a", 1)));
  life.keep(life.bench.client(register("b", 2)));
  const next = life.next();
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
  const first = new Life({}, table);
  expect(first.bench.core.session("c1")?.record.topics).toEqual(topics);
  const [state] = table.states();
  expect(state?.session.topics).toEqual([]);
  expect(state?.topics).toEqual([
    [4, { name: "a", known: true }],
    [9, { name: "b", known: false }],
  ]);
  expect(first.next().bench.core.session("c1")?.record.topics).toEqual(topics);
});
