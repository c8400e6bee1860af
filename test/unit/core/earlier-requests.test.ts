/** A client connects again while the broker has not answered its SUBSCRIBE or UNSUBSCRIBE: the same MsgId may mean another request. */
import { describe, expect, test } from "vitest";
import { Bench, connect, subscribe } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

describe.each(["transparent", "aggregating"] as const)("%s", (mode) => {
  function begun() {
    const bench = new Bench({ upstream: { ...testOptions.upstream, mode } });
    const link = () => bench.link(mode === "transparent" ? "c1" : "gateway");
    const again = () => bench.client(connect({ cleanSession: false })).gets("CONNACK");
    if (mode === "aggregating") link().up();
    bench.client(connect({ cleanSession: false }));
    if (mode === "transparent") link().up();
    const asks = (topic: string, msgId: number) =>
      bench.client(subscribe(topic, 1, msgId)).effect("subscribe").packetId;
    const filters = () => bench.core.session("c1")?.record.subscriptions.map(({ filter }) => filter);
    return { bench, link, again, asks, filters };
  }
  const unsubscribe = (topic: string, msgId: number) =>
    ({ type: "UNSUBSCRIBE", topicIdType: "normal", msgId, topic }) as const;

  test("a SUBSCRIBE of another topic with the same MsgId is asked of the broker, and only it is answered [i14b] [6.2]", () => {
    const { link, again, asks, filters } = begun();
    const before = asks("a", 1);
    again();
    const now = asks("b", 1);
    link().acks("suback", before, 1).gets();
    const { msgId, topicId } = link().acks("suback", now, 1).message("SUBACK");
    expect(msgId).toBe(1);
    expect(filters()).toEqual(["a", "b"]); // the session went on, and the broker has both
    link().delivers({ topicName: "b" }).gets("PUBLISH"); // its id is known
    expect(topicId).not.toBe(0);
  });

  test("the answer to what was asked before is not sent [6.2]", () => {
    const { bench, link, again, asks, filters } = begun();
    const before = asks("a", 1);
    again();
    link().acks("suback", before, 1).gets();
    expect(filters()).toEqual(["a"]);
    link().delivers({ topicName: "a" }).gets("REGISTER"); // no SUBACK has told its id
    bench.client(subscribe("a", 1, 2)).asks("subscribe");
  });

  test("who repeats the request gets its one answer [6.13]", () => {
    const { bench, link, again, asks } = begun();
    const before = asks("a", 1);
    again();
    bench
      .client(subscribe("a", 1, 1))
      .gets()
      .asks();
    bench
      .client(subscribe("a", 1, 1))
      .gets()
      .asks();
    expect(link().acks("suback", before, 1).message("SUBACK").msgId).toBe(1);
  });

  test("the same filter with another MsgId takes the place of the request before, also if all places are taken [6.9]", () => {
    const { bench, link, again, asks, filters } = begun();
    const { uplinkInFlightMax } = testOptions.clients;
    const topics = Array.from({ length: uplinkInFlightMax }, (_, at) => `t${at}`);
    for (const [at, topic] of topics.entries()) asks(topic, at + 1);
    again();
    for (const [at, topic] of topics.entries()) bench.client(subscribe(topic, 1, 100 + at)).gets();
    const waits = bench.client(subscribe("more", 1, 99)).message("SUBACK");
    expect(waits.returnCode).not.toBe(0); // as many wait as may
    expect(filters()).toEqual([]);
    const answered = link()
      .down()
      .sent.flatMap((message) => (message.type === "SUBACK" ? [message.msgId] : []));
    expect(answered).toEqual(topics.map((_, at) => 100 + at));
  });

  test("an UNSUBSCRIBE from before: it happens, and is not answered [6.10]", () => {
    const { bench, link, again, asks, filters } = begun();
    link().acks("suback", asks("a", 1), 1).gets("SUBACK");
    const { packetId } = bench.client(unsubscribe("a", 2)).effect("unsubscribe");
    again();
    const now = asks("b", 2);
    expect(filters()).toEqual([]);
    link().acks("unsuback", packetId).gets();
    expect(link().acks("suback", now, 1).message("SUBACK").msgId).toBe(2);
    expect(filters()).toEqual(["b"]);
  });

  test("an UNSUBSCRIBE with the MsgId of a SUBSCRIBE from before is asked and answered [6.10]", () => {
    const { bench, link, again, asks, filters } = begun();
    link().acks("suback", asks("b", 7), 1).gets("SUBACK");
    const before = asks("a", 1);
    again();
    const { packetId } = bench.client(unsubscribe("b", 1)).effect("unsubscribe");
    link().acks("suback", before, 1).gets();
    link().acks("unsuback", packetId).gets("UNSUBACK");
    expect(filters()).toEqual(["a"]);
  });

  test("refused by the broker after the client has connected again: it has no subscription, and no answer [6.9]", () => {
    const { link, again, asks, filters } = begun();
    const [before, other] = [asks("a", 1), asks("c", 2)];
    again();
    link().acks("suback", before, 0x80).gets();
    const now = asks("b", 2);
    link().acks("suback", other, 0x80).gets();
    link().acks("suback", now, 1).gets("SUBACK");
    expect(filters()).toEqual(["b"]);
  });
});
