/** What the operator does with the messages for one client. */
import { expect, test } from "vitest";
import { Bench, octets, pubAck, sleep, wake } from "../../helpers/bench.ts";

function sleeper(): Bench {
  const bench = new Bench().connected({ cleanSession: false }).subscribed("t");
  bench.client(sleep(300));
  for (const payload of ["1", "2"]) bench.link().delivers({ payload: octets(payload) });
  return bench;
}

test("what waits is given up, and is there as dead letters; what comes later comes [6.14]", () => {
  const bench = sleeper();
  expect(bench.input({ kind: "purgeDownlink", clientId: "c1" }).drops).toEqual(["purged", "purged"]);
  bench.link().delivers({ payload: octets("3") });
  const published = bench.client(wake()).message("PUBLISH");
  expect(Buffer.from(published.data).toString()).toBe("3");
  expect(bench.client(pubAck(published)).sent.map(({ type }) => type)).toEqual(["PINGRESP"]);
});

test("what is in flight stays: the client may have it", () => {
  const bench = sleeper();
  const published = bench.client(wake()).message("PUBLISH");
  expect(bench.input({ kind: "purgeDownlink", clientId: "c1" }).drops).toEqual(["purged"]);
  expect(bench.client(pubAck(published)).sent.map(({ type }) => type)).toEqual(["PINGRESP"]);
});

test("a message of the operator's waits for a sleeper as any other, and the broker is told nothing", () => {
  const bench = sleeper();
  bench.input({ kind: "purgeDownlink", clientId: "c1" });
  const publication = { topicName: "t", payload: octets("hand"), qos: 1, retain: false } as const;
  const turn = bench.input({ kind: "sendDown", clientId: "c1", publication });
  expect(turn.sent).toEqual([]);
  const published = bench.client(wake()).message("PUBLISH");
  expect(Buffer.from(published.data).toString()).toBe("hand");
  expect(bench.client(pubAck(published)).effects.some(({ kind }) => kind === "ackBroker")).toBe(false);
});
