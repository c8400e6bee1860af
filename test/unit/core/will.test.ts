import { describe, expect, test } from "vitest";
import { Bench, connect, disconnect, elsewhere, octets, ping, sleep } from "../../helpers/bench.ts";

const withWill = (options: ConstructorParameters<typeof Bench>[0] = {}) => {
  const bench = new Bench(options);
  bench.client(connect({ will: true, cleanSession: false }));
  bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" });
  bench.client({ type: "WILLMSG", willMsg: octets("old") });
  bench.link().up().gets("CONNACK");
  return bench;
};

describe("the will leaves once, and never after a goodbye [6.3] [6.4] [i22] [6.12]", () => {
  test("lost with the will at the broker: the connection is abandoned", () => {
    const bench = withWill();
    const turn = bench.after(90_000).gets("DISCONNECT");
    expect(turn.states).toEqual(["lost"]);
    expect(turn.asks("closeLink").effect("closeLink")).toMatchObject({ how: "abandon", endSession: false });
  });

  test("a client that connects from elsewhere is not lost when another one takes its old address", () => {
    const bench = withWill({ upstream: { protocol: "5" } });
    bench.client(connect({ will: true, cleanSession: false }), elsewhere);
    bench.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w" }, elsewhere);
    bench.client({ type: "WILLMSG", willMsg: octets("new") }, elsewhere); // the broker is to hold the new will
    expect(bench.client(connect({ clientId: "c2" })).states).toEqual([]);
    bench.link("c1").up(true).gets("CONNACK");
    expect(bench.core.session("c1")).toMatchObject({ view: { state: "active" }, record: { farewell: false } });
  });

  test("after an update the new will is published over the client's connection, then it disconnects in order [i26] [6.4]", () => {
    const bench = withWill();
    expect(bench.client({ type: "WILLMSGUPD", willMsg: octets("new") }).message("WILLMSGRESP").returnCode).toBe(0);
    const { publication, packetId } = bench.after(90_000).asks("publish").effect("publish");
    expect(publication).toMatchObject({ topicName: "w", payload: octets("new"), qos: 1 });
    expect(bench.link().acks("puback", packetId).asks("closeLink").effect("closeLink").how).toBe("disconnect");
  });

  test("a deleted will is not published", () => {
    const bench = withWill();
    bench.client({ type: "WILLTOPICUPD", qos: 0, retain: false, willTopic: undefined });
    expect(bench.after(90_000).asks("closeLink").effect("closeLink").how).toBe("disconnect");
  });

  test("message and topic may come one by one, without a will before", () => {
    const bench = new Bench().connected();
    bench.client({ type: "WILLMSGUPD", willMsg: octets("m") }).gets("WILLMSGRESP");
    bench.client({ type: "WILLTOPICUPD", qos: 0, retain: true, willTopic: "x" }).gets("WILLTOPICRESP");
    expect(bench.after(90_000).effect("publish").publication).toEqual({
      topicName: "x",
      payload: octets("m"),
      qos: 0,
      retain: true,
    });
  });

  test.each([disconnect, sleep(60)])("a goodbye or a sleep publishes nothing", (message) => {
    const turn = withWill().client(message).gets("DISCONNECT");
    expect(turn.effects.some((e) => e.kind === "publish" || (e.kind === "closeLink" && e.how === "abandon"))).toBe(
      false,
    );
  });

  test("sleep expiry is a loss like any other", () => {
    const bench = withWill();
    bench.client(sleep(60));
    expect(bench.after(90_000).effect("closeLink").how).toBe("abandon");
  });

  test("MQTT 5 would wait: the gateway publishes at once", () => {
    const bench = withWill({ upstream: { protocol: "5" } });
    expect(bench.after(90_000).effect("publish").publication.topicName).toBe("w");
  });

  test("held by the gateway: the broker never gets it in CONNECT", () => {
    const bench = new Bench({ upstream: { will: { held: "gateway" } } });
    bench.client(connect({ will: true }));
    bench.client({ type: "WILLTOPIC", qos: 0, retain: false, willTopic: "w" });
    expect(bench.client({ type: "WILLMSG", willMsg: octets("m") }).effect("openLink").link.will).toBeUndefined();
    bench.link().up();
    bench.after(90_000).asks("publish", "closeLink");
  });

  test("the broker is away when the client is lost: the will waits for it", () => {
    const bench = withWill();
    bench.client({ type: "WILLMSGUPD", willMsg: octets("new") });
    bench.client(sleep(60));
    bench.link().down();
    bench.after(90_000).asks();
    expect(bench.link().up(true).effect("publish").publication.payload).toEqual(octets("new"));
  });

  test("any message counts as a sign of life", () => {
    const bench = withWill();
    for (let i = 0; i < 5; i++) {
      bench.after(80_000).gets();
      bench.client(ping).gets("PINGRESP");
    }
    expect(bench.after(89_999).states).toEqual([]);
    expect(bench.after(1).states).toEqual(["lost"]);
  });

  test("keep alive 0 is supervised by the idle limit", () => {
    const bench = new Bench().connected({ duration: 0 });
    expect(bench.after(86_399_999).states).toEqual([]);
    expect(bench.after(1).states).toEqual(["lost"]);
  });
});
