import { describe, expect, test } from "vitest";
import { admitAll } from "../../../src/core/access.ts";
import {
  Bench,
  connect,
  disconnect,
  elsewhere,
  here,
  octets,
  ping,
  pubAck,
  publish,
  regAck,
  register,
  sleep,
  subscribe,
  type Turn,
  wake,
} from "../../helpers/bench.ts";

describe("subscribe [6.9] [i11] [5.4.16]", () => {
  test.each([
    ["name", "a/b", true],
    ["wildcard", "a/#", false],
    ["shared", "$share/g/a", false],
  ])("SUBACK by %s carries an id: %s", (_kind, filter, hasId) => {
    const bench = new Bench().connected();
    const { packetId } = bench.client(subscribe(filter, 2)).gets().effect("subscribe");
    const ack = bench.link().acks("suback", packetId, 1).message("SUBACK");
    expect(ack).toMatchObject({ qos: 1, returnCode: 0 });
    expect(ack.topicId !== 0).toBe(hasId);
  });

  test.each([
    ["'#' not last", subscribe("a/#/b")],
    ["joined '+'", subscribe("a+")],
    ["empty", subscribe("")],
    ["QoS -1", { ...subscribe("a"), qos: -1 } as ReturnType<typeof subscribe>],
  ])("refused: %s", (_name, message) => {
    expect(new Bench().connected().client(message).asks().message("SUBACK")).toMatchObject({
      topicId: 0,
      returnCode: 3,
    });
  });

  test("an id of one octet is refused, not dropped", () => {
    expect(new Bench().connected().datagram("061221000d01").message("SUBACK")).toMatchObject({
      msgId: 13,
      returnCode: 3,
    });
  });

  test("an unknown predefined id is repeated in the refusal", () => {
    expect(new Bench().connected().client(subscribe(9)).message("SUBACK")).toMatchObject({ topicId: 9, returnCode: 2 });
  });

  test("refused by the broker: not supported", () => {
    const bench = new Bench().connected();
    const { packetId } = bench.client(subscribe("a")).effect("subscribe");
    expect(bench.link().acks("suback", packetId, 0x80).message("SUBACK").returnCode).toBe(3);
    expect([...bench.core.sessions()][0]?.subscriptions).toBe(0);
  });

  test("a repeated SUBSCRIBE while the broker is asked is asked once", () => {
    const bench = new Bench().connected();
    bench.client(subscribe("a")).asks("subscribe");
    bench.client(subscribe("a")).gets().asks();
  });

  test("UNSUBSCRIBE waits for the broker; of what is unknown it is answered at once", () => {
    const bench = new Bench().connected().subscribed("a");
    const { packetId } = bench
      .client({ type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 4, topic: "a" })
      .gets()
      .effect("unsubscribe");
    expect(bench.link().acks("unsuback", packetId).message("UNSUBACK").msgId).toBe(4);
    bench.client({ type: "UNSUBSCRIBE", topicIdType: "predefined", msgId: 5, topic: 99 }).gets("UNSUBACK").asks();
  });
});

describe("the broker comes and goes", () => {
  test("an active client is told; a clean session is over", () => {
    const bench = new Bench().connected();
    const turn = bench.link().down().gets("DISCONNECT");
    expect(turn.states).toEqual(["disconnected"]);
    expect(bench.core.sizes).toMatchObject({ sessions: 0, links: 1 });
  });

  test("taken over by another gateway: a silent end [i21] [6.3]", () => {
    const bench = new Bench().connected({ cleanSession: false });
    expect(bench.link().down(true).gets().states).toEqual(["disconnected"]);
  });

  test("a congested connection: congestion to the client", () => {
    const bench = new Bench().connected();
    const topicId = bench.registered("a");
    bench.link().congested(true);
    expect(
      bench
        .client(publish({ topicId, qos: 0, msgId: 0 }))
        .asks()
        .message("PUBACK").returnCode,
    ).toBe(1);
    bench.link().congested(false);
    bench.client(publish({ topicId, qos: 0, msgId: 0 })).asks("publish");
  });

  test("ADVERTISE only while the broker is there [6.1]", () => {
    const bench = new Bench({ advertise: { intervalSeconds: 10 } });
    const count = (ms: number) => bench.after(ms).effects.filter((e) => e.kind === "broadcast").length;
    expect(count(30_000)).toBe(3);
    bench.link("gateway").down();
    expect(count(60_000)).toBe(0);
    expect(bench.link("gateway").up().effect("broadcast").message).toMatchObject({ type: "ADVERTISE", duration: 10 });
  });

  test("status topics: retained, a client id is one level", () => {
    const bench = new Bench({ status: { topic: "gw" } });
    bench.client(connect({ clientId: "a/b" }));
    const turn = bench.link("a/b").up();
    expect(turn.effect("publish").publication).toMatchObject({
      topicName: "gw/clients/a%2Fb",
      payload: octets("active"),
      retain: true,
    });
    expect(bench.client(sleep(60)).effect("publish").publication.payload).toEqual(octets("asleep"));
  });

  test.each([
    [false, ["gw/gateway online"], ["gw/gateway offline"]],
    [true, [], []],
  ])(
    "status topics of clients alone (%s), as in a shard: the gateway says nothing of itself",
    (ofClientsOnly, up, down) => {
      const bench = new Bench({ status: { topic: "gw", ofClientsOnly } });
      const published = ({ effects }: Turn) =>
        effects.flatMap((each) =>
          each.kind === "publish" ? [`${each.publication.topicName} ${Buffer.from(each.publication.payload)}`] : [],
        );
      bench.link("gateway").down();
      expect(published(bench.link("gateway").up())).toEqual(up);
      bench.client(connect());
      expect(published(bench.link("c1").up())).toEqual(["gw/clients/c1 active"]);
      expect(published(bench.input({ kind: "shutdown" })).filter((each) => each.startsWith("gw/gateway"))).toEqual(
        down,
      );
    },
  );

  test("the retained state of who has no session any more is removed on demand; who has one keeps it", () => {
    const bench = new Bench({ status: { topic: "gw" } });
    bench.client(connect({ clientId: "a/b" }));
    bench.link("a/b").up();
    expect(bench.input({ kind: "stateUnwanted", clientId: "a/b" }).effects).toEqual([]);
    bench.client({ type: "DISCONNECT", duration: undefined });
    expect(bench.input({ kind: "stateUnwanted", clientId: "a/b" }).effect("publish").publication).toMatchObject({
      topicName: "gw/clients/a%2Fb",
      payload: octets(""),
      retain: true,
    });
    bench.link("gateway").down();
    expect(bench.input({ kind: "stateUnwanted", clientId: "a/b" }).effects).toEqual([]);
  });

  test("prefixes are put on and taken off", () => {
    const bench = new Bench({ upstream: { topicPrefix: "site/", clientIdPrefix: "gw-" } });
    const { link } = bench.client(connect()).effect("openLink");
    expect(link).toMatchObject({ mqttClientId: "gw-c1", identity: "c1" });
    bench.link("gw-c1").up();
    const { packetId, topicFilter } = bench.client(subscribe("$share/g/t", 0)).effect("subscribe");
    expect(topicFilter).toBe("$share/g/site/t");
    bench.link("gw-c1").acks("suback", packetId, 0);
    expect(bench.link("gw-c1").delivers({ topicName: "site/t", qos: 0 }).message("REGISTER").topicName).toBe("t");
  });

  test("shutdown: active clients are told, sleepers are not, wills are kept back", () => {
    const bench = new Bench().connected().connected({ clientId: "c2" }, elsewhere);
    bench.client(sleep(60), elsewhere);
    const turn = bench.input({ kind: "shutdown" });
    expect(turn.effects.flatMap((e) => (e.kind === "send" ? [e.to] : []))).toEqual([here]);
    expect(turn.effects.flatMap((e) => (e.kind === "closeLink" ? [e.how] : []))).toEqual([
      "disconnect",
      "disconnect",
      "disconnect",
    ]);
  });
});

describe("who gets in", () => {
  const refused = { admitted: false, hint: "access.rules" } as const;

  test("a client that is not admitted hears 'not supported' and nothing else happens", () => {
    const bench = new Bench({ access: { ...admitAll, client: () => refused } });
    const turn = bench.client(connect()).asks();
    expect(turn.message("CONNACK").returnCode).toBe(3);
    expect(turn.events).toMatchObject([{ event: "not_admitted", hint: "access.rules" }]);
  });

  test("QoS -1 and forwarders have gates of their own; what is refused is not answered", () => {
    const bench = new Bench({ access: { ...admitAll, qosMinusOne: () => refused, forwarder: () => refused } });
    expect(bench.datagram("0b0c626162000032312e35").gets().asks().events).toMatchObject([{ what: "qosMinusOne" }]);
    expect(bench.datagram("05fe0012340804040100" + "3c6331").gets().events).toMatchObject([{ what: "forwarder" }]);
  });
});

test("what a durable store must have is promised only after its commit; a failed commit takes the promise back", () => {
  const bench = new Bench({ durable: true }).connected({ cleanSession: false }).subscribed("t");
  bench.client(sleep(300));
  const turn = bench.link().delivers({ packetId: 8 });
  const { token } = turn.effect("persist");
  expect(turn.effect("ackBroker")).toMatchObject({ packetId: 8, after: token });
  bench.input({ kind: "persistFailed", token, reason: "disk full" });
  bench.client(disconnect);
  bench.client(connect({ cleanSession: false }));
  const registered = bench.link().up(true).message("REGISTER");
  // Not ours after all: the broker sends it again; it is one message still, and acknowledged when the client has it.
  bench.link().delivers({ packetId: 8, dup: true }).gets().asks();
  const published = bench.client(regAck(registered)).message("PUBLISH");
  expect(bench.client(pubAck(published)).gets().effect("ackBroker").packetId).toBe(8);
});

test.each([1, 2] as const)(
  "QoS %d: custody that is not on disk yet is not acknowledged over the next connection either",
  (qos) => {
    const bench = new Bench({ durable: true }).connected({ cleanSession: false }).subscribed("t", qos);
    bench.client(sleep(300));
    const { token } = bench.link().delivers({ packetId: 8, qos }).effect("persist");
    bench.link().down();
    bench.link().up(true);
    const again = bench.link().delivers({ packetId: 8, qos, dup: true });
    const acknowledged = again.effect("ackBroker").after ?? 0;
    expect(acknowledged).toBeGreaterThanOrEqual(token);
    bench.input({ kind: "persistFailed", token, reason: "disk full" });
    if (acknowledged > token) bench.input({ kind: "persistFailed", token: acknowledged, reason: "disk full" });
    // The gateway is responsible only when it is on disk: the client gets the message nevertheless, and its acknowledgement is passed to
    // the broker.
    bench.client(connect({ cleanSession: false }));
    bench.link().up(true);
  },
);

test("a broker that releases what was never acknowledged has given it away: the client gets it, and nothing is owed", () => {
  const bench = new Bench({ durable: true }).connected({ cleanSession: false }).subscribed("t", 2);
  const { msgId } = bench.link().delivers({ packetId: 8, qos: 2 }).message("PUBLISH");
  const turn = bench.link().releases(8);
  expect(turn.effect("ackBroker")).toMatchObject({ ack: "pubcomp", packetId: 8 });
  bench.client({ type: "PUBREC", msgId }).gets("PUBREL").asks();
});

test("a store that has not answered for 5 s counts as failing until it does: QoS 2 is refused, QoS 0 goes on", () => {
  const bench = new Bench({ durable: true }).connected({ cleanSession: false }).subscribed("t");
  bench.client(sleep(300));
  const { token } = bench.link().delivers({ packetId: 8 }).effect("persist");
  expect(bench.after(4_900).events).toEqual([]);
  expect(bench.after(100).events).toMatchObject([{ event: "persist_failed" }]);
  bench.client(connect({ cleanSession: false }));
  const publish = (qos: 0 | 2, msgId: number) => ({
    type: "PUBLISH" as const,
    dup: false,
    qos,
    retain: false,
    topicIdType: "short" as const,
    topicId: 0x6162,
    msgId,
    data: Uint8Array.of(1),
  });
  expect(bench.client(publish(2, 5)).message("PUBACK")).toMatchObject({ msgId: 5, returnCode: 1 });
  expect(bench.client(publish(0, 0)).effect("publish").packetId).toBe(0);
  // While one is in progress, nothing is tried.
  expect(bench.after(2_000).effects.filter(({ kind }) => kind === "persist")).toEqual([]);
  expect(bench.input({ kind: "persisted", token: token + 100 }).events).toMatchObject([{ event: "persist_recovered" }]);
  expect(bench.client(publish(2, 6)).effect("publish").packetId).toBeGreaterThan(0);
});

describe("QoS 2 towards a client while the store fails", () => {
  /** Subscribed at QoS 2, and the store has just refused a commit. */
  function failing(more: { sleeps?: boolean } = {}) {
    const bench = new Bench({ durable: true }).connected({ cleanSession: false, duration: 600 }).subscribed("t", 2);
    const { token } = bench.client(more.sleeps ? sleep(600) : register("x")).effect("persist");
    return { bench, fails: () => bench.input({ kind: "persistFailed", token, reason: "full" }), token };
  }

  test("it waits, whoever long; the client is not lost over it, and gets it when the store works again", () => {
    const { bench, fails, token } = failing();
    fails();
    bench.link().delivers({ qos: 2 }).gets();
    expect(bench.after(300_000).gets().states).toEqual([]);
    bench.input({ kind: "persisted", token: token + 1_000 }).gets("PUBLISH");
  });

  test("what stands aside behind it is tried again when it is overdue", () => {
    const { bench, fails } = failing();
    const { msgId } = bench.link().delivers({ qos: 1 }).message("PUBLISH");
    bench.after(39_000);
    bench.client(ping).gets("PINGRESP");
    bench.after(1_000);
    fails();
    bench.link().delivers({ qos: 2 }).gets();
    bench.client(ping).gets("PINGRESP");
    bench.after(79_000).gets();
    expect(bench.after(2_000).message("PUBLISH")).toMatchObject({ qos: 1, msgId, dup: true });
  });

  test("one that is under way is not counted as unanswered", () => {
    const { bench, fails, token } = failing();
    bench.link().delivers({ qos: 2 }).gets("PUBLISH"); // held by the driver
    fails();
    expect(bench.after(300_000).states).toEqual([]);
    const { msgId } =
      bench.input({ kind: "persisted", token: token + 1_000 }) && bench.after(10_000).message("PUBLISH");
    bench.client({ type: "PUBREC", msgId }).gets("PUBREL");
  });

  test("a PUBREL whose commit is not done is neither repeated nor counted as unanswered", () => {
    const bench = new Bench({ durable: true }).connected({ cleanSession: false, duration: 600 }).subscribed("t", 2);
    const { msgId } = bench.link().delivers({ qos: 2 }).message("PUBLISH");
    bench.link().delivers({ qos: 1 }).gets();
    const turn = bench.client({ type: "PUBREC", msgId }).gets("PUBREL");
    expect(turn.effects.find(({ kind }) => kind === "send")).toMatchObject({ after: turn.effect("persist").token });
    bench.client(ping).gets("PINGRESP");
    bench.after(55_000).gets();
    bench.input({ kind: "persisted", token: turn.effect("persist").token });
    bench.after(30_000).gets("PUBREL", "PUBREL", "PUBREL");
    bench.client({ type: "PUBCOMP", msgId }).gets("PUBLISH");
  });

  test("a sleeper wakes, and sleeps on without it", () => {
    const { bench, fails, token } = failing({ sleeps: true });
    bench.link().delivers({ qos: 2 }).gets();
    fails();
    expect(bench.client(wake()).gets("PINGRESP").states).toEqual(["awake", "asleep"]);
    bench.input({ kind: "persisted", token: token + 1_000 }).gets();
    bench.client(wake()).gets("PUBLISH");
  });
});

test("a store that hangs for good takes no more than so much memory: then only what needs no store is let in", () => {
  const bench = new Bench({ durable: true }).connected({ cleanSession: false });
  const commitsOf = (turn: Turn) => turn.effects.filter(({ kind }) => kind === "persist").length;
  let commits = commitsOf(bench.after(5_000));
  let asked = 0;
  // Falls asleep and wakes, again and again.
  for (let last: Turn | undefined; asked < 30_000 && !last?.drops.length; asked++) {
    last = bench.client(asked % 2 ? wake() : sleep(300));
    commits += commitsOf(last);
  }
  expect(commits).toBeGreaterThan(9_900);
  expect(commits).toBeLessThan(10_010);
  expect(bench.client(connect({ clientId: "new" }), elsewhere).gets().drops).toEqual(["store-failing"]);
  expect(commitsOf(bench.client(publish({ qos: 0, topicIdType: "short", topicId: 0x6162 })).asks("publish"))).toBe(0);
  bench.input({ kind: "persisted", token: 20_000 });
  bench.client(wake()).gets("PINGRESP");
});

test("garbage is counted and answered by nobody", () => {
  const bench = new Bench().connected();
  for (const hex of ["", "00", "01", "0100", "ff", "0203", "05fe001234"])
    expect(bench.datagram(hex).gets().drops).toEqual(["malformed"]);
});
