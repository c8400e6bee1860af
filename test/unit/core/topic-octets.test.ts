/** What a client leaves with the gateway in words is limited in octets, not only in number. */
import { expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import {
  Bench,
  connect,
  disconnect,
  octets,
  pubAck,
  publish,
  regAck,
  register,
  subscribe,
} from "../../helpers/bench.ts";

const hundred = { topics: { bytesPerClientMax: 100 } } as unknown as Partial<CoreOptions>;
const name = (n: number, length: number) => `${n}/`.padEnd(length, "ü").slice(0, length);

test("REGISTER: congestion beyond, the names of before are good, and a new session has room again [6.5]", () => {
  const bench = new Bench(hundred).connected();
  const first = bench.registered("a".repeat(60));
  const turn = bench.client(register("b".repeat(41), 2));
  expect([turn.message("REGACK").returnCode, turn.drops]).toEqual([1, ["topic-ids-exhausted"]]);
  expect(bench.client(register("a".repeat(60), 3)).message("REGACK")).toMatchObject({ topicId: first, returnCode: 0 });
  expect(bench.client(register("c".repeat(40), 4)).message("REGACK").returnCode).toBe(0);
  bench.client(publish({ topicId: first })).asks("publish");
  bench.client(disconnect);
  bench.connected();
  expect(bench.client(register("d".repeat(100), 1)).message("REGACK").returnCode).toBe(0);
});

test("octets are counted, not letters [6.5]", () => {
  const bench = new Bench(hundred).connected();
  expect(bench.client(register(name(1, 52), 1)).message("REGACK").returnCode).toBe(1); // 2 + 2 * 50, and the slash
});

test("SUBSCRIBE: filters count, those under way too, and UNSUBSCRIBE makes room [6.5]", () => {
  const bench = new Bench(hundred).connected();
  const filter = `${"f".repeat(58)}/#`;
  const { packetId } = bench.client(subscribe(filter, 1, 1)).effect("subscribe");
  const other = subscribe(`${"g".repeat(48)}/#`, 1, 2);
  expect(bench.client(other).asks().message("SUBACK").returnCode).toBe(1);
  bench.link().acks("suback", packetId, 1);
  expect(bench.client(other).asks().message("SUBACK").returnCode).toBe(1);
  const gone = bench.client({ type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 3, topic: filter } as never);
  bench.link().acks("unsuback", gone.effect("unsubscribe").packetId);
  bench.client(other).asks("subscribe");
});

test("wills: at CONNECT and when they change [6.5]", () => {
  const bench = new Bench(hundred);
  const will = (length: number) => {
    bench.client(connect({ will: true }));
    bench.client({ type: "WILLTOPIC", qos: 0, retain: false, willTopic: "w" });
    return bench.client({ type: "WILLMSG", willMsg: octets("x".repeat(length)) });
  };
  expect(will(100).asks().message("CONNACK").returnCode).toBe(1);
  expect(bench.core.sizes).toMatchObject({ sessions: 0, pendingConnects: 0 });
  will(80).asks("openLink");
  bench.link().up();
  const change = (length: number) =>
    bench.client({ type: "WILLMSGUPD", willMsg: octets("x".repeat(length)) }).message("WILLMSGRESP").returnCode;
  expect([change(100), change(99)]).toEqual([1, 0]);
  const rename = (length: number) =>
    bench
      .client({ type: "WILLTOPICUPD", qos: 0, retain: false, willTopic: "w".repeat(length) })
      .message("WILLTOPICRESP").returnCode;
  expect([rename(2), rename(1)]).toEqual([1, 0]);
});

test("towards the client: a message under a name without room is dropped and counted, the next one comes [6.5]", () => {
  const bench = new Bench(hundred).connected().subscribed("#");
  const turn = bench.link().delivers({ topicName: "n".repeat(100) });
  expect(turn.gets().drops).toEqual(["topic-ids-exhausted"]);
  const told = bench.link().delivers({ topicName: "short/name" }).message("REGISTER");
  const sent = bench.client(regAck(told)).message("PUBLISH");
  bench.client(pubAck(sent)).asks("ackBroker");
});
