/** The configuration has changed since the last run: MQTT sessions that clients do not go by any more are left in order. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { Bench, connect, octets, publish, sleep, subscribe, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

type Mode = CoreOptions["upstream"]["mode"];

class GatewayRun {
  readonly bench: Bench;
  readonly #table: StateTable;

  constructor(mode: Mode, before?: GatewayRun) {
    this.#table = before ? before.#table : new StateTable();
    const upstream = { ...testOptions.upstream, mode };
    this.bench = new Bench({ durable: true, upstream }, [...this.#table.states()] as StoredState[]);
  }

  note(turn: Turn): Turn {
    for (const effect of turn.effects)
      if (effect.kind === "persist") for (const change of effect.changes) this.#table.apply(change);
    return turn;
  }

  /** A sleeper that subscribes to x/y at QoS 2, by the connection of this mode. */
  begin(link: "c1" | "gateway"): this {
    if (link === "gateway") this.note(this.bench.link("gateway").up());
    this.note(this.bench.client(connect({ cleanSession: false })));
    if (link === "c1") this.note(this.bench.link("c1").up());
    const { packetId } = this.note(this.bench.client(subscribe("x/y", 2))).effect("subscribe");
    this.note(this.bench.link(link).acks("suback", packetId, 2));
    this.note(this.bench.client(sleep(600)));
    return this;
  }

  get waiting(): number | undefined {
    return this.bench.core.session("c1")?.view.waitingMessages;
  }
}

const once = { topicName: "x/y", payload: octets("once"), qos: 2, packetId: 8 } as const;
const later = { topicName: "x/y", payload: octets("later"), qos: 2, packetId: 9 } as const;

test("from a connection of its own to a shared one: unsubscribed before it is subscribed, what waits is taken, then ended [4.2]", () => {
  const first = new GatewayRun("transparent").begin("c1");
  first.note(first.bench.link("c1").delivers(once));
  const { bench, ...second } = new GatewayRun("aggregating", first);
  const run = Object.assign(Object.create(GatewayRun.prototype), second, { bench }) as GatewayRun;
  expect(bench.links.has("gateway")).toBe(false); // its subscriptions would stand beside the old ones
  const up = bench.link("c1").up(true).asks("unsubscribe");
  bench
    .link("c1")
    .delivers({ ...once, dup: true })
    .asks("ackBroker"); // it is known
  expect(run.waiting).toBe(1);
  bench.link("c1").acks("unsuback", up.effect("unsubscribe").packetId).asks("openLink");
  bench.link("gateway").up().asks("closeLink", "openLink");
  expect(bench.link("gateway").up().effect("subscribe").topicFilter).toBe("x/y");
  bench.link("c1").delivers(later).asks("ackBroker");
  expect(run.waiting).toBe(2);
  const end = bench.after(2_000);
  end.asks("closeLink", "openLink");
  expect(end.effect("openLink").link).toMatchObject({ mqttClientId: "c1", clean: true });
  bench.link("c1").up().asks("closeLink");
  expect(bench.core.sizes.links).toBe(1);
});

test("from a shared connection to one of its own: the same, and the id of the shared one is the gateway's again [4.2]", () => {
  const first = new GatewayRun("aggregating").begin("gateway");
  first.note(first.bench.link("gateway").delivers(once));
  const { bench } = new GatewayRun("transparent", first);
  expect(bench.links.has("c1")).toBe(false);
  bench
    .link("gateway")
    .delivers({ ...once, dup: true })
    .asks("ackBroker");
  expect(bench.core.session("c1")?.view.waitingMessages).toBe(1);
  const opened = bench.link("gateway").acks("unsuback", 1).asks("openLink");
  expect(opened.effect("openLink").link.mqttClientId).toBe("c1");
  bench.link("c1").up().asks("subscribe");
  bench.link("gateway").delivers(later);
  expect(bench.core.session("c1")?.view.waitingMessages).toBe(2);
  bench.after(2_000).asks("closeLink", "openLink");
  const end = bench.link("gateway").up().asks("closeLink", "openLink");
  expect(end.effect("openLink").link).toMatchObject({ mqttClientId: "gateway", clean: true });
});

test("the gateway dies meanwhile: the next run goes on with it [4.2]", () => {
  const first = new GatewayRun("transparent").begin("c1");
  const second = new GatewayRun("aggregating", first);
  second.note(second.bench.link("c1").up(true));
  const third = new GatewayRun("aggregating", second);
  third.bench.link("c1").up(true).asks("unsubscribe");
});

describe("changed back before that is over: both sessions are left or taken up, and what waits there is handed over [4.2]", () => {
  test("its own, shared, its own", () => {
    const first = new GatewayRun("transparent").begin("c1");
    const second = new GatewayRun("aggregating", first);
    const { packetId } = second.note(second.bench.link("c1").up(true)).effect("unsubscribe");
    second.note(second.bench.client(sleep(601))); // what the start wrote is not in the table of these tests
    second.note(second.bench.link("c1").acks("unsuback", packetId));
    second.note(second.bench.link("gateway").up());
    second.note(second.bench.link("gateway").up()).asks("subscribe");
    const { bench } = new GatewayRun("transparent", second);
    expect(bench.links.has("c1")).toBe(false); // its subscription would stand beside that of the shared one
    bench.link("gateway").delivers(later).asks("ackBroker");
    expect(bench.core.session("c1")?.view.waitingMessages).toBe(1);
    bench.link("gateway").acks("unsuback", 1).asks("openLink");
    expect(bench.link("c1").up(true).effect("subscribe").topicFilter).toBe("x/y");
    bench.link("c1").delivers(once);
    expect(bench.core.session("c1")?.view.waitingMessages).toBe(2);
  });

  test("shared, its own, shared", () => {
    const first = new GatewayRun("aggregating").begin("gateway");
    const second = new GatewayRun("transparent", first);
    second.note(second.bench.client(sleep(601)));
    second.note(second.bench.link("gateway").acks("unsuback", 1));
    second.note(second.bench.link("c1").up()).asks("subscribe");
    second.note(second.bench.link("c1").delivers(once)).asks("ackBroker");
    const { bench } = new GatewayRun("aggregating", second);
    expect([...bench.links.keys()]).toEqual(["c1"]);
    const { packetId } = bench.link("c1").up(true).effect("unsubscribe");
    bench
      .link("c1")
      .delivers({ ...once, dup: true })
      .asks("ackBroker"); // it is known
    bench.link("c1").delivers(later).asks("ackBroker");
    expect(bench.core.session("c1")?.view.waitingMessages).toBe(2);
    bench.link("c1").acks("unsuback", packetId).asks("openLink");
    expect(bench.link("gateway").up(true).effect("subscribe").topicFilter).toBe("x/y");
    bench.after(2_000).asks("closeLink", "openLink");
    bench.link("c1").up().asks("closeLink");
  });
});

test("the broker is away at the start: clients that it knows go on all the same [4.2]", () => {
  const first = new GatewayRun("transparent").begin("c1");
  const { bench } = new GatewayRun("aggregating", first);
  bench.client(connect({ cleanSession: false }));
  const turn = bench.link("c1").down(false, { showedLife: false });
  expect(turn.sent.map(({ type }) => type)).toEqual(["CONNACK"]);
});

test("a broker that knows nothing of it, or will not have it, holds nobody up [4.2]", () => {
  const first = new GatewayRun("transparent").begin("c1");
  const forgotten = new GatewayRun("aggregating", first).bench;
  const turn = forgotten.link("c1").up(false);
  expect(turn.effects.flatMap((effect) => (effect.kind === "openLink" ? [effect.link.mqttClientId] : []))).toEqual([
    "gateway",
    "c1",
  ]);
  const refused = new GatewayRun("aggregating", first).bench;
  refused.link("c1").refused("notSupported").asks("closeLink", "openLink");
});

/** Clients of two shared connections, each with a QoS 2 message that the broker has not answered; the next run has one. */
describe("fewer shared connections: a client that moves takes no packet id that another one has at the broker [4.2]", () => {
  const peers = ["udp/192.0.2.1:1000", "udp/192.0.2.2:1000"] as const;
  /** The first goes by connection 1, the second by connection 0. */
  const ids = ["d2", "d1"] as const;

  function fewer() {
    const table = new StateTable();
    const options = (connections: number) =>
      ({ durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" as const, connections } }) as const;
    const first = new Bench(options(2));
    const note = (turn: Turn): Turn => {
      for (const effect of turn.effects)
        if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
      return turn;
    };
    note(first.link("gateway").up());
    note(first.link("gateway-1").up());
    note(first.link("gateway-1").up());
    const links = peers.map((peer, at) => {
      const clientId = ids[at] as string;
      note(first.client(connect({ clientId, cleanSession: false }), peer)).gets("CONNACK");
      const { packetId } = note(first.client(subscribe(`cmd/${clientId}`, 1, 7), peer)).effect("subscribe");
      const link = clientId === "d2" ? "gateway-1" : "gateway";
      note(first.link(link).acks("suback", packetId, 1));
      const sent = note(
        first.client(publish({ qos: 2, topicIdType: "short", topicId: 0x6162, data: octets(clientId) }), peer),
      ).effect("publish");
      expect(sent.linkId).toBe(first.link(link).linkId);
      return sent;
    });
    expect(links.map(({ packetId }) => packetId)).toEqual([2, 2]);
    return new Bench(options(1), [...table.states()] as StoredState[]);
  }

  test("both messages arrive, each with an id of its own; the one that did not move keeps its id", () => {
    const bench = fewer();
    const left = bench.link("gateway-1").up(true);
    const turns = [
      left,
      bench.link("gateway-1").acks("unsuback", left.effect("unsubscribe").packetId),
      bench.link("gateway").up(true),
    ];
    const sent = turns.flatMap(({ effects }) =>
      effects.flatMap((effect) => (effect.kind === "publish" ? [effect] : [])),
    );
    const of = (text: string) => sent.filter(({ publication }) => Buffer.from(publication.payload).toString() === text);
    expect([of("d1").length, of("d2").length]).toEqual([1, 1]);
    expect(of("d1")[0]?.packetId).toBe(2);
    expect(of("d2")[0]?.packetId).not.toBe(2);
  });
});
