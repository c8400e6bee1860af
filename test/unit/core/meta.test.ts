/** What a publication says of itself travels with it: to buffers, over restarts, to everybody it is for. */
import { expect, test } from "vitest";
import type { Change } from "../../../src/core/record.ts";
import type { PublicationMeta } from "../../../src/core/types.ts";
import { Bench, connect, octets, sleep, subscribe } from "../../helpers/bench.ts";
import { Life } from "../../helpers/life.ts";
import { testOptions } from "../../simulation/options.ts";

const meta: PublicationMeta = {
  userProperties: [["unit", "K"]],
  contentType: "text/plain",
  responseTopic: "answers",
  correlationData: octets("7"),
  expirySeconds: 3_600,
};

const message = { topicName: "t", payload: octets("21.5"), qos: 2, retain: false, meta } as const;

test("it is stored for a sleeper, counted against its buffer, and there in the next life", () => {
  const life = new Life();
  life.keep(life.bench.connected().client(sleep(600)));
  const before = life.bench.core.counters.bufferedBytes;
  life.keep(life.bench.link().delivers(message));
  expect(life.bench.core.counters.bufferedBytes - before).toBeGreaterThan(
    100 + "t21.5".length + "unitKtext/plainanswers7".length,
  );
  expect([...life.table.states()][0]?.queued[0]?.[1].publication).toEqual(message);
  const next = life.next();
  expect([...next.table.states()][0]?.queued[0]?.[1].publication).toEqual(message);
  expect(next.bench.core.counters.bufferedBytes).toBe(life.bench.core.counters.bufferedBytes);
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
  const life = new Life({ buffer: { ...testOptions.buffer, bytesMax: 10 } });
  life.keep(life.bench.connected().client(sleep(600)));
  const record = { direction: "up", reason: "expired", publication: message, at: 0 } as const;
  life.bench.input({ kind: "restored", letters: [[3, "c1"]] });
  life.bench.link().down();
  const turn = life.bench.input({ kind: "republish", letters: [[3, record]] });
  const changes = turn.effects.flatMap((effect): readonly Change[] =>
    effect.kind === "persist" ? effect.changes : [],
  );
  expect(changes).toMatchObject([
    { of: "backlog", record: { publication: message } },
    { of: "letter", id: 3, record: undefined },
  ]);
});
