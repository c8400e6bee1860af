/** What waits is moved on by whatever ends its waiting. */
import { expect, test } from "vitest";
import { noLimits } from "../../../src/core/types.ts";
import { Bench, connect, octets, pubAck, publish, sleep, wake } from "../../helpers/bench.ts";
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
