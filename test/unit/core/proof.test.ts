/** A sender with a forged address causes only little traffic to this address. */
import { describe, expect, test } from "vitest";
import { type AccessPolicy, admitAll } from "../../../src/core/access.ts";
import { encodedLength } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import {
  Bench,
  connect,
  elsewhere,
  octets,
  ping,
  pubAck,
  regAck,
  sleep,
  subscribe,
  type Turn,
  wake,
} from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

/** All of 192.0.2.1 is outside. */
const access: AccessPolicy = { ...admitAll, isInside: (peer) => !peer.startsWith("udp/192.0.2.1:") };
const outside = { access };

const deliveries = (turn: Turn): number =>
  turn.sent
    .filter(({ type }) => type === "PUBLISH" || type === "REGISTER" || type === "PUBREL")
    .reduce((sum, message) => sum + encodedLength(message), 0);

/** A client that subscribed to t, and the number of octets that it sent. */
function subscribed(): { bench: Bench; heard: number } {
  const bench = new Bench(outside).connected({ cleanSession: false, duration: 0 }).subscribed("t", 2);
  const said: Message[] = [connect({ cleanSession: false, duration: 0 }), subscribe("t", 2)];
  return { bench, heard: said.reduce((sum, message) => sum + encodedLength(message), 0) };
}

describe("a client outside the site that never answers", () => {
  test.each([0, 1, 2] as const)("gets ten octets for each of its own, repetitions counted, at QoS %d", (qos) => {
    const { bench, heard } = subscribed();
    let sent = 0;
    for (let i = 0; i < 10; i++) sent += deliveries(bench.link().delivers({ qos, payload: octets("x".repeat(50)) }));
    expect(sent).toBeGreaterThan(0);
    sent += deliveries(bench.after(600_000));
    expect(sent).toBeLessThanOrEqual(10 * heard);
    expect(bench.core.session("c1")?.view.state).toBe("active"); // its silence alone decides
  });

  test("gets more when it speaks; what waited is not lost, and counted once", () => {
    const { bench } = subscribed();
    const large = bench.link().delivers({ qos: 1, payload: octets("x".repeat(190)) });
    expect(large.gets().drops).toEqual(["not-proven"]);
    expect(bench.link().delivers({ qos: 1 }).gets().drops).toEqual([]);
    let turn = bench.client(ping);
    for (let i = 0; i < 20 && deliveries(turn) === 0; i++) turn = bench.client(ping);
    const first = turn.message("PUBLISH");
    expect(first.data).toHaveLength(190);
    const next = bench.client(pubAck(first)).message("PUBLISH");
    bench.client(pubAck(next));
    for (let i = 0; i < 20; i++)
      bench
        .link()
        .delivers({ qos: 0, payload: octets("x".repeat(500)) })
        .gets("PUBLISH");
  });

  test("an answer to a MsgId that is none of ours proves nothing", () => {
    const { bench } = subscribed();
    bench.client({ type: "PUBACK", topicId: 1, msgId: 999, returnCode: 0 });
    bench.client({ type: "PUBREC", msgId: 998 });
    bench
      .link()
      .delivers({ qos: 0, payload: octets("x".repeat(900)) })
      .gets();
  });

  test("REGACK is an answer", () => {
    const bench = new Bench(outside).connected().subscribed("#");
    const told = bench.link().delivers({ topicName: "a/b", qos: 0, payload: octets("x".repeat(900)) });
    bench.client(regAck(told.message("REGISTER"))).gets("PUBLISH");
  });

  test("a sleeper does not stay awake for what must wait", () => {
    const { bench } = subscribed();
    bench.client(sleep(600));
    bench.link().delivers({ qos: 1, payload: octets("x".repeat(900)) });
    bench.client(wake()).gets("PINGRESP");
  });
});

test("inside the site there is no limit; whoever moves out has to prove himself anew", () => {
  const bench = new Bench(outside).connected({ cleanSession: false }, elsewhere);
  const { packetId } = bench.client(subscribe("t", 1), elsewhere).effect("subscribe");
  bench.link().acks("suback", packetId, 1);
  bench
    .link()
    .delivers({ qos: 0, payload: octets("x".repeat(900)) })
    .gets("PUBLISH");
  bench.client(sleep(600), elsewhere);
  for (let i = 0; i < 3; i++) bench.link().delivers({ qos: 1, payload: octets("x".repeat(900)) });
  bench.client(wake()).gets("PINGRESP"); // from outside, with another client's id
});

test("0 = no limit", () => {
  const bench = new Bench({ ...outside, clients: { unprovenFactorMax: 0 } } as never).connected().subscribed("t");
  bench
    .link()
    .delivers({ qos: 0, payload: octets("x".repeat(900)) })
    .gets("PUBLISH");
});

test("over a restart: who had not answered has not, who had has", () => {
  const run = new GatewayRun(outside);
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false })));
  run.keep(bench.link().up());
  const { packetId } = run.keep(bench.client(subscribe("t", 1))).effect("subscribe");
  run.keep(bench.link().acks("suback", packetId, 1));
  const large = { topicName: "t", qos: 0, payload: octets("x".repeat(900)) } as const;
  const second = run.next();
  second.keep(second.bench.link().up(true));
  second.bench.link().delivers(large).gets();
  const sent = run.keep(run.bench.link().delivers({ topicName: "t", qos: 1 })).message("PUBLISH");
  run.keep(run.bench.client(pubAck(sent)));
  const third = run.next();
  third.keep(third.bench.link().up(true));
  const turn = third.bench.link().delivers(large);
  const first = turn.sent[0];
  expect(first?.type === "REGISTER" || first?.type === "PUBLISH").toBe(true);
});

describe("answers to who has no session", () => {
  const frame = (n: number, inner: string) => `05fe00${n.toString(16).padStart(4, "0")}${inner}`;

  test("SEARCHGW and CONNECTs that are refused for good: six a second from one address", () => {
    const bench = new Bench();
    const count = (message: Message) => Array.from({ length: 200 }, () => bench.client(message).sent.length);
    const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
    expect(sum(count({ type: "SEARCHGW", radius: 0 }))).toBe(6);
    expect(sum(count(connect({ protocolId: 9 })))).toBe(0);
    bench.after(1_000);
    expect(sum(count(connect({ protocolId: 9 })))).toBe(6);
    bench.client({ type: "SEARCHGW", radius: 0 }, elsewhere).gets("GWINFO");
    bench.client(connect()).asks("openLink");
  });

  test("a second and a bit touches three seconds of the clock, and hears no more than twenty", () => {
    const bench = new Bench();
    bench.after(950);
    let heard = 0;
    for (let i = 0; i < 220; i++) {
      heard += bench.client({ type: "SEARCHGW", radius: 0 }).sent.length;
      bench.after(5);
    }
    expect(heard).toBeLessThanOrEqual(20);
  });

  test("the nodes behind a forwarder share its address", () => {
    const bench = new Bench();
    let sent = 0;
    for (let n = 0; n < 200; n++) sent += bench.datagram(frame(n, n % 2 ? "0216" : "030100")).sent.length;
    expect(sent).toBe(6);
  });
});
