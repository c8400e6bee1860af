import { describe, expect, test } from "vitest";
import { Bench, connect, elsewhere, octets, ping, pubAck, publish, sleep, wake } from "../../helpers/bench.ts";

describe("sleep [6.14]", () => {
  const asleep = (seconds = 300) => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t", 2);
    bench.client(sleep(seconds)).gets("DISCONNECT").asks();
    return bench;
  };

  test("what arrives is kept, acknowledged at custody, and handed over before PINGRESP", () => {
    const bench = asleep();
    expect(bench.link().delivers({ packetId: 3 }).gets().effect("ackBroker").packetId).toBe(3);
    bench.link().delivers({ qos: 0 }).gets().asks();
    const first = bench.client(wake()).gets("PUBLISH").message("PUBLISH");
    bench.client(pubAck(first)).gets("PUBLISH", "PINGRESP").asks();
    bench.link().delivers({}).gets();
  });

  test("its link may go when it sleeps, when it has all, and when it leaves; not when it is a forwarder's", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t", 1);
    const peer = bench.client(sleep(300)).effect("releaseLink").peer;
    bench.link().delivers({});
    const first = bench.client(wake());
    expect(first.effects.some(({ kind }) => kind === "releaseLink")).toBe(false);
    expect(bench.client(pubAck(first.message("PUBLISH"))).effect("releaseLink").peer).toBe(peer);
    expect(bench.client({ type: "DISCONNECT", duration: undefined }).effect("releaseLink").peer).toBe(peer);
    const forwarded = new Bench();
    forwarded.connected({}, "udp/198.51.100.1:1#0102");
    const left = forwarded.client({ type: "DISCONNECT", duration: undefined }, "udp/198.51.100.1:1#0102");
    expect(left.effects.map(({ kind }) => kind)).not.toContain("releaseLink");
  });

  test("PINGREQ from a new address finds the sleeper; a repeated one sends what is open, not everything [i3] [6.14] [i28]", () => {
    const bench = asleep();
    bench.link().delivers({});
    bench.link().delivers({});
    const first = bench.client(wake(), elsewhere).gets("PUBLISH").message("PUBLISH");
    bench.after(2_000);
    expect(bench.client(wake(), elsewhere).message("PUBLISH")).toEqual({ ...first, dup: true });
    const second = bench.client(pubAck(first), elsewhere).message("PUBLISH");
    bench.client(pubAck(second), elsewhere).gets("PINGRESP");
  });

  test("an active client cannot fetch what waits for a sleeper", () => {
    const bench = asleep();
    bench.link().delivers({});
    bench.connected({ clientId: "c2" }, elsewhere);
    bench.client(wake("c1"), elsewhere).gets("DISCONNECT");
    bench.client(ping, elsewhere).gets("PINGRESP");
    bench.client(wake("c1")).gets("PUBLISH");
  });

  test("roaming can be off", () => {
    const bench = new Bench({ clients: { roaming: false } }).connected();
    bench.client(sleep(300));
    bench.client(wake(), elsewhere).gets("DISCONNECT");
  });

  test("PINGREQ with the id of an active client from elsewhere: DISCONNECT, and nothing changes", () => {
    const bench = new Bench().connected();
    bench.client(wake(), elsewhere).gets("DISCONNECT");
    bench.client(ping).gets("PINGRESP");
  });

  test("CONNECT delivers what waits, without a new connection to the broker [i4] [6.14]", () => {
    const bench = asleep();
    bench.link().delivers({});
    bench
      .client(connect({ cleanSession: false }))
      .gets("CONNACK", "PUBLISH")
      .asks();
  });

  test("CONNECT out of sleep from another address: the same, but topic ids are told again [i4a] [6.5]", () => {
    const bench = asleep();
    bench.link().delivers({});
    bench
      .client(connect({ cleanSession: false }), elsewhere)
      .gets("CONNACK", "REGISTER")
      .asks();
  });

  test("falls asleep while handing over: no PINGRESP, the message stays, its late acknowledgement counts [i17] [6.13]", () => {
    const bench = asleep();
    bench.link().delivers({});
    const first = bench.client(wake()).message("PUBLISH");
    expect(bench.after(40_000).gets("PUBLISH", "PUBLISH", "PUBLISH").states).toEqual(["asleep"]);
    bench.client(pubAck(first)).gets();
    bench.client(wake()).gets("PINGRESP");
  });

  test.each([
    [60, 90_000],
    [61, 67_100],
  ])("lost after %i s and its grace, told nothing [i25] [7.2] [6.11]", (seconds, ms) => {
    const bench = asleep(seconds);
    expect(bench.after(ms - 1).states).toEqual([]);
    expect(bench.after(1).gets().states).toEqual(["lost"]);
  });

  test("publishing from sleep is served, sleep goes on, nothing is handed over [i9] [6.14]", () => {
    const bench = asleep();
    const topicId = bench.registered("u");
    bench.link().delivers({});
    const { packetId } = bench.client(publish({ topicId })).effect("publish");
    bench.link().acks("puback", packetId).gets("PUBACK");
    bench.client(wake()).gets("PUBLISH");
  });

  test("duration 0 is a goodbye [i8] [5.4.21]", () => {
    const bench = new Bench().connected();
    expect(bench.client(sleep(0)).gets("DISCONNECT").states).toEqual(["disconnected"]);
  });

  test("a full buffer: the oldest QoS 0 goes; QoS 1 stays at the broker, and comes when there is room", () => {
    const bench = new Bench({ buffer: { messagesMax: 2 } }).connected({ cleanSession: false }).subscribed("t", 2);
    bench.client(sleep(300));
    bench.link().delivers({ qos: 0, payload: octets("old") });
    bench
      .link()
      .delivers({ packetId: 1, payload: octets("1") })
      .asks("ackBroker");
    expect(
      bench
        .link()
        .delivers({ packetId: 2, payload: octets("2") })
        .asks("ackBroker").drops,
    ).toEqual(["buffer-full"]);
    bench
      .link()
      .delivers({ packetId: 3, payload: octets("3") })
      .asks(); // kept, not promised
    let published = bench.client(wake()).message("PUBLISH");
    const got = [Buffer.from(published.data).toString()];
    for (let turn = bench.client(pubAck(published)); got.length < 3; turn = bench.client(pubAck(published))) {
      published = turn.message("PUBLISH");
      got.push(Buffer.from(published.data).toString());
    }
    expect(got).toEqual(["1", "2", "3"]);
  });

  test("a busy topic cannot keep the client awake for ever", () => {
    const bench = new Bench({ buffer: { extraPerWakeMax: 1 } }).connected({ cleanSession: false }).subscribed("t", 0);
    bench.client(sleep(300));
    bench.client(wake()).gets("PINGRESP");
    bench.link().delivers({ qos: 0 }).gets();
    bench.link().delivers({ qos: 0 }).gets();
    bench.link().delivers({ qos: 0 }).gets();
    bench.client(wake()).gets("PUBLISH", "PUBLISH", "PUBLISH", "PINGRESP");
  });

  test("the broker goes and comes: the sleeper hears nothing, its subscriptions are made again", () => {
    const bench = asleep();
    bench.link().down().gets();
    expect(bench.client(publish({ topicIdType: "short", topicId: 0x6162 })).message("PUBACK").returnCode).toBe(1);
    bench.link().up(false).gets().asks("subscribe");
  });
});
