/** The operator gives a predefined id another name (SIGHUP): one meaning for each client until it connects again. */
import { expect, test } from "vitest";
import type { PredefinedTopics } from "../../../src/core/input.ts";
import { Bench, connect, pubAck, publish, subscribe } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

const table = (name: string): PredefinedTopics => ({ forAll: new Map([[1, name]]), byClientId: new Map() });
const unsubscribe = {
  type: "UNSUBSCRIBE",
  dup: false,
  qos: 0,
  topicIdType: "predefined",
  msgId: 9,
  topic: 1,
} as const;

/** Subscribed to id 1 while that is a/one; it is b/one now. */
function renamed(): Bench {
  const bench = new Bench({ topics: { predefined: table("a/one"), idsPerClientMax: 10, bytesPerClientMax: 100_000 } });
  bench.connected({ cleanSession: false });
  const { packetId } = bench.client(subscribe(1)).effect("subscribe");
  bench.link().acks("suback", packetId, 1);
  bench.input({ kind: "predefinedChanged", predefined: table("b/one") });
  return bench;
}

test("what the client subscribed to, publishes to and unsubscribes from is what the id meant when it connected [i41] [6.7]", () => {
  const bench = renamed();
  const sent = bench.link().delivers({ topicName: "a/one" }).message("PUBLISH");
  expect(sent).toMatchObject({ topicIdType: "predefined", topicId: 1 });
  bench.client(pubAck(sent));
  const up = bench.client(publish({ topicIdType: "predefined", topicId: 1 })).effect("publish");
  expect(up.publication.topicName).toBe("a/one");
  expect(bench.client(subscribe(1, 1, 5)).effect("subscribe").topicFilter).toBe("a/one");
  expect(bench.client(unsubscribe).effect("unsubscribe").topicFilter).toBe("a/one");
});

test("after the next CONNECT the id has its new meaning; what was subscribed under it before goes by its name [i41] [6.7]", () => {
  const bench = renamed();
  bench.client(connect({ cleanSession: false, duration: 61 }));
  expect(bench.link().delivers({ topicName: "a/one" }).message("REGISTER").topicName).toBe("a/one");
  expect(bench.client(unsubscribe).effect("unsubscribe").topicFilter).toBe("a/one");
  const up = bench.client(publish({ topicIdType: "predefined", topicId: 1 })).effect("publish");
  expect(up.publication.topicName).toBe("b/one");
});

test("a SUBSCRIBE under the new meaning ends the old one: never two topics under one id [i41] [6.7]", () => {
  const bench = renamed();
  bench.client(connect({ cleanSession: false, duration: 61 }));
  const { packetId, topicFilter } = bench.client(subscribe(1, 1, 5)).effect("subscribe");
  expect(topicFilter).toBe("b/one");
  expect(bench.link().acks("suback", packetId, 1).gets("SUBACK").effect("unsubscribe").topicFilter).toBe("a/one");
});

test("over a restart the client keeps what it subscribed to [i41] [6.7]", () => {
  const run = new GatewayRun({
    topics: { predefined: table("a/one"), idsPerClientMax: 10, bytesPerClientMax: 100_000 },
  });
  run.keep(run.bench.client(connect({ cleanSession: false })));
  run.keep(run.bench.link().up());
  const { packetId } = run.keep(run.bench.client(subscribe(1))).effect("subscribe");
  run.keep(run.bench.link().acks("suback", packetId, 1));
  const { bench } = new GatewayRun(
    { topics: { predefined: table("b/one"), idsPerClientMax: 10, bytesPerClientMax: 100_000 } },
    run.table,
  );
  bench.link().up(true);
  expect(bench.link().delivers({ topicName: "a/one" }).message("PUBLISH")).toMatchObject({ topicId: 1 });
  const up = bench.client(publish({ topicIdType: "predefined", topicId: 1 })).effect("publish");
  expect(up.publication.topicName).toBe("a/one");
});
