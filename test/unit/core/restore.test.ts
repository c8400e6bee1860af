/** A later run of the gateway: what the store kept of the earlier one is taken up, and devices notice nothing. */
import { expect, test } from "vitest";
import {
  connect,
  disconnect,
  elsewhere,
  here,
  octets,
  pubAck,
  publish,
  regAck,
  register,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

/** A client with a registered topic and a subscription, and its gateway. */
function withClient(): { run: GatewayRun; topicId: number } {
  const run = new GatewayRun();
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false })));
  run.keep(bench.link().up());
  const registered = run.keep(bench.client(register("up")));
  const { packetId } = run.keep(bench.client(subscribe("t", 2, 2))).effect("subscribe");
  run.keep(bench.link().acks("suback", packetId, 2));
  return { run, topicId: registered.message("REGACK").topicId };
}

test("an active client publishes under its old id from its old address, and its silence is counted anew [6.3]", () => {
  const { run, topicId } = withClient();
  const { bench } = run.next();
  expect(bench.links.has("c1")).toBe(true);
  bench.link().up(true).gets();
  const sent = bench.client(publish({ topicId, msgId: 7 })).effect("publish");
  expect(sent.publication.topicName).toBe("up");
  bench.link().acks("puback", sent.packetId).gets("PUBACK");
  expect(bench.after(85_000).states).toEqual([]);
});

test("the connection is asked to go on where the last one ended; the subscriptions are made sure of, once [6.3]", () => {
  const { run } = withClient();
  const { bench } = run.next();
  expect(bench.link().up(true).effect("subscribe")).toMatchObject({ topicFilter: "t", qos: 2, withoutRetained: true });
  bench.link().acks("suback", 1, 2);
  bench.client(sleep(600));
  bench.link().down();
  expect(
    bench
      .link()
      .up(true)
      .effects.filter(({ kind }) => kind === "subscribe"),
  ).toEqual([]);
  const forgotten = run.next().bench;
  expect(forgotten.link().up(false).effect("subscribe")).toMatchObject({ topicFilter: "t", qos: 2 });
});

test("the broker is away when we come back: nobody is told, and it goes on when it returns [6.3]", () => {
  const { run, topicId } = withClient();
  const { bench } = run.next();
  bench.link().down().gets();
  bench.link().down().gets();
  expect(bench.client(publish({ topicId, msgId: 7 })).message("PUBACK").returnCode).toBe(1);
  bench.link().up(true).gets();
  bench.client(publish({ topicId, msgId: 7 })).asks("publish");
  bench.link().down().gets("DISCONNECT"); // from now on as ever
});

test("a sleeper gets what waited, its topic told once more; what it had is not repeated [6.3]", () => {
  const { run } = withClient();
  run.keep(run.bench.client(sleep(600)));
  for (const payload of ["one", "two"]) run.keep(run.bench.link().delivers({ payload: octets(payload), qos: 1 }));
  const next = run.next();
  const { bench } = next;
  bench.link().up(true).gets();
  const told = next.keep(bench.client(wake())).message("REGISTER");
  const first = next.keep(bench.client(regAck(told))).message("PUBLISH");
  expect(first.data).toEqual(octets("one"));
  const second = next.keep(bench.client(pubAck(first))).message("PUBLISH");
  next.keep(bench.client(pubAck(second))).gets("PINGRESP");
  expect(next.records).toBe(0);
});

test("another message under a QoS 2 id that is open here is new: the broker's state is older than ours [i38] [6.3]", () => {
  const { run } = withClient();
  run.keep(run.bench.client(sleep(600)));
  run.keep(run.bench.link().delivers({ payload: octets("on"), qos: 2, packetId: 5 }));
  const next = run.next();
  const { bench } = next;
  bench.link().up(true).gets();
  next.keep(bench.link().delivers({ payload: octets("on"), qos: 2, packetId: 5, dup: true }));
  const [client] = bench.core.sessions();
  expect(client?.waitingMessages).toBe(1);
  next.keep(bench.link().delivers({ payload: octets("off"), qos: 2, packetId: 5 }));
  expect([...bench.core.sessions()][0]?.waitingMessages).toBe(2);
});

test("QoS 2 up: sent again under its packet id with DUP; the device's repetition finds it; PUBREL goes once more [6.3]", () => {
  const { run, topicId } = withClient();
  const first = run.keep(run.bench.client(publish({ qos: 2, topicId, msgId: 9 }))).effect("publish");
  const second = run.next();
  const again = second.keep(second.bench.link().up(true)).effect("publish");
  expect(again).toMatchObject({ packetId: first.packetId, dup: true });
  second.bench.client(publish({ qos: 2, topicId, msgId: 9, dup: true })).asks();
  second.keep(second.bench.link().acks("pubrec", first.packetId)).gets("PUBREC");
  second.keep(second.bench.client({ type: "PUBREL", msgId: 9 })).asks("release");
  const third = second.next();
  expect(third.keep(third.bench.link().up(true)).effect("release").packetId).toBe(first.packetId);
  third.bench.client({ type: "PUBREL", msgId: 9 }).gets("PUBCOMP");
  third.keep(third.bench.link().acks("pubcomp", first.packetId)).gets();
  expect(third.records).toBe(0);
});

test("QoS 2 down: a delivery that comes again is known, and goes on under its MsgId [6.3]", () => {
  const { run } = withClient();
  const delivered = { payload: octets("once"), qos: 2 as const, packetId: 5 };
  const turn = run.keep(run.bench.link().delivers(delivered));
  const { msgId } = turn.message("PUBLISH");
  const second = run.next();
  second.keep(second.bench.link().up(true));
  const redelivered = second.keep(second.bench.link().delivers({ ...delivered, dup: true }));
  redelivered.gets();
  // The client had answered, and its answer was lost with the gateway: it answers again.
  const released = second.keep(second.bench.client({ type: "PUBREC", msgId }));
  released.gets("PUBREL").asks("ackBroker");
  const third = second.next();
  third.keep(third.bench.link().up(true));
  third.keep(third.bench.link().delivers({ ...delivered, dup: true })).gets();
  third.keep(third.bench.client({ type: "PUBCOMP", msgId }));
  third.keep(third.bench.link().releases(5)).asks("ackBroker");
  expect(third.records).toBe(0);
});

test("MsgIds go on far behind one that was stored: those given since the last commit are not given anew [6.3]", () => {
  const { run } = withClient();
  const { msgId } = run.keep(run.bench.link().delivers({ qos: 2, packetId: 5 })).message("PUBLISH");
  run.keep(run.bench.client({ type: "PUBREC", msgId })).gets("PUBREL");
  const second = run.next();
  second.keep(second.bench.link().up(true));
  second.keep(second.bench.client({ type: "PUBREC", msgId })).gets("PUBREL");
  second.keep(second.bench.client({ type: "PUBCOMP", msgId }));
  const next = second.keep(second.bench.link().delivers({ qos: 2, packetId: 6 })).message("PUBLISH");
  expect(next.msgId - msgId).toBeGreaterThan(1_000);
});

test("a client that left for good leaves nothing [6.3]", () => {
  const { run } = withClient();
  run.keep(run.bench.link().delivers({ qos: 2, packetId: 3 }));
  run.keep(run.bench.client(connect()));
  run.keep(run.bench.link().up());
  run.keep(run.bench.client(disconnect, here));
  const { bench } = run.next();
  expect(bench.core.sizes.sessions).toBe(0);
  expect(run.records).toBe(0);
});

test("what waited goes on with the client's first message, also while the broker has not answered yet [6.3]", () => {
  const { run } = withClient();
  const told = run.keep(run.bench.link().delivers({ qos: 2 })).message("PUBLISH");
  run.keep(run.bench.client({ type: "PUBREC", msgId: told.msgId })).gets("PUBREL");
  const { bench } = run.next();
  bench.client({ type: "PINGREQ", clientId: "" }).gets("PINGRESP", "PUBREL");
  bench.client({ type: "PUBCOMP", msgId: told.msgId }).gets();
  bench.link().up(true).gets();
});

test("a topic id of a SUBSCRIBE that the broker refused keeps its name: a REGISTER may have told it to the client [6.3]", () => {
  const { run } = withClient();
  const { packetId } = run.keep(run.bench.client(subscribe("d/x", 1, 5))).effect("subscribe");
  run.keep(run.bench.link().acks("suback", packetId, 0x80));
  const told = run.keep(run.bench.link().delivers({ topicName: "d/x", qos: 0 })).message("REGISTER");
  run.keep(run.bench.client(regAck(told))).gets("PUBLISH");
  const { bench } = run.next();
  bench.link().up(true);
  expect(bench.client(register("d/y")).message("REGACK").topicId).not.toBe(told.topicId);
  const sent = bench.client(publish({ topicId: told.topicId })).effect("publish");
  expect(sent.publication.topicName).toBe("d/x");
});

test("a client at the address of one that sleeps has it also in the next run [6.3]", () => {
  const run = new GatewayRun();
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false, clientId: "c2" }), elsewhere));
  run.keep(bench.link("c2").up());
  run.keep(bench.client(connect({ cleanSession: false })));
  run.keep(bench.link().up());
  run.keep(bench.client(sleep(600)));
  run.keep(bench.client(connect({ cleanSession: false, clientId: "c2" })));
  const { core } = run.next().bench;
  expect(core.session("c2")?.view.peer).toBe(here);
  expect(core.session("c1")?.view.peer).toBeUndefined();
});

test("a client that moved while it was awake is found at its new address in the next run [6.3]", () => {
  const { run } = withClient();
  run.keep(run.bench.client(sleep(600)));
  run.keep(run.bench.link().delivers({ qos: 1 }));
  run.keep(run.bench.client(wake())).gets("PUBLISH");
  run.keep(run.bench.client(wake(), elsewhere));
  expect(run.next().bench.core.session("c1")?.view.peer).toBe(elsewhere);
});

test("the will of a CONNECT that the broker refused is on disk as it is in memory [6.3]", () => {
  const { run } = withClient();
  const { bench } = run;
  run.keep(bench.client(disconnect));
  run.keep(bench.client(connect({ cleanSession: false, will: true })));
  run.keep(bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" }));
  run.keep(bench.client({ type: "WILLMSG", willMsg: octets("gone") }));
  run.keep(bench.link().refused("congestion")).gets("CONNACK");
  const will = bench.core.session("c1")?.record.will;
  expect(run.next().bench.core.session("c1")?.record.will).toEqual(will);
});

test("WILLMSG is repeated in the next run, because CONNACK was lost: CONNACK is sent again; another will is not taken [6.3]", () => {
  const run = new GatewayRun();
  const willMsg = (text: string) => ({ type: "WILLMSG", willMsg: octets(text) }) as const;
  run.keep(run.bench.client(connect({ cleanSession: false, will: true })));
  run.keep(run.bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" }));
  run.keep(run.bench.client(willMsg("gone")));
  run.keep(run.bench.link().up()).gets("CONNACK");
  const { bench } = run.next();
  bench.client(willMsg("other")).gets();
  expect(bench.client(willMsg("gone")).gets("CONNACK").message("CONNACK").returnCode).toBe(0);
  expect(bench.core.session("c1")?.view.state).toBe("active");
});

test("a SUBSCRIBE before the connection of a restored session stands is answered by the broker, which may refuse it", () => {
  const policyOf = () => ({ ...testOptions.uplink.policyOf(""), whenAway: "store" as const });
  const run = new GatewayRun({ uplink: { ...testOptions.uplink, policyOf } });
  run.keep(run.bench.client(connect({ cleanSession: false })));
  run.keep(run.bench.link().up());
  const { bench } = run.next();
  bench.client(subscribe("forbidden", 1, 2)).gets();
  const { packetId } = bench.link().up(true).effect("subscribe");
  expect(bench.link().acks("suback", packetId, 0x80).message("SUBACK").returnCode).toBe(3);
  const { bench: away } = run.next();
  away.client(subscribe("forbidden", 1, 2)).gets();
  expect(away.link().down().message("SUBACK").returnCode).toBe(0);
});
