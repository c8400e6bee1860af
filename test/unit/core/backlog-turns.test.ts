/** Whose backlog is sent next, over a connection that is ended again and again before all had a turn. */
import { expect, test } from "vitest";
import type { BacklogRecord } from "../../../src/core/record.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { Bench, connect, octets, publish, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
const uplink = { ...testOptions.uplink, drainPerSecond: 2, policyOf: () => storing };

test("each client has its turn, however short the connections are", () => {
  const bench = new Bench({ durable: true, uplink, upstream: { ...testOptions.upstream, mode: "aggregating" } });
  const link = () => bench.link("gateway");
  const clients = ["a", "b", "c", "d"];
  const peerOf = (clientId: string): PeerId => `sim/${clientId}:1`;
  const kept = new Map<string, Map<number, BacklogRecord>>(clients.map((clientId) => [clientId, new Map()]));
  const sent: string[] = [];
  /** The store does what the turn asks for, and so on until nothing is asked. */
  const take = (turn: Turn): void => {
    for (const effect of turn.effects) {
      if (effect.kind === "publish") sent.push(String.fromCharCode(...effect.publication.payload));
      if (effect.kind === "fetch") {
        const { clientId, from, limit } = effect;
        const entries = [...(kept.get(clientId) ?? [])].filter(([id]) => id >= from).slice(0, limit);
        take(bench.input({ kind: "fetched", clientId, entries }));
      }
      if (effect.kind !== "persist") continue;
      for (const change of effect.changes)
        if (change.of === "backlog" && change.record) kept.get(change.clientId)?.set(change.id, change.record);
      take(bench.input({ kind: "persisted", token: effect.token }));
    }
  };
  link().up();
  for (const clientId of clients) take(bench.client(connect({ clientId, cleanSession: false }), peerOf(clientId)));
  take(link().down(false, { cause: "network" }));
  for (const clientId of clients)
    for (let msgId = 1; msgId <= 30; msgId++)
      take(
        bench.client(
          publish({ msgId, qos: 1, topicIdType: "short", topicId: 0x6162, data: octets(clientId) }),
          peerOf(clientId),
        ),
      );
  for (let connections = 0; connections < 12; connections++) {
    take(link().up(true));
    take(bench.after(600));
    take(link().down(false, { cause: "network" }));
    take(bench.after(2_000));
  }
  expect([...new Set(sent)].sort()).toEqual(clients);
});
