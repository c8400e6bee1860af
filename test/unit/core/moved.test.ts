/** A client goes by another connection than in the last run: what the gateway had accepted of it is sent there. */
import { expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { Bench, connect, disconnect, publish, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };

const options = (mode: CoreOptions["upstream"]["mode"]) => ({
  durable: true,
  uplink: { ...testOptions.uplink, policyOf: () => storing },
  upstream: { ...testOptions.upstream, mode },
});

/** The second run, aggregating. In the first, transparent, c1 heard PUBACK before the broker had answered. */
function secondRun(before: { clean: boolean; isGone: boolean }, alter: (state: StoredState) => StoredState[]) {
  const table = new StateTable();
  const note = (turn: Turn): Turn => {
    for (const effect of turn.effects)
      if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
    return turn;
  };
  const first = new Bench(options("transparent"));
  note(first.client(connect({ cleanSession: before.clean })));
  note(first.link("c1").up());
  note(first.client(publish({ qos: 1, msgId: 5, topicIdType: "short", topicId: 0x6162 }))).asks("publish");
  note(first.link("c1").down()).gets("PUBACK");
  if (before.isGone) note(first.client(disconnect)).gets("DISCONNECT");
  const states = ([...table.states()] as StoredState[]).flatMap(alter);
  expect(states[0]?.uplink.length).toBe(1);
  return new Bench(options("aggregating"), states);
}

test("its session had ended with its DISCONNECT: it is kept until the broker has what was accepted [4.2]", () => {
  const bench = secondRun({ clean: true, isGone: true }, (state) => [state]);
  bench.began.asks("openLink", "closeLink", "openLink"); // the broker forgets what it had for us
  const sent = bench.link("gateway").up().effect("publish");
  expect(sent.publication.topicName).toBe("ab");
  expect(bench.core.session("c1")).toBeDefined();
  const turn = bench.link("gateway").acks("puback", sent.packetId);
  const removed = turn.effects.flatMap((effect) => (effect.kind === "persist" ? effect.changes : []));
  expect(removed).toContainEqual(expect.objectContaining({ of: "uplink", clientId: "c1", record: undefined }));
  expect(bench.core.session("c1")).toBeUndefined();
});

test("no packet id is free: what was accepted stays in the store for the run after the next [4.2]", () => {
  // Another client of the shared connection has all ids but one there: those of its accepted messages of the last run.
  const packetIds = (count: number) => Array.from({ length: count }, (_, at) => at + 1);
  const crowded = (count: number) =>
    secondRun({ clean: false, isGone: false }, (state) => {
      const [, record] = state.uplink[0] ?? [];
      if (!record) return [];
      const session = { ...state.session, clientId: "c2", home: "/0", peer: "udp/192.0.2.2:1000" } as const;
      return [state, { ...state, session, uplink: packetIds(count).map((id) => [id, record] as const) }];
    });
  const changes = (bench: Bench) =>
    bench.began.effects
      .flatMap((effect) => (effect.kind === "persist" ? effect.changes : []))
      .filter((change) => "clientId" in change && change.clientId === "c1" && change.of === "uplink");
  expect(changes(crowded(65_534)).map(({ record }) => record === undefined)).toEqual([true, false]); // its new id
  expect(changes(crowded(65_535))).toEqual([]);
});
