/** What a QoS 2 exchange says to the broker in a later turn waits for the commit of its record, as in the turn of the record. */
import { expect, test } from "vitest";
import { type CommitToken, noLimits } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import { Bench, connect, publish, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
const options = { durable: true, uplink: { ...testOptions.uplink, policyOf: () => storing } };
const pubrel = (msgId: number): Message => ({ type: "PUBREL", msgId });
const message = (msgId: number) => publish({ qos: 2, topicIdType: "short", topicId: 0x6162, msgId });

/** The commit with the record of this packet. */
function commitWith(turn: Turn, packetId: number): CommitToken {
  const commit = turn.effects.find(
    (effect) => effect.kind === "persist" && effect.changes.some(({ of, id }) => of === "uplink" && id === packetId),
  );
  if (commit?.kind !== "persist") throw new Error("the record is not written");
  return commit.token;
}

function packetIdIn({ effects }: Turn): number {
  for (const effect of effects)
    if (effect.kind === "persist")
      for (const change of effect.changes) if (change.of === "uplink" && change.record) return change.id;
  throw new Error("no record is written");
}

test("PUBLISH that waited for the first connection after a start", () => {
  const table = new StateTable();
  const first = new Bench(options);
  for (const { effects } of [first.client(connect({ cleanSession: false })), first.link().up()])
    for (const effect of effects) if (effect.kind === "persist") for (const each of effect.changes) table.apply(each);
  const bench = new Bench(options, [...table.states()]);
  const waiting = bench.client(message(7));
  const packetId = packetIdIn(waiting);
  expect(waiting.effects.some(({ kind }) => kind === "publish")).toBe(false);
  const up = bench.link().up(true);
  expect(up.effect("publish")).toMatchObject({ packetId, behind: commitWith(waiting, packetId) });
});

test("PUBLISH that waited for its turn", () => {
  const bench = new Bench(options);
  bench.client(connect({ cleanSession: false }));
  bench.link().up(false, { ...noLimits, exactlyOnceMaximum: 1 });
  const first = bench.client(message(7)).effect("publish");
  const second = bench.client(message(8));
  const packetId = packetIdIn(second);
  expect(second.effects.some(({ kind }) => kind === "publish")).toBe(false);
  bench.link().acks("pubrec", first.packetId);
  bench.client(pubrel(7));
  const turn = bench.link().acks("pubcomp", first.packetId);
  expect(turn.effect("publish")).toMatchObject({ packetId, behind: commitWith(second, packetId) });
});

test("PUBREL that waited for the connection", () => {
  const bench = new Bench(options);
  bench.connected({ cleanSession: false });
  const { packetId } = bench.client(message(7)).effect("publish");
  bench.link().acks("pubrec", packetId).gets("PUBREC");
  const released = bench.link().down();
  expect(released.effects.some(({ kind }) => kind === "release")).toBe(false);
  const up = bench.link().up(true);
  expect(up.effect("release")).toMatchObject({ packetId, behind: commitWith(released, packetId) });
});
