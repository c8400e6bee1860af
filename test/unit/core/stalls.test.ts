/** A message that waits is sent as soon as the reason for its waiting ends. */
import { expect, test } from "vitest";
import { noLimits } from "../../../src/core/types.ts";
import { Bench, connect, octets, pubAck, publish, sleep, subscribe, wake } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

test("a backlog behind live publications goes on when the broker's window has room again", () => {
  const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
  const bench = new Bench({ durable: true, uplink: { ...testOptions.uplink, policyOf: () => policy } });
  bench.client(connect());
  bench.link().up(false, { ...noLimits, receiveMaximum: 1 });
  const topicId = bench.registered("up");
  const { packetId } = bench.client(publish({ topicId, msgId: 1 })).effect("publish");
  bench.link().congested(true);
  bench.client(publish({ topicId, msgId: 2 })).asks(); // onto disk
  bench.link().congested(false);
  bench.after(1_000).asks();
  bench.link().acks("puback", packetId);
  expect(bench.after(1_000).effect("fetch").clientId).toBe("c1");
});

test("what a CONNECT of an awake client held up goes on when the broker refuses it", () => {
  const bench = new Bench().connected({ cleanSession: false }).subscribed("t");
  bench.client(sleep(600));
  for (const payload of ["one", "two"]) bench.link().delivers({ payload: octets(payload) });
  const first = bench.client(wake()).message("PUBLISH");
  bench.client(connect({ cleanSession: false, will: true })).gets("WILLTOPICREQ");
  bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" });
  bench.client({ type: "WILLMSG", willMsg: octets("gone") });
  bench.client(pubAck(first)).gets();
  bench.link().refused("congestion").gets("CONNACK", "PUBLISH");
});

test("a message that waits for the id in a SUBACK goes on when the connection ends and that SUBACK says congestion", () => {
  const bench = new Bench({ upstream: { ...testOptions.upstream, mode: "aggregating" } });
  bench.link("gateway").up(); // the second: what the first found there was ended
  const shared = bench.link("gateway");
  bench.client(connect()).gets("CONNACK");
  const wide = bench.client(subscribe("t/#", 1, 1)).effect("subscribe");
  shared.acks("suback", wide.packetId, 1).gets("SUBACK");
  bench.client(subscribe("t/a", 1, 2)).asks("subscribe");
  shared.delivers({ topicName: "t/a" }).gets();
  shared.down().gets("SUBACK", "REGISTER");
});

test("what came during a CONNECT that was only repeated follows its CONNACK", () => {
  const bench = new Bench();
  const will = connect({ cleanSession: false, will: true });
  const topic = { type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" } as const;
  const message = { type: "WILLMSG", willMsg: octets("gone") } as const;
  for (const each of [will, topic, message]) bench.client(each);
  bench.link().up().gets("CONNACK");
  bench.client(will).gets("WILLTOPICREQ");
  bench.client(topic).gets("WILLMSGREQ");
  bench.link().delivers({ topicName: "ab", qos: 0 }).gets();
  bench.client(message).gets("CONNACK", "PUBLISH");
});

test("what came during a CONNECT that is refused for its will follows the refusal", () => {
  const bench = new Bench().connected({ cleanSession: false });
  bench.client(connect({ cleanSession: false, will: true })).gets("WILLTOPICREQ");
  bench.link().delivers({ topicName: "ab", qos: 0 }).gets();
  bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "+" }).gets("CONNACK", "PUBLISH");
});
