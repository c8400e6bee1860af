/** Limits of one device: congestion, then silence for a time; other devices are not affected, and tables stay small. */
import { describe, expect, test } from "vitest";
import { createAccessPolicy } from "../../../src/config/access.ts";
import { accessOptions } from "../../../src/config/access-options.ts";
import type { Context } from "../../../src/core/context.ts";
import { keepAllowance } from "../../../src/core/session/limits.ts";
import { Allowance } from "../../../src/core/state/allowance.ts";
import type { Session } from "../../../src/core/state/session.ts";
import type { PeerId } from "../../../src/core/types.ts";
import {
  Bench,
  connect,
  elsewhere,
  here,
  octets,
  ping,
  publish,
  register,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";

const hostOf = (peer: PeerId) => peer.split(/[/:]/)[1] ?? "";
const policy = (access: unknown) => createAccessPolicy(accessOptions.parse(access), hostOf);
const gateway = (limits: object, access: object = {}) =>
  new Bench(
    { access: policy({ site: ["192.0.2.0/24"], limits: [{ clients: "c*", ...limits }], ...access }) },
    [],
    (peer) => ({
      name: hostOf(peer),
      by: "address",
      verified: false,
    }),
  );
const reading = (msgId: number, qos: 0 | 1 | 2 = 1) => publish({ qos, topicIdType: "short", topicId: 0x6162, msgId });

describe("up", () => {
  test("beyond the bucket each kind of question is answered with congestion, and it fills with time", () => {
    const bench = gateway({ upPerSecond: 2, upBurst: 3 }).connected();
    for (const msgId of [1, 2, 3]) bench.client(reading(msgId)).asks("publish");
    expect(bench.client(reading(4)).asks().message("PUBACK").returnCode).toBe(1);
    expect(
      bench
        .client(subscribe("a", 1, 5))
        .asks()
        .message("SUBACK").returnCode,
    ).toBe(1);
    expect(bench.client(register("a", 6)).message("REGACK").returnCode).toBe(1);
    bench.client(ping).gets();
    expect(bench.client(reading(7, 0)).drops).toEqual(["over-limit"]);
    bench.after(499);
    expect(bench.client(reading(8)).message("PUBACK").returnCode).toBe(1);
    bench.after(1);
    bench.client(reading(9)).asks("publish");
    bench.after(60_000);
    for (const msgId of [11, 12, 13]) bench.client(reading(msgId)).asks("publish");
    bench.client(reading(14)).asks();
  });

  test("a repetition of what is under way is no second answer", () => {
    const bench = gateway({ upPerSecond: 1, upBurst: 1 }).connected();
    bench.client(reading(1)).asks("publish");
    bench
      .client({ ...reading(1), dup: true } as ReturnType<typeof publish>)
      .gets()
      .asks();
  });

  test("others are not limited by it, and a rule of others does not count", () => {
    const bench = gateway({ upPerSecond: 1, upBurst: 1 }).connected();
    bench.connected({ clientId: "d1" }, elsewhere);
    bench.client(reading(1));
    bench.client(reading(2)).asks();
    for (let msgId = 1; msgId <= 8; msgId++) bench.client(reading(msgId), elsewhere).asks("publish");
  });

  test("octets of a day: as much as is left, and a tenth of a day gives a tenth", () => {
    const bench = gateway({ octetsPerDay: 1_000 }).connected();
    const long = (msgId: number) =>
      publish({ qos: 0, topicIdType: "short", topicId: 0x6162, msgId, data: octets("x".repeat(240)) });
    for (let i = 0; i < 4; i++) bench.client(long(0)).asks("publish");
    bench.client(long(0)).asks();
    for (let i = 0; i < 240; i++) {
      bench.after(36_000);
      bench.client(ping); // it is there
    }
    expect(bench.core.counters.dropped["over-limit"]).toBeGreaterThan(0);
    bench.after(0);
  });
});

describe("who takes no notice", () => {
  function wild() {
    const bench = gateway({ upPerSecond: 1, upBurst: 1, refusalsMax: 5, quarantineSeconds: 60 }).connected();
    bench.client(reading(1)).asks("publish");
    const turns = [2, 3, 4, 5, 6].map((msgId) => bench.client(reading(msgId)));
    return { bench, turns };
  }

  test("is not listened to for a while, is told of once, and keeps its session", () => {
    const { bench, turns } = wild();
    expect(turns.flatMap(({ events }) => events.filter(({ event }) => event === "client_quarantined"))).toHaveLength(1);
    for (let i = 0; i < 100; i++) expect(bench.client(reading(7 + i)).effects).toEqual([]);
    expect(bench.core.counters.dropped.quarantined).toBe(100);
    expect(bench.core.session("c1")?.view.quarantinedUntil).toBe(bench.now + 60_000);
    bench.after(59_999);
    bench.client(ping).gets();
    bench.after(1);
    bench.client(ping).gets("PINGRESP");
    expect(bench.core.session("c1")?.view.state).toBe("active");
  });

  test("costs nobody else an answer, and itself no more than its refusals: 10,000 messages, each beyond its limit", () => {
    const bench = gateway({ upPerSecond: 1, upBurst: 1, refusalsMax: 50, quarantineSeconds: 60 }).connected();
    bench.connected({ clientId: "d1" }, elsewhere);
    const { packetId } = bench.client(reading(1)).effect("publish");
    bench.link().acks("puback", packetId);
    const before = { sizes: bench.core.sizes, buffered: { ...bench.core.counters.buffered } };
    const answers = { congestion: 0, none: 0 };
    for (let i = 0; i < 10_000; i++) {
      const { effects, sent } = bench.client(reading(2 + i));
      if (sent.length > 0) answers.congestion++;
      else if (effects.length === 0) answers.none++;
      if (i % 1_000 !== 0) continue;
      const other = bench.client(reading(1 + i), elsewhere).effect("publish");
      bench.link("d1").acks("puback", other.packetId).gets("PUBACK");
    }
    expect(answers).toEqual({ congestion: 50, none: 9_950 });
    expect(bench.core.counters.dropped).toMatchObject({ "over-limit": 50, quarantined: 9_950 });
    expect({ sizes: bench.core.sizes, buffered: { ...bench.core.counters.buffered } }).toEqual(before);
  });

  test("does not get out of it with a CONNECT, from anywhere", () => {
    const { bench } = wild();
    for (const peer of [here, elsewhere]) {
      bench.client(connect(), peer).gets().asks();
      bench
        .client(connect({ cleanSession: false }), peer)
        .gets()
        .asks();
    }
    bench.input({ kind: "dropSession", clientId: "c1" });
    bench.client(connect()).gets().asks();
    bench.after(60_000);
    bench.client(connect()).asks("openLink");
  });

  test("a pause long enough to fill the bucket is notice taken", () => {
    const bench = gateway({ upPerSecond: 1, upBurst: 1, refusalsMax: 2, quarantineSeconds: 60 }).connected();
    for (let i = 0; i < 20; i++) {
      bench.client(reading(2 * i + 1));
      expect(bench.client(reading(2 * i + 2)).events.map(({ event }) => event)).not.toContain("client_quarantined");
      bench.after(2_000);
    }
  });

  test("ended sessions are remembered, a bounded number of them", () => {
    const limits = policy({ limits: [{ clients: "c*", upPerSecond: 1 }] }).limitsOf("c1");
    if (!limits) throw new Error("there are none");
    const allowances = new Map<string, Allowance>();
    for (let i = 0; i < 10_050; i++)
      keepAllowance({ allowances } as Context, { clientId: `c${i}`, allowance: new Allowance(limits, 0) } as Session);
    expect(allowances.size).toBe(10_000);
    expect(allowances.has("c49")).toBe(false);
  });
});

describe("down", () => {
  test("more waits, and goes with time; nothing is lost", () => {
    const bench = gateway({ downPerSecond: 1, downBurst: 2 }).connected().subscribed("ab", 1);
    for (let i = 0; i < 4; i++) bench.link().delivers({ topicName: "ab", qos: 0 });
    const count = () => bench.core.counters.deliveredDown;
    expect(count()).toBe(2);
    bench.after(999);
    expect(count()).toBe(2);
    bench.after(1);
    expect(count()).toBe(3);
    bench.after(1_000);
    expect(count()).toBe(4);
    expect(bench.core.counters.dropped["buffer-full"]).toBe(0);
  });

  test("a sleeper gets what is left, and sleeps on; the rest comes with later wake-ups", () => {
    const bench = gateway({ downPerSecond: 0.1, downBurst: 2 }).connected().subscribed("ab", 1);
    bench.client(sleep(600));
    for (let i = 0; i < 3; i++) bench.link().delivers({ topicName: "ab", qos: 0 });
    bench.client(wake()).gets("PUBLISH", "PUBLISH", "PINGRESP");
    bench.after(10_000);
    bench.client(wake()).gets("PUBLISH", "PINGRESP");
  });
});

test("QoS -1 without a connection: so many of one host a second", () => {
  const bench = gateway({}, { qosMinusOne: { perSecond: 2, from: ["192.0.2.0/24"] } });
  const short = publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0 });
  const stranger = (port: number): PeerId => `udp/192.0.2.7:${port}`;
  bench.client(short, stranger(1)).asks("publish");
  bench.client(short, stranger(2)).asks("publish");
  bench.client(short, stranger(3)).asks();
  bench.client(short, "udp/192.0.2.8:1").asks("publish");
  bench.after(1_000);
  bench.client(short, stranger(4)).asks("publish");
});

test("rules that are changed count at once, and what is left stays", () => {
  const bench = gateway({ upPerSecond: 1, upBurst: 2 }).connected();
  bench.client(reading(1)).asks("publish");
  bench.input({
    kind: "accessChanged",
    access: policy({ site: ["192.0.2.0/24"], limits: [{ clients: "c1", upPerSecond: 1, upBurst: 100 }] }),
  });
  bench.client(reading(2)).asks("publish");
  bench.client(reading(3)).asks();
  bench.input({ kind: "accessChanged", access: policy({ site: ["192.0.2.0/24"] }) });
  bench.client(reading(4)).asks("publish");
});
