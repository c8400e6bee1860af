/** Filters of sessions that are parked: they take no objects until the client is there again, and messages find them meanwhile. */
import { describe, expect, test } from "vitest";
import { a, b, shared, subscribed } from "../../helpers/aggregating-bench.ts";
import { type Bench, connect, octets, sleep, wake } from "../../helpers/bench.ts";
import { asleep, parked, parkedNow, parking } from "../../helpers/parked-bench.ts";
import { keepAll, testOptions } from "../../simulation/options.ts";

describe("filters of parked sessions take no objects", () => {
  const resting = (gateway: Bench) => gateway.core.sizes.restingFilters;

  test("until the client is there again, and messages find them meanwhile", () => {
    const gateway = asleep(asleep(), b, "b");
    expect(resting(gateway)).toBe(2);
    gateway.client(wake("a"), a).gets("PINGRESP");
    expect(resting(gateway)).toBe(1);
    shared(gateway).delivers({ topicName: "d/b/x", payload: octets("1") });
    expect(resting(gateway)).toBe(0);
    shared(gateway).delivers({ topicName: "d/c/x", payload: octets("1") });
    gateway.client(wake("b"), b).gets("REGISTER");
    expect(resting(parkedNow(gateway)), "a sleeps again, b has a message").toBe(1);
  });

  test("a message that is not kept for the sleeper leaves its filter as it was", () => {
    const policy = { ...keepAll, qos0WhileAsleep: false };
    const gateway = asleep(parking({ buffer: { ...testOptions.buffer, policyOf: () => policy } }));
    for (let i = 0; i < 3; i++) shared(gateway).delivers({ topicName: "d/a/x", qos: 0 });
    expect([parked(gateway), resting(gateway)]).toEqual([1, 1]);
  });

  test("another client that subscribes to the same filter gets messages of it, and so does the first one", () => {
    const gateway = asleep();
    gateway.client(connect({ clientId: "b", cleanSession: false }), b).gets("CONNACK");
    subscribed(gateway, b, "d/a/+", 1);
    expect([parked(gateway), resting(gateway)]).toEqual([1, 0]);
    shared(gateway)
      .delivers({ topicName: "d/a/x", payload: octets("1") })
      .gets("REGISTER");
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(1);
  });

  test("who unsubscribes after a sleep ends the filter at the broker [6.9]", () => {
    const gateway = asleep();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a).gets("CONNACK");
    const turn = gateway.client({ type: "UNSUBSCRIBE", msgId: 5, topicIdType: "normal", topic: "d/a/+" }, a);
    expect(turn.effect("unsubscribe").topicFilter).toBe("d/a/+");
    expect(resting(gateway)).toBe(0);
  });

  test("a broker that forgets is asked for them again, and then they rest as before", () => {
    const gateway = asleep(asleep(), b, "b");
    shared(gateway).down();
    const asked = shared(gateway)
      .up(false)
      .effects.flatMap((effect) => (effect.kind === "subscribe" ? [effect.packetId] : []));
    expect([asked.length, resting(gateway)]).toEqual([2, 0]);
    for (const packetId of asked) shared(gateway).acks("suback", packetId, 1);
    expect([parked(gateway), resting(gateway)]).toEqual([2, 2]);
    shared(gateway).delivers({ topicName: "d/a/x", payload: octets("1") });
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(1);
  });

  test("filters of one client are told apart, whatever their wildcards", () => {
    const gateway = parking();
    gateway.client(connect({ clientId: "a", cleanSession: false }), a).gets("CONNACK");
    const filters = ["d/a", "d/+", "d/a/#", "+/b", "e/+/c", "$share/g/d/s"];
    for (const filter of filters) subscribed(gateway, a, filter, 1);
    gateway.client(sleep(3_600), a).gets("DISCONNECT");
    gateway.after(100_000);
    expect([parked(gateway), resting(gateway)], "the shared subscription stays an object").toEqual([1, 5]);
    for (const topicName of ["d/a", "x/b", "e/x/c", "d/s", "d/a/b/c"]) {
      shared(gateway).delivers({ topicName, payload: octets("1") });
      gateway.after(1);
    }
    shared(gateway).delivers({ topicName: "x/y", payload: octets("1") });
    expect(gateway.core.session("a")?.view.waitingMessages).toBe(5);
  });
});
