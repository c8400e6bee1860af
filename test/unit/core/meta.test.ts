/** What a publication says of itself travels with it: to buffers, over restarts, to everybody it is for. */
import { expect, test } from "vitest";
import type { Change } from "../../../src/core/record.ts";
import type { PublicationMeta } from "../../../src/core/types.ts";
import { Bench, connect, octets, sleep, subscribe } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const meta: PublicationMeta = {
  userProperties: [["unit", "K"]],
  contentType: "text/plain",
  responseTopic: "answers",
  correlationData: octets("7"),
  expirySeconds: 3_600,
};

const message = { topicName: "t", payload: octets("21.5"), qos: 2, retain: false, meta } as const;

test("it is stored for a sleeper, counted against its buffer, and there in the next run", () => {
  const run = new GatewayRun();
  run.keep(run.bench.connected().client(sleep(600)));
  const before = run.bench.core.counters.bufferedBytes;
  run.keep(run.bench.link().delivers(message));
  expect(run.bench.core.counters.bufferedBytes - before).toBeGreaterThan(
    100 + "t21.5".length + "unitKtext/plainanswers7".length,
  );
  expect([...run.table.states()][0]?.queued[0]?.[1].publication).toEqual(message);
  const next = run.next();
  expect([...next.table.states()][0]?.queued[0]?.[1].publication).toEqual(message);
  expect(next.bench.core.counters.bufferedBytes).toBe(run.bench.core.counters.bufferedBytes);
});

test("all who share a connection get it, each at its QoS; what is remembered of the delivery does without", () => {
  const bench = new Bench({ upstream: { ...testOptions.upstream, mode: "aggregating" }, durable: true });
  bench.link("gateway").up();
  for (const [i, clientId] of ["a", "b"].entries()) {
    const from = `udp/192.0.2.${i + 1}:1` as const;
    bench.client(connect({ clientId, cleanSession: false }), from);
    const { packetId } = bench.client(subscribe("t", i === 0 ? 1 : 2), from).effect("subscribe");
    bench.link("gateway").acks("suback", packetId, 2);
    bench.client(sleep(600), from);
  }
  const turn = bench.link("gateway").delivers(message);
  const changes = turn.effects.flatMap((effect): readonly Change[] =>
    effect.kind === "persist" ? effect.changes : [],
  );
  const kept = changes.flatMap(({ of, record }) => (of === "queued" && record ? [record] : []));
  expect(kept).toMatchObject([{ publication: { qos: 1, meta } }, { publication: { qos: 2, meta } }]);
});

test("a dead letter has it, and is sent again with it", () => {
  const run = new GatewayRun({ buffer: { ...testOptions.buffer, bytesMax: 10 } });
  run.keep(run.bench.connected().client(sleep(600)));
  const record = { direction: "up", reason: "expired", publication: message, at: 0 } as const;
  run.bench.input({ kind: "restored", letters: [[3, "c1"]] });
  run.bench.link().down();
  const turn = run.bench.input({ kind: "republish", letters: [[3, record]] });
  const changes = turn.effects.flatMap((effect): readonly Change[] =>
    effect.kind === "persist" ? effect.changes : [],
  );
  expect(changes).toMatchObject([
    { of: "backlog", record: { publication: message } },
    { of: "letter", id: 3, record: undefined },
  ]);
});
