/** A device without a clock asks for the time at a predefined topic id. */
import { expect, test } from "vitest";
import { Bench, publish } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const ask = (qos: 0 | 1 | 2, msgId = qos === 0 ? 0 : 5) =>
  publish({ topicIdType: "predefined", topicId: 9, qos, msgId, data: new Uint8Array(0) });

function bench(wallAhead: number | undefined): Bench {
  const made = new Bench({ topics: { ...testOptions.topics, timeId: 9 } }).connected();
  made.wallAhead = wallAhead;
  return made;
}

test("at QoS 0 and 1 it gets the seconds since 1970 in four octets, and the broker hears nothing", () => {
  const gateway = bench(1_796_000_000_500);
  const told = gateway.client(ask(0)).gets("PUBLISH").asks().message("PUBLISH");
  expect(told).toMatchObject({ qos: 0, msgId: 0, topicIdType: "predefined", topicId: 9, retain: false, dup: false });
  const seconds = new DataView(told.data.buffer, told.data.byteOffset).getUint32(0);
  expect(told.data.byteLength).toBe(4);
  expect(Math.abs(seconds - 1_796_000_000)).toBeLessThan(2);
  const turn = gateway.client(ask(1)).gets("PUBACK", "PUBLISH").asks();
  expect(turn.message("PUBACK")).toMatchObject({ topicId: 9, msgId: 5, returnCode: 0 });
});

test("while the clock cannot be trusted it hears 'congestion', and it is counted", () => {
  const turn = bench(undefined).client(ask(1)).gets("PUBACK");
  expect(turn.message("PUBACK").returnCode).toBe(1);
  expect(turn.drops).toEqual(["clock-not-set"]);
});

test("at QoS 2 it is refused, and without a session nothing is told", () => {
  expect(bench(1_796_000_000_000).client(ask(2)).gets("PUBACK").message("PUBACK").returnCode).toBe(3);
  const stranger = { ...ask(0), qos: -1 } as never;
  new Bench({ topics: { ...testOptions.topics, timeId: 9 } }).client(stranger).gets();
});

test("where nothing is configured the id is like any other", () => {
  const turn = new Bench().connected().client(ask(1)).gets("PUBACK");
  expect(turn.message("PUBACK").returnCode).toBe(2);
});
