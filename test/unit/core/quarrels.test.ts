/** Two devices with one client id. */
import { expect, test } from "vitest";
import { Bench, connect, elsewhere, here, ping } from "../../helpers/bench.ts";

/** Both connect in turns; a device that was thrown out comes back 60 ms later. Where CONNECTs were accepted. */
function quarrel(bench: Bench, seconds: number, events: string[] = []): string[] {
  const accepted: string[] = [];
  for (let i = 0; i < seconds * 17; i++) {
    const from = i % 2 ? elsewhere : here;
    const turn = bench.client(connect({ cleanSession: false }), from);
    for (const event of turn.events) events.push(event.event);
    if (i === 0) bench.link().up();
    const isRefused = turn.sent.some((message) => message.type === "CONNACK" && message.returnCode !== 0);
    if (!isRefused && accepted.at(-1) !== from) accepted.push(from);
    for (const peer of [here, elsewhere]) bench.client(ping, peer);
    bench.after(60);
  }
  return accepted;
}

test("takeovers end: one keeps the session, the other hears congestion, and the log names the id [6.2]", () => {
  const bench = new Bench();
  const events: string[] = [];
  const accepted = quarrel(bench, 60, events);
  expect(accepted).toEqual([here, elsewhere, here, elsewhere]);
  expect(events.filter((event) => event === "id_in_use").length).toBeLessThanOrEqual(6);
  expect(events).toContain("id_in_use");
  const [holder, other] = accepted.at(-1) === here ? [here, elsewhere] : [elsewhere, here];
  bench.client(ping, holder).gets("PINGRESP");
  const turn = bench.client(connect({ cleanSession: false }), other).asks();
  expect([turn.message("CONNACK").returnCode, turn.drops]).toEqual([1, ["id-in-use"]]);
});

test("when the one that has it is gone, the other gets in after the pause [6.2]", () => {
  const bench = new Bench();
  const accepted = quarrel(bench, 1);
  const other = accepted.at(-1) === here ? elsewhere : here;
  expect(bench.client(connect({ cleanSession: false }), other).message("CONNACK").returnCode).toBe(1);
  bench.after(10_000);
  // The first look may find that it spoke during the pause, the second does not.
  bench.client(connect({ cleanSession: false }), other);
  bench.after(10_000);
  expect(bench.client(connect({ cleanSession: false }), other).message("CONNACK").returnCode).toBe(0);
});

test("a device whose address changes now and then is let in each time [6.2]", () => {
  const bench = new Bench().connected({ cleanSession: false });
  for (let i = 0; i < 20; i++) {
    bench.after(30_000);
    const turn = bench.client(connect({ cleanSession: false }), `udp/192.0.2.1:${2_000 + i}`);
    expect(turn.message("CONNACK").returnCode).toBe(0);
  }
});
