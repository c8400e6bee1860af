import { expect, test } from "vitest";
import { Bench, octets, pubAck, publish, register, sleep, wake } from "../../helpers/bench.ts";

const tight = { buffer: { messagesMax: 1 }, upstream: { receiveMaximum: 1 } };

/** Three messages for a sleeper with room for one, and a window of one: the third finds no room at all. */
function overfull(): Bench {
  const bench = new Bench(tight).connected({ cleanSession: false }).subscribed("t");
  bench.client(sleep(300));
  bench
    .link()
    .delivers({ payload: octets("1") })
    .asks("ackBroker");
  bench
    .link()
    .delivers({ payload: octets("2") })
    .asks();
  const third = bench.link().delivers({ payload: octets("3") });
  expect(third.asks().drops).toEqual([]); // it is still the broker's
  return bench;
}

/** Takes over what comes in this wake-up, to its PINGRESP. */
function fetched(bench: Bench, turn = bench.client(wake())): string[] {
  const got: string[] = [];
  for (let i = 0; i < 10 && turn.sent.some(({ type }) => type === "PUBLISH"); i++) {
    const published = turn.message("PUBLISH");
    got.push(Buffer.from(published.data).toString());
    turn = bench.client(pubAck(published));
  }
  expect(turn.sent.at(-1)?.type).toBe("PINGRESP");
  return got;
}

test("what found no room comes as soon as there is some, on the same connection and in order [6.6]", () => {
  expect(fetched(overfull())).toEqual(["1", "2", "3"]);
});

test("a later message does not overtake one that found no room [MQTT-4.6.0-6] [6.6]", () => {
  const bench = overfull();
  const first = bench.client(wake()).message("PUBLISH");
  const turn = bench.client(pubAck(first)); // room for the third now
  bench.link().delivers({ payload: octets("4") });
  expect(fetched(bench, turn)).toEqual(["2", "3", "4"]);
});

test("after a cut the broker sends it again: it is not there twice [6.6]", () => {
  const bench = overfull();
  bench.link().down();
  bench.link().up(true);
  bench.link().delivers({ packetId: 2, dup: true, payload: octets("2") });
  bench.link().delivers({ packetId: 3, dup: true, payload: octets("3") });
  expect(fetched(bench)).toEqual(["1", "2", "3"]);
});

test("a device that publishes meanwhile is answered all the same [6.6]", () => {
  const bench = overfull();
  const { topicId } = bench.client(register("u")).message("REGACK");
  const { packetId } = bench.client(publish({ topicId })).effect("publish");
  bench.link().acks("puback", packetId).gets("PUBACK");
});
