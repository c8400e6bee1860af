/** A fleet's section of the configuration, and what is derived from it for each shard. */
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { ownIdsOfFleet, shardConfig, shardName, statusConfig } from "../../../src/config/shard-config.ts";
import { warningsOf } from "../../../src/config/warnings.ts";

const fleet = { enabled: true, name: "a", listen: "192.0.2.1:1884", key: { env: "HOME" } };
const dtls = { type: "dtls", keys: { file: "devices.json" } };
const usual = { store: { kind: "redis" }, upstream: { mode: "aggregating" }, fleet };

function problemsOf(config: Record<string, unknown>): string {
  try {
    parseConfig({ ...usual, ...config });
    return "";
  } catch (error) {
    return JSON.stringify(error instanceof Error && "details" in error ? error.details : String(error));
  }
}

describe("the section", () => {
  test("is off, and then nothing of it is asked for", () => {
    expect(parseConfig({}).fleet).toMatchObject({ enabled: false, shards: 64, leaseSeconds: 3 });
  });

  test("with the usual settings there is no problem and no warning", () => {
    expect(problemsOf({})).toBe("");
    expect(warningsOf(parseConfig(usual))).toEqual([]);
  });

  test.each([
    [{ store: { kind: "disk" } }, /store.kind to \\"redis\\"/],
    [{ store: { kind: "redis", pair: { enabled: true } } }, /store.pair.enabled/],
    [{ fleet: { enabled: true } }, /fleet.listen: is missing/],
    [{ fleet: { ...fleet, listen: "somewhere:1884" } }, /address and a port/],
    [{ fleet: { ...fleet, announce: "0.0.0.0:1884" } }, /fleet.announce/],
    [{ transports: [dtls], fleet: { ...fleet, key: undefined } }, /fleet.key: is missing; .*DTLS/],
    [{ transports: [{ ...dtls, keys: undefined }] }, /transports.0.keys: is missing/],
    [{ transports: [{ ...dtls, clients: "{identity}-*" }] }, /transports.0.clients: .*must be the identity/],
    [{ transports: [{ ...dtls, cidOctets: 4 }] }, /transports.0.cidOctets: .*8 octets or more/],
    [{ transports: [{ type: "serial", ports: ["/dev/ttyS0"] }] }, /transports.0: a fleet serves UDP/],
    [{ transports: [{ type: "ble" }] }, /transports.0: a fleet serves UDP/],
    [{ homeAssistant: { enabled: true } }, /homeAssistant.enabled/],
    [{ control: { topic: "site/gateway" } }, /control.topic/],
    [{ status: { topic: "site/status" } }, /status.topic: in a fleet .*mqtt-sn\/{gateway}/],
    [{ status: { topic: "{gateway}" } }, /status.topic: in a fleet/],
    [{ status: { topic: "site/of-{gateway}" } }, /status.topic: in a fleet/],
    [{ status: { topic: "{gateway}/{gateway}/x" } }, /status.topic: in a fleet/],
    [{ status: { topic: "site/{gateway}" }, fleet: { ...fleet, name: "clients" } }, /fleet.name: \\"clients/],
    [
      { status: { topic: "site/{gateway}" }, fleet: { enabled: false } },
      /status.topic: {gateway} stands for fleet.name/,
    ],
    [{ tryOutBroker: true, upstream: { url: "mqtt://127.0.0.1:1883" } }, /tryOutBroker/],
    [{ fleet: { ...fleet, shards: 15 } }, /shards/],
  ])("what is not part of a fleet is refused: %j", (config, said) => {
    expect(problemsOf(config)).toMatch(said);
  });

  test("DTLS with keys in files is part of a fleet, with and without connection ids", () => {
    expect(problemsOf({ transports: [dtls, { type: "udp" }] })).toBe("");
    expect(problemsOf({ transports: [{ ...dtls, cidOctets: 0 }] })).toBe("");
  });

  test("scripts for payloads belong to a fleet", () => {
    expect(problemsOf({ payloads: [{ topics: "a/#", script: "x.js" }] })).toBe("");
  });

  test("a state of each gateway belongs to a fleet", () => {
    expect(problemsOf({ status: { topic: "site/{gateway}" } })).toBe("");
  });

  test("a network that is not the machine's own, without a key: a warning", () => {
    const { key: _key, ...without } = fleet;
    expect(warningsOf(parseConfig({ ...usual, fleet: without })).join()).toMatch(/fleet.key: is missing/);
    expect(warningsOf(parseConfig({ ...usual, fleet: { ...without, listen: "127.0.0.1:1884" } }))).toEqual([]);
  });

  test("transparent, with wills at the broker: a warning", () => {
    expect(warningsOf(parseConfig({ ...usual, upstream: {} })).join()).toMatch(/will.held/);
  });
});

describe("a shard's configuration", () => {
  const config = parseConfig({ ...usual, upstreams: [{ name: "other", clients: "x-*", serviceClientId: "second" }] });

  test("has keys and MQTT client ids of its own", () => {
    const [one, other] = [shardConfig(config, 3), shardConfig(config, 63)];
    expect(one.store.redis.prefix).toBe("mqtt-sn-gateway/s03");
    expect(other.store.redis.prefix).toBe("mqtt-sn-gateway/s63");
    expect(one.upstream.serviceClientId).toBe("mqtt-sn-gateway-s03");
    expect(one.upstreams[0]?.serviceClientId).toBe("second-s03");
    expect(shardName(3, 256)).toBe("s003");
  });

  test("has twice its even share of what limits all clients together, and 0 stays no limit", () => {
    const whole = parseConfig({ ...usual, clients: { sessionsMax: 6_400, sessionsPerHostMax: 0 } });
    const { clients, buffer } = shardConfig(whole, 0);
    expect(clients).toMatchObject({ sessionsMax: 200, sessionsPerHostMax: 0 });
    expect(buffer.totalBytesMax).toBeGreaterThanOrEqual(buffer.bytesMax);
    expect(clients.subscriptionsMax).toBe(whole.clients.subscriptionsMax);
  });

  test("publishes no wills at its end: it goes on in another process", () => {
    expect(shardConfig(parseConfig({ ...usual, shutdown: { wills: "publish" } }), 0).shutdown.wills).toBe("keep");
  });

  test("the connections' ids of all shards and brokers are reserved", () => {
    const ids = ownIdsOfFleet(config);
    for (const id of ["mqtt-sn-gateway-s00", "mqtt-sn-gateway-s63", "second-s17", "mqtt-sn-gateway-s05-probe"])
      expect(ids.has(id), id).toBe(true);
    expect(ids.has("mqtt-sn-gateway-s64")).toBe(false);
  });

  test("so are those for the states of all gateways, whatever their names are", () => {
    const ids = ownIdsOfFleet(config);
    for (const id of ["mqtt-sn-gateway-status-a", "second-status-another"]) expect(ids.has(id), id).toBe(true);
    expect(ids.has("mqtt-sn-gateway-stat")).toBe(false);
  });

  test("has the topic of the states of clients, which is that of the whole fleet", () => {
    expect(shardConfig(config, 3).status.topic).toBeUndefined();
    const topicOf = (topic: string) => shardConfig(parseConfig({ ...usual, status: { topic } }), 3).status.topic;
    expect(topicOf("site/{gateway}")).toBe("site");
    expect(topicOf("a/{gateway}/b")).toBe("a/b");
  });
});

describe("the configuration of the connections for the state of a gateway", () => {
  const of = (more: object) => statusConfig(parseConfig({ ...usual, status: { topic: "site/{gateway}" }, ...more }));

  test("is not there without a topic", () => {
    expect(of({ status: {} })).toBeUndefined();
  });

  test("has a topic and MQTT client ids with the name of the gateway, at each broker, as one level", () => {
    const upstreams = [{ name: "other", clients: "x-*", serviceClientId: "second" }];
    const own = of({ upstreams, fleet: { ...fleet, name: "barn/+ a" } });
    expect(own?.status.topic).toBe("site/barn%2F%2B a");
    expect(own?.upstream).toMatchObject({
      serviceClientId: "mqtt-sn-gateway-status-barn%2F%2B a",
      mode: "transparent",
    });
    expect(own?.upstreams[0]?.serviceClientId).toBe("second-status-barn%2F%2B a");
    expect(own?.store.kind).toBe("memory");
  });
});
