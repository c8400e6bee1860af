import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { createAccessPolicy } from "../../src/config/access.ts";
import { accessOptions } from "../../src/config/access-options.ts";
import { coreOptions } from "../../src/config/core-options.ts";
import { configurationMarkdown, configurationSchema } from "../../src/config/documentation.ts";
import { loadConfig, parseConfig } from "../../src/config/load.ts";
import { admitAll } from "../../src/core/access.ts";
import type { PeerId } from "../../src/core/types.ts";
import { errorCodes, GatewayError } from "../../src/errors.ts";
import { eventsMarkdown } from "../../src/observe/documentation.ts";
import { type BrokerUrl, parseBrokerUrl } from "../../src/upstream/broker-url.ts";
import { Credentials } from "../../src/upstream/credentials.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";

const root = new URL("../../", import.meta.url);

function problems(raw: unknown): string[] {
  try {
    parseConfig(raw);
    return [];
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return error.details["problems"] as string[];
  }
}

describe("configuration", () => {
  test("an empty one is valid, and so is the one that comes with the gateway", () => {
    expect(parseConfig({}).transports).toHaveLength(1);
    expect(loadConfig(new URL("gateway.config.json", root).pathname).tryOutBroker).toBe(true);
  });

  test("every problem at once, with its path, what was found and what was meant", () => {
    const found = problems({
      upstraem: {},
      buffer: { mesagesMax: 5, bytesMax: 0 },
      transports: [{ type: "udp", port: 99_999 }],
      gateway: { id: "one" },
    });
    expect(found).toHaveLength(5);
    expect(found.join("\n")).toMatch(/upstraem: there is no such key; did you mean "upstream"\?/);
    expect(found.join("\n")).toMatch(/buffer\.mesagesMax: .*did you mean "messagesMax"\?/);
    expect(found.join("\n")).toMatch(/buffer\.bytesMax: .*\(found 0\)/);
    expect(found.join("\n")).toMatch(/transports\.0\.port: .*\(found 99999\)/);
    expect(found.join("\n")).toMatch(/gateway\.id: .*\(found "one"\)/);
  });

  test.each([
    [{ topics: { timeId: 7, predefined: { "7": "a" } } }, /predefined\.7: this id is topics\.timeId/],
    [{ topics: { predefined: { "70000": "a" } } }, /predefined\.70000/],
    [{ topics: { predefined: { "1": "a/#" } } }, /wildcard/],
    [{ transports: [{ type: "udp" }, { type: "udp" }] }, /"udp" is taken/],
    [{ access: { rules: [{ allow: "*", from: ["300.1.1.1"] }] } }, /300\.1\.1\.1/],
    [{ tryOutBroker: true, upstream: { url: "mqtts://cloud:8883" } }, /tryOutBroker/],
    [{ upstream: { url: "http://x" } }, /upstream\.url/],
    [{ upstream: { password: "secret" } }, /upstream\.password/],
    [{ upstreams: [{ name: "a" }] }, /upstreams\.0: say who uses it/],
    [{ upstreams: [{ name: "a", transports: ["lora"] }] }, /there is no transport "lora"/],
    [{ upstreams: [{ name: "a", clients: "x*" }] }, /upstreams\.0\.serviceClientId/],
    [
      { upstreams: [{ name: "a", clients: "x*", clientIdPrefix: "mqtt-", serviceClientId: "sn-gateway" }] },
      /upstreams\.0\.serviceClientId/,
    ],
    [
      {
        upstream: { url: "mqtt://B.example", mode: "aggregating", connections: 3, serviceClientId: "gw" },
        upstreams: [{ name: "a", clients: "x*", url: "mqtts://b.example:8883", serviceClientId: "gw-2" }],
      },
      /upstreams\.0\.serviceClientId/,
    ],
    [
      { upstreams: [{ name: "a", clients: ["y", "meter-*"], serviceClientId: "meter-gw" }] },
      /upstreams\.0\.clients: "meter-\*" names "meter-gw"/,
    ],
    [{ topics: { predefinedFor: { "mqtt-sn-gateway": { "1": "a" } } } }, /predefinedFor\.mqtt-sn-gateway/],
    [{ access: { rules: [{ allow: ["a", "mqtt-sn-gateway"] }] } }, /access\.rules\.0\.allow/],
    [
      { upstreams: [0, 1].map((i) => ({ name: "a", clients: "x*", serviceClientId: `gw-${i}` })) },
      /upstreams\.1\.name: "a" is taken/,
    ],
  ])("refused: %j", (raw, message) => {
    expect(problems(raw).join("\n")).toMatch(message);
  });

  test("the first upstream whose conditions all fit serves a client", () => {
    const { upstreams } = coreOptions(
      parseConfig({
        transports: [{ type: "udp" }, { type: "udp", name: "barn", port: 1885 }],
        upstreams: [
          { name: "meters", clients: ["meter-*", "m?"], serviceClientId: "gw-1", topicPrefix: "m/" },
          { name: "barn", transports: ["barn"], serviceClientId: "gw-2" },
        ],
      }),
      admitAll,
    );
    expect(upstreams?.named.map(({ name, policy }) => [name, policy.topicPrefix])).toEqual([
      ["meters", "m/"],
      ["barn", ""],
    ]);
    const here = "udp/127.0.0.1:1";
    expect(upstreams?.nameOf("meter-7", here)).toBe("meters");
    expect(upstreams?.nameOf("m1", "barn/127.0.0.1:1")).toBe("meters");
    expect(upstreams?.nameOf("other", "barn/127.0.0.1:1")).toBe("barn");
    expect(upstreams?.nameOf("other", here)).toBe(undefined);
    expect(upstreams?.nameOf(undefined, "barn/127.0.0.1:1")).toBe("barn"); // QoS -1 without a session
    expect(upstreams?.nameOf(undefined, here)).toBe(undefined);
  });

  const pem = "-----BEGIN PRIVATE KEY-----\nhunter2";
  test.each([
    [{ upstream: { password: { literal: "hunter2" } } }, /upstream\.password: must be \{ "file"/],
    [{ upstream: { password: "hunter2" } }, /upstream\.password: must be .* \(found a string that is not shown here\)/],
    [{ upstream: { password: { file: ["hunter2"] } } }, /upstream\.password/],
    [{ upstream: [{ password: "hunter2" }] }, /upstream: .* \(found a list\)/],
    [{ upstream: { credentials: { clients: "*", password: "hunter2" } } }, /credentials: .* \(found an object\)/],
    [{ upstream: { credentials: [{ clients: "*", password: "hunter2" }] } }, /credentials\.0\.password/],
    [{ upstream: { passwordCommand: "echo hunter2" } }, /passwordCommand: .* that is not shown here/],
    [{ upstream: { url: "mqtts://b", tls: { psk: { identity: "gw", key: "hunter2" } } } }, /psk\.key: must be/],
    [{ upstream: { url: "mqtts://b", tls: { cert: "c", key: pem } } }, /tls\.key: must be the name of a file/],
    [{ upstream: { url: "mqtts://b", tls: { ca: pem } } }, /tls\.ca: .*BEGIN\.\.\./],
    [{ upstream: { url: "http://user:hunter2@broker" } }, /upstream\.url: .*http:\/\/\*\*\*@broker/],
    [{ upstream: { url: "mqtt://user:hunter2@broker:99999" } }, /upstream\.url: "mqtt:\/\/\*\*\*@broker:99999"/],
    [{ upstream: { urls: ["mqtt://b", "mqtt://user:hunter/2@b@x:y"] } }, /upstream\.urls\.1/],
    [{ upstream: { urls: "mqtt://user:hunter2@broker" } }, /upstream\.urls/],
    [{ transports: [{ type: "ble", broadcast: { keys: { "aa:bb:cc:dd:ee:ff": "hunter2" } } }] }, /must be \{ "file"/],
    [{ upstream: { keepAliveSeconds: "mqtt://user:hunter2@broker" } }, /keepAliveSeconds/],
  ])("a secret is never repeated: %j", (raw, message) => {
    const said = problems(raw).join("\n");
    expect(said).toMatch(message);
    expect(said).not.toMatch(/hunter/);
  });

  test("a file that is no JSON is not repeated, not even in the cause", () => {
    const file = join(mkdtempSync(join(tmpdir(), "config-")), "gateway.config.json");
    writeFileSync(file, '{ "upstream": { "password": "hunter2" ');
    const caught = (() => {
      try {
        return loadConfig(file);
      } catch (error) {
        return error;
      }
    })();
    expect(inspect(caught, { depth: 9 })).toMatch(/not valid JSON/);
    expect(inspect(caught, { depth: 9 })).not.toMatch(/hunter/);
  });

  test("predefined topics reach the core as numbers", () => {
    const config = parseConfig({ topics: { predefined: { "7": "a" }, predefinedFor: { c1: { "7": "b" } } } });
    const { predefined } = coreOptions(config, admitAll).topics;
    expect(predefined.forAll.get(7)).toBe("a");
    expect(predefined.byClientId.get("c1")?.get(7)).toBe("b");
  });

  test("schema and manuals are what `npm run docs` makes", () => {
    expect(JSON.parse(readFileSync(new URL("gateway.config.schema.json", root), "utf8"))).toEqual(
      JSON.parse(JSON.stringify(configurationSchema())),
    );
    expect(readFileSync(new URL("docs/guide/configuration.md", root), "utf8")).toBe(configurationMarkdown());
    expect(readFileSync(new URL("docs/guide/events.md", root), "utf8")).toBe(eventsMarkdown());
  });
});

describe("who gets in", () => {
  const policy = (access: unknown) =>
    createAccessPolicy(accessOptions.parse(access), (peer) => peer.replace(/^[^/]*\/\[?([^\]]*?)\]?:\d+$/, "$1"));

  const identityOf = (peer: PeerId) =>
    ({ name: peer.replace(/^[^/]*\/\[?([^\]]*?)\]?:\d+$/, "$1"), by: "address", verified: false }) as const;

  test("the first rule that names the client and its network counts", () => {
    const rules = policy({
      default: "deny",
      rules: [{ deny: "node-6" }, { allow: ["node-?", "x*"], from: ["192.0.2.0/24"] }],
    });
    const client = (clientId: string, peer: PeerId) => rules.client(clientId, peer, identityOf(peer));
    expect(client("node-1", "udp/192.0.2.7:1").admitted).toBe(true);
    expect(client("node-6", "udp/192.0.2.7:1").admitted).toBe(false);
    expect(client("node-1", "udp/198.51.100.7:1").admitted).toBe(false);
    expect(client("node-12", "udp/192.0.2.7:1").admitted).toBe(false);
    expect(client("xyz", "udp6/[::ffff:192.0.2.9]:1").admitted).toBe(true);
  });

  test("a refusal says which line would admit the client", () => {
    const peer = "udp/192.0.2.7:1";
    const refused = policy({ default: "deny" }).client("n", peer, identityOf(peer));
    expect(refused).toEqual({ admitted: false, hint: 'access.rules: put first {"allow":"n","from":["192.0.2.7"]}' });
  });

  test("a rule by name is told from one for everybody", () => {
    const rules = policy({ rules: [{ allow: "meter-*" }, { allow: "*" }] });
    const admission = (clientId: string) => rules.client(clientId, "udp/192.0.2.7:1", identityOf("udp/192.0.2.7:1"));
    expect(admission("meter-1")).toMatchObject({ admitted: true, byName: true });
    expect(admission("other")).toMatchObject({ admitted: true, byName: false });
  });

  test.each<[PeerId, boolean]>([
    ["udp/127.0.0.1:1", true],
    ["udp/10.1.2.3:1", true],
    ["udp6/[fe80::1%eth0]:1", true],
    ["udp/198.51.100.7:1", false],
    ["udp/10.1.2.3:1#0a0b", true],
  ])("QoS -1 and forwarders by default only from the own site: %s", (peer, admitted) => {
    expect(policy({}).qosMinusOne(peer).admitted).toBe(admitted);
    expect(policy({}).forwarder(peer).admitted).toBe(admitted);
  });

  test("a transport can be named as network, and a gate be shut", () => {
    expect(policy({ qosMinusOne: { from: ["transport:ble"] } }).qosMinusOne("ble/aa:bb").admitted).toBe(true);
    expect(policy({ forwarders: { enabled: false } }).forwarder("udp/127.0.0.1:1")).toEqual({
      admitted: false,
      hint: "access.forwarders.enabled: true",
    });
  });
});

describe("credentials", () => {
  test("the first group that matches the device's client id counts", () => {
    process.env["TEST_SECRET"] = "s3cret";
    const credentials = new Credentials(
      upstreamOptions.parse({
        username: "all",
        credentials: [{ clients: "a-*", username: "u-{clientId}", password: { env: "TEST_SECRET" } }],
      }),
    );
    const url = parseBrokerUrl("mqtt://broker") as BrokerUrl;
    const of = (clientId: string | undefined) => {
      let found: unknown;
      credentials.of(clientId, url, (identity) => {
        found = identity;
      });
      return found;
    };
    expect(of("a-1")).toMatchObject({ username: "u-a-1", password: "s3cret" });
    expect(of("b-1")).toMatchObject({ username: "all" });
    expect(of(undefined)).toMatchObject({ username: "all" });
  });

  test.each([
    [{ password: { env: "NOT_SET_ANYWHERE" } }, /NOT_SET_ANYWHERE is not set/],
    [{ password: { file: "/nowhere/secret" } }, /\/nowhere\/secret/],
    [{ tls: {} }, /not mqtts/],
    [{ url: "mqtts://b:8883", tls: { ca: "/nowhere/ca.pem" } }, /nowhere/],
    [{ url: "mqtts://b:8883", tls: { cert: "/x" } }, /go together/],
  ])("a mistake is found at start: %j", (options, message) => {
    expect(() => new Credentials(upstreamOptions.parse(options))).toThrow(message);
  });
});

test("every error code is in docs/guide/errors.md, and nothing else is", () => {
  const manual = readFileSync(new URL("docs/guide/errors.md", root), "utf8");
  expect([...manual.matchAll(/^## (ERR_\w+)/gm)].map(([, code]) => code).sort()).toEqual(
    Object.keys(errorCodes).sort(),
  );
});
