/** Clients that are slower than a SUBACK, smaller than a message, or on a slower network than others. */
import { describe, expect, test } from "vitest";
import { Bench, octets, ping, pubAck, sleep, subscribe, wake } from "../../helpers/bench.ts";
import { keepAll } from "../../simulation/options.ts";

describe("'invalid topic id' right behind the SUBACK that told the id [6.10]", () => {
  test("at QoS 1 the message goes once more a second later, before any REGISTER", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 1);
    const first = bench.link().delivers({ retain: true }).message("PUBLISH");
    bench.client(pubAck(first, 2)).gets();
    bench.after(999).gets();
    const again = bench.after(1).message("PUBLISH");
    expect(again).toMatchObject({ msgId: first.msgId, topicId: first.topicId });
    bench.client(pubAck(again)).gets().asks("ackBroker");
  });

  test("what is refused then as well is registered", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 1);
    bench.client(pubAck(bench.link().delivers({ retain: true }).message("PUBLISH"), 2));
    const again = bench.after(1_000).message("PUBLISH");
    bench.client(pubAck(again, 2)).gets("REGISTER");
  });

  test("a client that refuses DUP gets it once without", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 1);
    bench.client(pubAck(bench.link().delivers({ retain: true }).message("PUBLISH"), 2));
    const again = bench.after(1_000).message("PUBLISH");
    expect(again.dup).toBe(true);
    expect(bench.client(pubAck(again, 3)).message("PUBLISH").dup).toBe(false);
  });

  test("at QoS 0 too, in order", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 0);
    const one = bench
      .link()
      .delivers({ qos: 0, payload: octets("1") })
      .message("PUBLISH");
    bench.link().delivers({ qos: 0, payload: octets("2") });
    bench.client(pubAck(one, 2)).gets();
    bench
      .link()
      .delivers({ qos: 0, payload: octets("3") })
      .gets();
    const again = bench.after(1_000).sent;
    expect(again.map((message) => message.type === "PUBLISH" && new TextDecoder().decode(message.data))).toEqual([
      "1",
      "2",
      "3",
    ]);
    // Each once: the third had not been refused yet.
    bench.client(pubAck(one, 2)).gets();
    bench.after(1_000).gets("PUBLISH");
    bench.client(pubAck(one, 2)).gets();
    bench.link().delivers({ qos: 0 }).gets("REGISTER");
  });

  test("what waits to go once more at QoS 0 is dropped when its time is over", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 0);
    bench.link().delivers({ qos: 0, expirySeconds: 1 });
    const last = bench.link().delivers({ qos: 0, expirySeconds: 10 }).message("PUBLISH");
    bench.after(1_100); // a look at what has waited too long: nothing waits
    bench.client(pubAck(last, 2)).gets();
    bench.client(sleep(600));
    bench.after(9_000);
    expect(bench.core.counters.dropped.expired).toBe(2);
    bench.client(wake()).gets("PINGRESP");
  });

  test("long after the SUBACK it is registered at once", () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("t", 1);
    bench.after(60_000);
    bench.client(pubAck(bench.link().delivers({}).message("PUBLISH"), 2)).gets("REGISTER");
  });
});

test("what is longer than the client's rule allows is a dead letter at once, also asleep", () => {
  const policy = { ...keepAll, payloadBytesMax: 100 };
  const bench = new Bench({ buffer: { policyOf: () => policy } as never }).connected({ cleanSession: false });
  bench.subscribed("t", 2);
  const turn = bench.link().delivers({ payload: octets("B".repeat(101)) });
  expect(turn.gets().asks("ackBroker").drops).toEqual(["too-large-for-client"]);
  bench.client(
    pubAck(
      bench
        .link()
        .delivers({ payload: octets("B".repeat(100)) })
        .message("PUBLISH"),
    ),
  );
  bench.client(sleep(60));
  const asleep = bench.link().delivers({ payload: octets("B".repeat(101)), qos: 2 });
  expect(asleep.asks("ackBroker").drops).toEqual(["too-large-for-client"]);
  bench.client(wake()).gets("PINGRESP");
});

test("each network has its own patience", () => {
  const policyOf = (clientId: string) => (clientId === "c1" ? { intervalMs: 30_000, limit: 1 } : undefined);
  const retry = { retryIntervalSeconds: 10, retryLimit: 3, congestionPauseSeconds: 30, policyOf };
  const bench = new Bench({ retry }).connected({ duration: 600 }).subscribed("t", 1);
  bench.link().delivers({}).gets("PUBLISH");
  bench.after(29_999).gets();
  bench.after(1).gets("PUBLISH");
  bench.client(ping);
  expect(bench.after(30_000).gets().states).toEqual([]);
  bench.after(59_999).gets();
  bench.after(1).gets("PUBLISH");
});

test("a device that starts anew hears nothing of its old session before the CONNACK", () => {
  const bench = new Bench().connected({ cleanSession: false, duration: 600 });
  const asked = bench.client(subscribe("t", 1)).effect("subscribe");
  const up = bench.registered("up");
  const published = bench
    .client({
      type: "PUBLISH",
      dup: false,
      qos: 1,
      retain: false,
      topicIdType: "normal",
      topicId: up,
      msgId: 4,
      data: octets("x"),
    })
    .effect("publish");
  bench.client({
    type: "CONNECT",
    will: true,
    cleanSession: false,
    protocolId: 1,
    duration: 600,
    clientId: "c1",
  });
  bench.link().acks("suback", asked.packetId, 1).gets();
  bench.link().acks("puback", published.packetId).gets();
});
