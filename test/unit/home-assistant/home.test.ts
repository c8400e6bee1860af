/** The messages for Home Assistant, and the retained ones at the broker: checked against its own schema, with a clock of the test. */
import { beforeEach, describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { Declarations } from "../../../src/config/payloads.ts";
import { type ClientFacts, Home } from "../../../src/home-assistant/home.ts";
import { idOf } from "../../../src/home-assistant/ids.ts";
import { deviceDiscovery, discoveryTopicOf } from "../../helpers/home-assistant-schema.ts";

const climate = {
  topics: "barn/+/climate",
  to: "{topic}/json",
  fields: [
    { name: "temperature", type: "i16", scale: 0.1, unit: "°C" },
    { name: 'it\'s "wet"', type: "u8", unit: "%", kind: "humidity" },
    { name: "battery", type: "u8", scale: 0.02, unit: "V", kind: "battery", diagnostic: true },
    { name: "meter", type: "u32", unit: "kWh" },
    { name: "mode", type: "u8", values: { "0": "off", "1": "heat" } },
    {
      name: "flags",
      type: "u8",
      bits: [
        { name: "door", bit: 0, kind: "door" },
        { name: "level", bit: 1, width: 2 },
      ],
    },
    { name: "serial", type: "text" },
  ],
};
const commands = [
  { topics: "barn/+/level", direction: "down", fields: [{ name: "level", type: "u8", unit: "%" }] },
  {
    topics: "barn/+/mode",
    direction: "down",
    fields: [{ name: "mode", type: "u8", values: { "0": "off", "1": "on" } }],
  },
  {
    topics: "barn/+/fan",
    direction: "down",
    fields: [{ name: "flags", type: "u8", bits: [{ name: "fan", bit: 0 }] }],
  },
  {
    topics: "barn/+/both",
    direction: "down",
    fields: [
      { name: "a", type: "u8" },
      { name: "b", type: "u8" },
    ],
  },
];

/** A broker that stores retained messages, also for later subscribers. */
class Broker {
  readonly kept = new Map<string, string>();
  readonly said: string[] = [];

  publish(topicName: string, text: string): void {
    this.said.push(topicName);
    if (text === "") this.kept.delete(topicName);
    else this.kept.set(topicName, text);
  }
}

class World {
  now = 0;
  readonly clients = new Map<string, ClientFacts>();
  readonly broker = new Broker();
  /** Whose retained state was to be removed. */
  readonly forgotten: string[] = [];
  declarations = new Declarations(parseConfig({ payloads: [climate, ...commands] }).payloads);
  home = this.begun();
  #due: { at: number; callback: () => void }[] = [];

  begun(): Home {
    const world = this;
    return new Home(
      { prefix: "homeassistant", gateway: "gw", version: "1", topicPrefix: "site/", statusTopic: "site/status" },
      {
        client: (clientId) => this.clients.get(clientId),
        clientIds: () => [...this.clients.keys()],
        says: (clientId, topicName) => this.declarations.says(clientId, topicName),
        takes: (clientId, topicName) => this.declarations.takes(clientId, topicName),
        get isDeclaring() {
          return world.declarations.isSayingSomething;
        },
        counts: () => ({ clients: this.clients.size, asleep: 0, lost: 0, waiting: 0 }),
        forgetState: (clientId) => this.forgotten.push(clientId),
      },
      {
        set: (callback, ms) => {
          const due = { at: this.now + ms, callback };
          this.#due.push(due);
          return () => {
            this.#due = this.#due.filter((each) => each !== due);
          };
        },
      },
    );
  }

  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const [next] = this.#due.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#due = this.#due.filter((each) => each !== next);
      this.now = next.at;
      next.callback();
    }
    this.now = until;
  }

  /** The connection stands: what is retained comes. */
  connect(): void {
    this.home.connected(this.broker);
    for (const [topicName, text] of this.broker.kept)
      if (topicName.startsWith("homeassistant/")) this.home.received(topicName, text, true);
    this.pass(3_000);
  }

  client(clientId: string, facts: Partial<ClientFacts> = {}): void {
    this.clients.set(clientId, { keepAliveSeconds: 60, sleepSeconds: 0, filters: [], ...facts });
  }

  /** The next run of the gateway. */
  restart(): void {
    this.home.disconnected();
    this.#due = [];
    this.home = this.begun();
  }
}

const topicOf = (clientId: string) => `homeassistant/device/mqttsn_gw_${idOf(clientId)}/config`;

let world: World;
beforeEach(() => {
  world = new World();
});

function toldOf(clientId: string) {
  return deviceDiscovery.parse(JSON.parse(world.broker.kept.get(topicOf(clientId)) ?? "null"));
}

/** Everything at the broker is as Home Assistant wants it. */
function judge(): void {
  for (const [topicName, text] of world.broker.kept) {
    if (!topicName.startsWith("homeassistant/")) continue;
    expect(topicName).toMatch(discoveryTopicOf("homeassistant"));
    deviceDiscovery.parse(JSON.parse(text));
  }
  const ids = [...world.broker.kept.values()].flatMap((text) =>
    [...text.matchAll(/"unique_id":"([^"]+)"/g)].map(([, id]) => id),
  );
  expect(new Set(ids).size).toBe(ids.length);
}

describe("a device", () => {
  test("is told of when it has said something, with classes, units and availability, under the prefix", () => {
    world.client("barn-1", { keepAliveSeconds: 60, sleepSeconds: 300 });
    world.connect();
    expect(world.broker.kept.has(topicOf("barn-1"))).toBe(false);
    world.home.saw("barn-1", "barn/1/climate");
    world.pass(1_000);
    judge();
    const { device, components, availability, availability_mode } = toldOf("barn-1");
    expect(device).toMatchObject({ name: "barn-1", via_device: "mqttsn_gw" });
    expect(availability_mode).toBe("all");
    expect(availability?.map(({ topic }) => topic)).toEqual(["site/status/gateway", "site/status/clients/barn-1"]);
    const by = (name: string) => Object.values(components).find((each) => "name" in each && each.name === name);
    expect(by("temperature")).toMatchObject({
      platform: "sensor",
      device_class: "temperature",
      unit_of_measurement: "°C",
      state_class: "measurement",
      state_topic: "site/barn/1/climate/json",
      expire_after: 960,
    });
    expect(by('it\'s "wet"')).toMatchObject({
      device_class: "humidity",
      value_template: `{{ value_json['it\\'s "wet"'] }}`,
    });
    expect(by("battery")).toMatchObject({ device_class: "voltage", entity_category: "diagnostic" });
    expect(by("meter")).toMatchObject({ device_class: "energy", state_class: "total_increasing" });
    expect(by("door")).toMatchObject({ platform: "binary_sensor", device_class: "door" });
    expect(by("mode")).not.toHaveProperty("state_class");
  });

  test("what it takes: a number, a choice, a switch; what cannot be said alone is not offered", () => {
    world.client("barn-1", {
      filters: ["barn/1/level", "barn/1/mode", "barn/1/fan", "barn/1/both", "barn/+/level", "x"],
    });
    world.connect();
    judge();
    const { components } = toldOf("barn-1");
    const platforms = Object.values(components).map(({ platform }) => platform);
    expect(platforms.sort()).toEqual(["number", "select", "switch"]);
    expect(Object.values(components).find(({ platform }) => platform === "number")).toMatchObject({
      command_topic: "site/barn/1/level",
      command_template: '{ "level": {{ value }} }',
      min: 0,
      max: 255,
    });
  });

  test("a subscription that comes later is found", () => {
    world.client("barn-1");
    world.connect();
    world.client("barn-1", { filters: ["barn/1/fan"] });
    world.pass(2_000);
    expect(Object.values(toldOf("barn-1").components)).toHaveLength(1);
  });

  test("any client id and any topic give ids that Home Assistant takes, and no two the same", () => {
    world.declarations = new Declarations(parseConfig({ payloads: [{ ...climate, topics: "#" }] }).payloads);
    world.connect();
    const names = ["a_b", "a-b", "a b", "a/b", "ä", "a", "b", "a_5fb", "💡", "a+#"];
    for (const clientId of names) {
      world.client(clientId);
      for (const topicName of ["a", "a_b", "a/b", "b"]) world.home.saw(clientId, topicName);
    }
    world.pass(5_000);
    judge();
    expect(world.broker.kept.size).toBe(names.length + 2); // and the gateway, and its figures
  });

  test("the time after which a value is unknown grows by doubling only", () => {
    world.client("c", { keepAliveSeconds: 60 });
    world.connect();
    world.home.saw("c", "barn/1/climate");
    world.pass(1_000);
    const expiry = () =>
      Object.values(toldOf("c").components).flatMap((each) => ("expire_after" in each ? [each.expire_after] : []))[0];
    expect(expiry()).toBe(240);
    const said = world.broker.said.length;
    for (const keepAliveSeconds of [70, 90, 30]) {
      world.client("c", { keepAliveSeconds });
      world.pass(3_000);
    }
    expect(world.broker.said.slice(said).filter((topicName) => topicName === topicOf("c"))).toEqual([]);
    world.client("c", { sleepSeconds: 3_600 });
    world.pass(3_000);
    expect(expiry()).toBe(15_360);
  });
});

describe("what goes", () => {
  beforeEach(() => {
    world.client("c");
    world.connect();
    world.home.saw("c", "barn/1/climate");
    world.pass(1_000);
  });

  test("a session that ended takes its device with it", () => {
    world.clients.delete("c");
    world.home.happened({ event: "session_ended", clientId: "c", why: "expired" });
    world.pass(1_000);
    expect(world.broker.kept.has(topicOf("c"))).toBe(false);
    expect(world.forgotten).toContain("c");
  });

  test("a session that ended while the gateway, or the broker, was away, too", () => {
    world.restart();
    world.clients.delete("c");
    world.connect();
    expect(world.broker.kept.has(topicOf("c"))).toBe(false);
    expect(world.forgotten).toEqual(["c"]);
  });

  test("after a restart a device stays as it is until it has said something", () => {
    world.restart();
    const said = world.broker.said.length;
    world.connect();
    world.pass(5_000);
    expect(world.broker.said.slice(said).filter((topicName) => topicName === topicOf("c"))).toEqual([]);
    world.home.saw("c", "barn/1/climate");
    world.pass(1_000);
    expect(world.broker.said.slice(said).filter((topicName) => topicName === topicOf("c"))).toEqual([]);
  });

  test("a field that is declared no more is removed by name; nothing declared any more removes the device", () => {
    const { fields, ...rest } = climate;
    world.declarations = new Declarations(
      parseConfig({ payloads: [{ ...rest, fields: fields.slice(0, 1) }] }).payloads,
    );
    world.home.declarationsChanged();
    world.pass(1_000);
    judge();
    const { components } = toldOf("c");
    expect(Object.values(components).filter((each) => Object.keys(each).length > 1)).toHaveLength(1);
    expect(Object.values(components).filter((each) => Object.keys(each).length === 1).length).toBeGreaterThan(3);
    const said = world.broker.said.length;
    world.pass(5_000);
    expect(world.broker.said.slice(said).filter((topicName) => topicName === topicOf("c"))).toEqual([]); // once is enough
    world.declarations = new Declarations([]);
    world.home.declarationsChanged();
    world.pass(1_000);
    expect(world.broker.kept.has(topicOf("c"))).toBe(false);
  });

  test("another gateway's devices, and other things, are left alone", () => {
    const others = ["homeassistant/device/mqttsn_gw2_x/config", "homeassistant/device/zigbee/config"];
    for (const topicName of others) world.broker.kept.set(topicName, "{}");
    world.restart();
    world.connect();
    for (const topicName of others) expect(world.broker.kept.get(topicName)).toBe("{}");
  });

  test("a broker that lost what it kept gets it again", () => {
    world.home.disconnected();
    world.broker.kept.clear();
    world.connect();
    judge();
    expect(world.broker.kept.has(topicOf("c"))).toBe(true);
    expect(world.broker.kept.has("homeassistant/device/mqttsn_gw/config")).toBe(true);
  });

  test("Home Assistant begins anew: everything is said again, spread; what is retained of its birth means nothing", () => {
    for (let i = 0; i < 50; i++) {
      world.client(`d${i}`);
      world.home.saw(`d${i}`, `barn/${i}/climate`);
    }
    world.pass(5_000);
    const before = world.broker.said.length;
    world.home.received("homeassistant/status", "online", true);
    world.pass(100);
    expect(world.broker.said.length).toBe(before);
    world.home.received("homeassistant/status", "online", false);
    world.pass(3_000);
    const early = world.broker.said.length - before;
    expect(early).toBeGreaterThan(1);
    expect(early).toBeLessThan(15);
    world.pass(40_000);
    expect(new Set(world.broker.said.slice(before).filter((each) => each.startsWith("homeassistant/"))).size).toBe(52);
  });
});
