/**
 * The process stood still: silence in that time counts against no client, and a client that is silent afterwards is declared lost in time.
 */
import { describe, expect, test } from "vitest";
import { Bench, connect, ping, pubAck, sleep, wake } from "../../helpers/bench.ts";

/** Time passes in which nothing happens, not even what is due. */
function standStill(bench: Bench, ms: number) {
  bench.now += ms;
  return bench.input({ kind: "stoodStill", ms });
}

describe("silence [6.13]", () => {
  test("an active client has its full time again, and is lost when that is over [7.2]", () => {
    const bench = new Bench().connected({ duration: 2 });
    bench.after(1_500);
    expect(standStill(bench, 30_000).events).toEqual([{ event: "stood_still", ms: 30_000 }]);
    expect(bench.after(2_999).states).toEqual([]);
    expect(bench.after(1).states).toEqual(["lost"]);
  });

  test("one whose PINGREQ waits to be read goes on", () => {
    const bench = new Bench().connected({ duration: 2 });
    standStill(bench, 30_000);
    bench.client(ping).gets("PINGRESP");
    expect(bench.after(2_999).states).toEqual([]);
  });

  test("a sleeper whose PINGREQ came meanwhile is answered, and sleeps on [6.14]", () => {
    const bench = new Bench().connected();
    bench.client(sleep(4)).gets("DISCONNECT");
    bench.after(3_000);
    standStill(bench, 30_000);
    bench.client(wake()).gets("PINGRESP");
    expect(bench.after(5_999).states).toEqual([]);
    expect(bench.after(1).states).toEqual(["lost"]);
  });

  test("sessions without a client are as old as they were", () => {
    const bench = new Bench({ clients: { sessionExpirySeconds: 100 } }).connected({ duration: 2, cleanSession: false });
    expect(bench.after(3_000).states).toEqual(["lost"]);
    standStill(bench, 60_000);
    bench.after(39_999);
    expect(bench.core.sizes.sessions).toBe(1);
    bench.after(1);
    expect(bench.core.sizes.sessions).toBe(0);
  });
});

describe("what was asked [6.13]", () => {
  const delivered = () => {
    const bench = new Bench().connected({ duration: 600 }).subscribed("ab");
    return { bench, message: bench.link().delivers({ topicName: "ab" }).message("PUBLISH") };
  };

  test("a client that has not answered the last copy is sent one more before it is lost [6.13]", () => {
    const { bench } = delivered();
    bench.after(30_000).gets("PUBLISH", "PUBLISH", "PUBLISH");
    standStill(bench, 20_000).gets();
    expect(bench.after(9_999).effects).toEqual([]);
    bench.after(1).gets("PUBLISH");
    expect(bench.after(9_999).states).toEqual([]);
    expect(bench.after(1).states).toEqual(["lost"]);
  });

  test("an answer that waits to be read is taken", () => {
    const { bench, message } = delivered();
    bench.after(30_000);
    standStill(bench, 20_000);
    bench.client(pubAck(message)).asks("ackBroker");
    expect(bench.after(60_000).states).toEqual([]);
  });

  test("who spoke at the very moment after it was heard, and is not lost over what it does not answer [i40]", () => {
    const { bench } = delivered();
    bench.after(15_000).gets("PUBLISH");
    standStill(bench, 20_000).gets();
    bench.client(ping).gets("PINGRESP");
    bench.after(10_000).gets("PUBLISH");
    standStill(bench, 20_000).gets();
    expect(bench.after(40_000).states).toEqual([]);
  });

  test("a CONNECT that waits for the broker goes on waiting", () => {
    const bench = new Bench();
    bench.client(connect()).asks("openLink");
    standStill(bench, 120_000);
    bench.after(1).gets();
    bench.link().up().gets("CONNACK");
  });

  test("one that nobody answers is still forgotten", () => {
    const bench = new Bench();
    bench.client(connect({ will: true })).gets("WILLTOPICREQ");
    standStill(bench, 120_000);
    bench.after(39_999);
    expect(bench.core.sizes.pendingConnects).toBe(1);
    bench.after(1).gets();
    expect(bench.core.sizes.pendingConnects).toBe(0);
  });

  test("a store that could not answer meanwhile does not count as failing", () => {
    const bench = new Bench({ durable: true });
    bench.client(connect({ cleanSession: false })).effect("openLink");
    bench.link().up();
    const { token } = bench.client(sleep(100)).effect("persist");
    standStill(bench, 30_000);
    bench.after(4_999);
    expect(bench.core.storeFails).toBe(false);
    bench.input({ kind: "persisted", token });
    bench.after(60_000);
    expect(bench.core.storeFails).toBe(false);
  });
});
