/** Topic names for which brokers close the connection: always refused, on every connection. [MQTT-3.1.1 1.5.3] */
import { describe, expect, test } from "vitest";
import { Bench, connect, publish, register, subscribe } from "../../helpers/bench.ts";

const untaken = ["\u0001", "\u001f", "\u007f", "\u0085", "\u009f", "\ufdd0", "\uffff", "\u{1fffe}"];
const odd = ["\u00a0", "\u2028", "\ufeff", "\ufffd", "\u{1f600}", "\u202e"];

describe.each(["transparent", "aggregating"] as const)("%s", (mode) => {
  const connected = () => {
    const bench = new Bench({ upstream: { mode } });
    if (mode === "transparent") return bench.connected();
    bench.link("gateway").up();
    bench.client(connect()).gets("CONNACK");
    return bench;
  };

  test("control characters and non-characters are refused with 0x03 everywhere [i36]", () => {
    for (const character of untaken) {
      const bench = connected();
      expect(bench.client(register(`a${character}`)).message("REGACK").returnCode).toBe(3);
      expect(
        bench
          .client(subscribe(`a${character}/#`))
          .asks()
          .message("SUBACK").returnCode,
      ).toBe(3);
      const will = { type: "WILLTOPICUPD", qos: 1, retain: false, willTopic: `w${character}` } as const;
      expect(bench.client(will).message("WILLTOPICRESP").returnCode).toBe(3);
      expect(
        bench.client(connect({ clientId: `d${character}` }), "udp/192.0.2.7:7").message("CONNACK").returnCode,
      ).toBe(3);
    }
    const short = publish({ topicIdType: "short", topicId: 0x6102 });
    expect(connected().client(short).asks().message("PUBACK").returnCode).toBe(3);
  });

  test("other odd characters pass", () => {
    const bench = connected();
    for (const character of odd) expect(bench.client(register(`a${character}`)).message("REGACK").returnCode).toBe(0);
  });

  test("a will topic of such a name ends the CONNECT with 0x03", () => {
    const bench = connected();
    const peer = "udp/192.0.2.8:8";
    bench.client(connect({ clientId: "w", will: true }), peer).gets("WILLTOPICREQ");
    const topic = { type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w\u0003" } as const;
    expect(bench.client(topic, peer).message("CONNACK").returnCode).toBe(3);
  });
});
