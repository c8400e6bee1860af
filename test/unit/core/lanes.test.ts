/** Clients share a connection to a broker that sends a message once for each filter that matches it (MQTT 3.1.1). */
import { describe, expect, test } from "vitest";
import type { Effect } from "../../../src/core/effect.ts";
import { lanesMax } from "../../../src/core/own-ids.ts";
import type { StoredState } from "../../../src/core/record.ts";
import { FilterIndex } from "../../../src/core/state/filter-index.ts";
import type { Copies, PeerId, QoS } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { matches } from "../../../src/wire/topic.ts";
import { Bench, connect, octets, sleep, subscribe, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const peerOf = (clientId: string): PeerId => `udp/192.0.2.1:${clientId.charCodeAt(0)}`;

/**
 * A broker that knows which filters are on which connection, and sends a copy for each that matches, with a separate packet id on each
 * connection. Acknowledges requests at once.
 */
class Scene {
  readonly bench: Bench;
  /** Filters by MQTT client id. */
  readonly filters = new Map<string, Set<string>>();
  readonly persisted = new StateTable();
  readonly events: string[] = [];
  #packetId = 0;

  constructor(copies: Copies | undefined, states: readonly StoredState[] = []) {
    const upstream = { ...testOptions.upstream, mode: "aggregating" as const, copies };
    const policy = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };
    const uplink = { ...testOptions.uplink, policyOf: () => policy };
    this.bench = new Bench({ durable: true, upstream, uplink }, states);
    if (states.length === 0) this.follow(this.bench.link("gateway").up());
  }

  /** Does what the gateway asks the broker for; answers what it asked. */
  follow(turn: Turn): readonly Effect[] {
    const all: Effect[] = [];
    for (let effects = turn.effects; effects.length > 0; ) {
      all.push(...effects);
      effects = effects.flatMap((effect) => this.#answer(effect).effects);
    }
    return all;
  }

  #answer(effect: Effect): Turn {
    const { bench } = this;
    const none = { effects: [] } as unknown as Turn;
    if (effect.kind === "persist") for (const change of effect.changes) this.persisted.apply(change);
    if (effect.kind === "report") this.events.push(effect.event.event);
    if (effect.kind === "openLink") {
      const { mqttClientId, clean } = effect.link;
      if (clean) this.filters.delete(mqttClientId);
      const isPresent = this.filters.has(mqttClientId);
      if (!clean && !isPresent) this.filters.set(mqttClientId, new Set());
      return bench.link(mqttClientId).up(isPresent);
    }
    if (effect.kind !== "subscribe" && effect.kind !== "unsubscribe") return none;
    const who = [...bench.links].find(([, linkId]) => linkId === effect.linkId)?.[0] ?? "";
    const standing = this.filters.get(who) ?? new Set();
    this.filters.set(who, standing);
    if (effect.kind === "subscribe") standing.add(effect.topicFilter);
    else standing.delete(effect.topicFilter);
    const ack = effect.kind === "subscribe" ? "suback" : "unsuback";
    return bench.link(who).acks(ack, effect.packetId, effect.kind === "subscribe" ? effect.qos : 0);
  }

  device(clientId: string, ...filters: string[]): void {
    this.follow(this.bench.client(connect({ clientId, cleanSession: false }), peerOf(clientId)));
    for (const [i, filter] of filters.entries())
      this.follow(this.bench.client(subscribe(filter, 2, i + 1), peerOf(clientId)));
  }

  asleep(clientId: string): void {
    this.follow(this.bench.client(sleep(600), peerOf(clientId)));
  }

  /** One message; each connection gets a copy for each of its filters that matches. */
  publish(topicName: string, text: string, qos: QoS = 2): void {
    for (const [who, filters] of this.filters)
      for (const filter of filters)
        if (matches(filter, topicName)) {
          const packetId = ++this.#packetId;
          this.follow(this.bench.link(who).delivers({ topicName, payload: octets(text), qos, packetId }));
        }
  }

  waiting(clientId: string): number | undefined {
    return this.bench.core.session(clientId)?.view.waitingMessages;
  }
}

describe("a broker that sends a copy for each filter [4.2]", () => {
  test("each of three devices with one filter each gets each message once, also the same twice", () => {
    const scene = new Scene("each");
    const filters = { a: "x/#", b: "x/+", c: "x/y" };
    for (const [clientId, filter] of Object.entries(filters)) scene.device(clientId, filter);
    for (const clientId of Object.keys(filters)) scene.asleep(clientId);
    for (const text of ["one", "two", "two"]) scene.publish("x/y", text);
    expect(Object.keys(filters).map((clientId) => scene.waiting(clientId))).toEqual([3, 3, 3]);
    for (const standing of scene.filters.values()) expect(standing.size).toBe(1);
  });

  test("filters that do not overlap go by one connection, and so does the same filter of several", () => {
    const scene = new Scene("each");
    scene.device("a", "x/1", "x/2", "y/+/z");
    scene.device("b", "x/1", "y/1/w");
    expect(scene.filters).toEqual(new Map([["gateway", new Set(["x/1", "x/2", "y/+/z", "y/1/w"])]]));
  });

  test("a device of whose filters two match gets as many copies as over its own connection", () => {
    const scene = new Scene("each");
    scene.device("a", "x/#", "x/y");
    scene.asleep("a");
    scene.publish("x/y", "one");
    expect(scene.waiting("a")).toBe(2);
  });

  test("the next run of the gateway finds each filter where it stood, and asks for none anew", () => {
    const first = new Scene("each");
    for (const [clientId, filter] of [
      ["a", "x/#"],
      ["b", "x/+"],
      ["c", "x/y"],
    ] as const) {
      first.device(clientId, filter);
      first.asleep(clientId);
    }
    first.publish("x/y", "before");
    const second = new Scene(undefined, [...first.persisted.states()]);
    for (const [who, filters] of first.filters) second.filters.set(who, filters);
    const before = structuredClone(first.filters);
    for (const who of ["gateway-lane-1", "gateway-lane-2"]) second.follow(second.bench.link(who).up(true));
    expect(second.filters).toEqual(before);
    second.publish("x/y", "after");
    expect(["a", "b", "c"].map((clientId) => second.waiting(clientId))).toEqual([2, 2, 2]);
  });

  test("a delivery that comes again over a lane after a restart is known", () => {
    const first = new Scene("each");
    first.device("a", "x/#");
    first.device("b", "x/y");
    first.asleep("b");
    const message = { topicName: "x/y", payload: octets("once"), qos: 2, packetId: 9 } as const;
    first.follow(first.bench.link("gateway-lane-1").delivers(message));
    const second = new Scene(undefined, [...first.persisted.states()]);
    second.filters.set("gateway-lane-1", new Set(["x/y"]));
    second.follow(second.bench.link("gateway-lane-1").up(true));
    second.follow(second.bench.link("gateway-lane-1").delivers({ ...message, dup: true }));
    expect(second.waiting("b")).toBe(1);
  });

  test("the last one leaves a filter: the broker is told on its connection, and the place is free again", () => {
    const scene = new Scene("each");
    scene.device("a", "x/#");
    scene.device("b", "x/y");
    scene.follow(
      scene.bench.client({ type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 9, topic: "x/y" }, peerOf("b")),
    );
    expect(scene.filters.get("gateway-lane-1")).toEqual(new Set());
    scene.device("c", "x/z");
    expect(scene.filters.get("gateway-lane-1")).toEqual(new Set(["x/z"]));
  });

  test("where there is no place left, SUBSCRIBE hears congestion", () => {
    const scene = new Scene("each");
    const filters = Array.from({ length: lanesMax + 1 }, (_, i) => `x/${"+/".repeat(i)}#`);
    scene.device("a", ...filters.slice(0, -1));
    expect(scene.filters.size).toBe(lanesMax);
    const turn = scene.bench.client(subscribe(filters.at(-1) ?? "", 1, 99), peerOf("a"));
    expect(turn.message("SUBACK").returnCode).toBe(1);
    expect(turn.drops).toEqual(["too-many-pending"]);
  });
});

describe("a broker of which nobody said how it sends copies [4.2]", () => {
  const askedBy = (effects: readonly Effect[]) => effects.filter(({ kind }) => kind === "askCopies");

  function asking(): { scene: Scene; asked: readonly Effect[] } {
    const scene = new Scene(undefined);
    scene.device("a", "x/#");
    scene.device("b");
    const asked = scene.follow(scene.bench.client(subscribe("x/y", 2), peerOf("b")));
    return { scene, asked };
  }

  test("it is asked when filters first overlap; until then the second one waits", () => {
    const { scene, asked } = asking();
    expect(askedBy(asked)).toMatchObject([
      { link: { mqttClientId: "gateway-probe", clean: true }, topic: "gateway/probe" },
    ]);
    expect(scene.filters.get("gateway")).toEqual(new Set(["x/#"]));
    scene.device("c", "x/z"); // asked already
    scene.follow(scene.bench.input({ kind: "copiesKnown", upstream: "", copies: "each" }));
    expect(scene.filters.get("gateway")).toEqual(new Set(["x/#"]));
    expect(scene.filters.get("gateway-lane-1")).toEqual(new Set(["x/y", "x/z"]));
    expect(scene.bench.core.session("b")?.view.subscriptions).toBe(1);
    expect(scene.events).toContain("copies_known");
  });

  test.each(["one", undefined] as const)("%s: all goes by one connection, as ever", (copies) => {
    const { scene } = asking();
    scene.follow(scene.bench.input({ kind: "copiesKnown", upstream: "", copies }));
    expect(scene.filters).toEqual(new Map([["gateway", new Set(["x/#", "x/y"])]]));
  });

  describe("where it cannot be found out, copies are counted", () => {
    function counting(): Scene {
      const { scene } = asking();
      scene.follow(scene.bench.input({ kind: "copiesKnown", upstream: "", copies: undefined }));
      for (const clientId of ["a", "b"]) scene.asleep(clientId);
      return scene;
    }

    test.each([1, 2] as const)("QoS %i: each device gets each message once", (qos) => {
      const scene = counting();
      for (const text of ["one", "two", "three", "four"]) scene.publish("x/y", text, qos);
      expect([scene.waiting("a"), scene.waiting("b")]).toEqual([4, 4]);
      scene.publish("x/z", "for a", 1);
      expect([scene.waiting("a"), scene.waiting("b")]).toEqual([5, 4]);
    });

    test("a second later the same is another message", () => {
      const scene = counting();
      scene.publish("x/y", "tick", 1);
      scene.bench.after(1_000);
      scene.publish("x/y", "tick", 1);
      expect([scene.waiting("a"), scene.waiting("b")]).toEqual([2, 2]);
    });

    test("a broker that sends one is recognised, and then nothing is counted", () => {
      const scene = counting();
      const one = (text: string) =>
        scene.follow(scene.bench.link("gateway").delivers({ topicName: "x/y", payload: octets(text) }));
      for (const text of ["1", "2", "3", "4"]) {
        one(text);
        scene.bench.after(1_000);
      }
      one("tick");
      one("tick");
      expect([scene.waiting("a"), scene.waiting("b")]).toEqual([6, 6]);
    });

    test("what comes again with DUP is no copy", () => {
      const scene = counting();
      const message = { topicName: "x/y", payload: octets("tick"), packetId: 77 };
      scene.follow(scene.bench.link("gateway").delivers(message));
      scene.follow(scene.bench.link("gateway").delivers({ ...message, packetId: 78, dup: true }));
      expect(scene.waiting("a")).toBe(2);
    });
  });

  test("it went away before it could be found out: it is asked with the next connection", () => {
    const { scene } = asking();
    scene.bench.link("gateway").down();
    scene.follow(scene.bench.input({ kind: "copiesKnown", upstream: "", copies: undefined }));
    expect(scene.filters.get("gateway")).toEqual(new Set(["x/#"]));
    const again = scene.follow(scene.bench.link("gateway").up(true));
    expect(askedBy(again)).toHaveLength(1);
    scene.follow(scene.bench.input({ kind: "copiesKnown", upstream: "", copies: "each" }));
    expect(scene.filters.get("gateway-lane-1")).toEqual(new Set(["x/y"]));
  });

  test("filters that do not overlap are no reason to ask, nor is MQTT 5", () => {
    const scene = new Scene(undefined);
    scene.device("a", "x/1", "y/#");
    const effects = scene.follow(scene.bench.client(subscribe("x/2", 2, 9), peerOf("a")));
    expect(askedBy(effects)).toEqual([]);
  });
});

describe("filters that overlap [4.2]", () => {
  const levels = ["a", "b", "+"];
  const all: string[] = [];
  for (const first of [...levels, "#"])
    for (const second of first === "#" ? [""] : ["", ...levels, "#"])
      for (const third of second === "" || second === "#" ? [""] : ["", "a", "+", "#"])
        all.push([first, second, third].filter((level) => level !== "").join("/"));
  const names = ["a", "b", "c"].flatMap((x) => [
    x,
    ...["a", "b", "c"].flatMap((y) => [
      `${x}/${y}`,
      ...["a", "b", "c"].flatMap((z) => [`${x}/${y}/${z}`, `${x}/${y}/${z}/d`]),
    ]),
  ]);

  test("are those of which some name matches both", () => {
    for (const one of all) {
      const trie = new FilterIndex<{ filter: string }>(0);
      trie.add({ filter: one });
      for (const other of all) {
        const isBoth = one !== other && names.some((name) => matches(one, name) && matches(other, name));
        expect(trie.overlaps(other), `${one} and ${other}`).toBe(isBoth);
      }
    }
  });
});
