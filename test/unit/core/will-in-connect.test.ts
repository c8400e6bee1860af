/** A will for which the broker closes the connection at CONNECT: which answers clients get, and that none is blamed without proof. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import { Bench, connect, octets, publish, subscribe, Turn } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const closed = { cause: "peer", showedLife: false } as const;
const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
const options: Partial<CoreOptions> = { uplink: { ...testOptions.uplink, policyOf: () => storing } };
const withStatus = (mode: "transparent" | "aggregating"): Partial<CoreOptions> => ({
  ...options,
  status: { topic: "site" },
  upstream: { ...testOptions.upstream, mode },
});

/** Up to the end of the will dialogue. */
function say(bench: Bench, willTopic = "w", cleanSession = false): Turn {
  bench.client(connect({ will: true, cleanSession, duration: 60 }));
  bench.client({ type: "WILLTOPIC", willTopic, qos: 1, retain: false });
  return bench.client({ type: "WILLMSG", willMsg: octets("gone") });
}

const refusals = ({ events }: Turn) => events.filter(({ event }) => event === "will_refused");
/** The wills of the connections that this turn opened. */
const opened = ({ effects }: Turn) =>
  effects.flatMap((effect) => (effect.kind === "openLink" ? [effect.link.will?.topicName] : []));

describe("a device that waits for its CONNACK [6.3]", () => {
  test("hears 'not supported' after three ends with the will, between which one without it was accepted", () => {
    const bench = new Bench(options);
    expect(opened(say(bench))).toEqual(["w"]);
    expect(opened(bench.link().down(false, closed).gets())).toEqual([]);
    expect(opened(bench.link().down(false, closed).gets())).toEqual([undefined]);
    expect(opened(bench.link().up().gets())).toEqual(["w"]);
    const turn = bench.link().down(false, closed);
    expect(turn.message("CONNACK").returnCode).toBe(3);
    expect(refusals(turn)).toEqual([
      { event: "will_refused", clientId: "c1", topic: "w", qos: 1, bytes: 4, isConnected: false },
    ]);
    expect(bench.core.sizes).toMatchObject({ sessions: 0, pendingConnects: 0, links: 1 });
  });

  test("the same will is refused at once for an hour, another one is asked about, and after the hour it is, too", () => {
    const bench = new Bench(options);
    const refuse = () => {
      say(bench);
      bench.link().down(false, closed);
      bench.link().down(false, closed);
      bench.link().up();
      return bench.link().down(false, closed);
    };
    expect(refuse().message("CONNACK").returnCode).toBe(3);
    const again = say(bench);
    expect([again.message("CONNACK").returnCode, opened(again)]).toEqual([3, []]);
    expect(opened(say(bench, "other"))).toEqual(["other"]);
    bench.link().up().gets("CONNACK");
    bench.client({ type: "DISCONNECT", duration: undefined });
    bench.after(3_600_000);
    expect(opened(say(bench))).toEqual(["w"]);
    bench.link().up().gets("CONNACK"); // it has changed its mind
    bench.client({ type: "DISCONNECT", duration: undefined });
    expect(say(bench).effects.some(({ kind }) => kind === "openLink" || kind === "send")).toBe(true);
  });

  test("a broker that closes for everybody is not taken for one that closes for a will", () => {
    const bench = new Bench({});
    say(bench);
    bench.link().down(false, closed).gets();
    bench.link().down(false, closed).gets();
    const turn = bench.link().down(false, closed); // without the will
    expect(turn.message("CONNACK").returnCode).toBe(1);
    expect(refusals(turn)).toEqual([]);
  });

  test("nor is one that was away for a moment: with the will it is accepted in the end", () => {
    const bench = new Bench(options);
    say(bench);
    bench.link().down(false, closed);
    bench.link().down(false, closed);
    bench.link().up().gets();
    bench.link().up().gets("CONNACK");
    for (let i = 0; i < 2; i++) {
      bench.link().down(false, { cause: "network" });
      bench.link().down(false, closed);
      bench.link().up(true);
    }
    expect(bench.after(0).events).toEqual([]);
  });

  test("ends that the broker did not make count for nothing", () => {
    const bench = new Bench({});
    say(bench);
    expect(bench.link().down(false, { cause: "network" }).message("CONNACK").returnCode).toBe(1);
  });
});

describe("a client that is running [6.3]", () => {
  /** Connected with its will by an earlier run; the broker closes for it now. */
  function refused() {
    const run = new GatewayRun(options);
    say(run.bench);
    run.keep(run.bench.link().up());
    const { packetId } = run.keep(run.bench.client(subscribe("s"))).effect("subscribe");
    run.keep(run.bench.link().acks("suback", packetId, 1));
    run.keep(run.bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
    const next = run.next();
    const { bench } = next;
    const turns: Turn[] = [];
    // An empty turn's effects are those of the next one: a copy of each.
    const note = (turn: Turn) => turns.push(new Turn([...next.keep(turn).effects]));
    note(bench.link().down(false, closed));
    note(bench.link().down(false, closed));
    note(bench.link().up(false));
    note(bench.link().down(false, closed));
    return { next, bench, turns };
  }

  test("is connected without its will, and one line says so; nobody is told goodbye", () => {
    const { next, bench, turns } = refused();
    expect(turns.map(opened)).toEqual([[], [undefined], ["w"], [undefined]]);
    expect(turns.flatMap(refusals)).toEqual([
      { event: "will_refused", clientId: "c1", topic: "w", qos: 1, bytes: 4, isConnected: true },
    ]);
    expect(turns.flatMap(({ sent }) => sent)).toEqual([]);
    const up = next.keep(bench.link().up(true));
    expect(
      up.effects.some(({ kind }) => kind === "subscribe"),
      "the broker had forgotten the session",
    ).toBe(true);
    next.keep(bench.client(publish({ qos: 1 }))).asks("publish");
  });

  test("three ends without a witness prove nothing, also where the device connects anew meanwhile", () => {
    const run = new GatewayRun(options);
    say(run.bench);
    run.keep(run.bench.link().up());
    const next = run.next();
    const { bench } = next;
    const turns: Turn[] = [];
    const note = (turn: Turn) => turns.push(new Turn([...next.keep(turn).effects]));
    note(bench.link().down(false, closed));
    note(bench.link().down(false, closed));
    note(bench.link().down(false, closed)); // without the will
    note(say(bench));
    note(bench.link().down(false, closed));
    expect(turns.map(opened)).toEqual([[], [undefined], [], ["w"], [undefined]]);
    expect(turns.flatMap(refusals)).toEqual([]);
    expect(turns.flatMap(({ sent }) => sent.filter(({ type }) => type === "CONNACK"))).toEqual([]);
  });

  test("its will is published by the gateway when it is lost", () => {
    const { next, bench } = refused();
    next.keep(bench.link().up(true));
    const lost = next.keep(bench.after(100_000));
    expect(lost.effect("publish").publication).toMatchObject({ topicName: "w", payload: octets("gone") });
  });

  test("the next run knows", () => {
    const { next } = refused();
    const third = next.next();
    expect(third.bench.core.sizes.links).toBe(2);
    const { bench } = third;
    third.keep(bench.link().up(true));
    expect(third.keep(bench.after(100_000)).effect("publish").publication.topicName).toBe("w");
  });

  test.each([
    [0x87, [[undefined], ["w"], [undefined]]],
    [0x90, [[undefined]]],
    [0x86, [[]]],
  ] as const)("CONNACK says 0x%i: the same, as far as that speaks of a will", (reasonCode, wills) => {
    const run = new GatewayRun(options);
    say(run.bench);
    run.keep(run.bench.link().up());
    const { bench } = run.next();
    const refuse = () =>
      bench.input({
        kind: "linkRefused",
        linkId: bench.link().linkId,
        refusal: "notSupported",
        reason: "no",
        reasonCode,
      });
    const turns = [refuse()];
    if (wills.length > 1) turns.push(bench.link().up(true), refuse());
    expect(turns.map(opened)).toEqual(wills);
  });
});

describe.each(["transparent", "aggregating"] as const)("the gateway's status message as a will, %s", (mode) => {
  test("the gateway's connection is made without it, and one line says so", () => {
    const run = new GatewayRun(withStatus(mode));
    const { bench } = run;
    if (mode === "aggregating") run.keep(bench.link("gateway").up());
    const link = () => bench.link("gateway");
    run.keep(link().down(false, { cause: "network" }));
    const turns = [
      run.keep(link().down(false, closed)),
      run.keep(link().down(false, closed)),
      run.keep(link().up(true)),
      run.keep(link().down(false, closed)),
    ];
    expect(turns.map(opened)).toEqual([[], [undefined], ["site/gateway"], [undefined]]);
    expect(turns.flatMap(refusals)).toMatchObject([{ clientId: undefined, topic: "site/gateway", isConnected: true }]);
    run.keep(link().up(true));
    expect(bench.core.brokerThere).toBe(true);
  });
});

test("aggregating: the next run makes the shared connection without it at once", () => {
  const run = new GatewayRun(withStatus("aggregating"));
  const link = () => run.bench.link("gateway");
  run.keep(link().up());
  run.keep(link().down(false, { cause: "network" }));
  run.keep(link().down(false, closed));
  run.keep(link().down(false, closed));
  run.keep(link().up(true));
  run.keep(link().down(false, closed));
  run.keep(link().up(true));
  const states = [...run.table.states()];
  const next = new Bench({ ...withStatus("aggregating"), durable: true }, states);
  const down = next.link("gateway").down(false, { cause: "network" });
  expect(opened(down)).toEqual([]);
  for (let i = 0; i < 5; i++) expect(refusals(next.link("gateway").down(false, closed))).toEqual([]);
});
