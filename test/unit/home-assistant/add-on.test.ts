/**
 * The add-on for Home Assistant, as far as it can be tested without it: its description against the rules of the public developer documents
 * (developers.home-assistant.io, "Add-on configuration"), which are here as a schema; and the configuration that is made from its options.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { parseConfig } from "../../../src/config/load.ts";

const folder = fileURLToPath(new URL("../../../hardware/home-assistant/", import.meta.url));
const addOn = join(folder, "mqtt-sn-gateway");
const read = (...path: string[]): unknown => parse(readFileSync(join(...path), "utf8"));

interface Mapped {
  readonly configuration: Record<string, unknown>;
  readonly secrets: Record<string, string>;
}

// By its address, for it has no types.
const { configurationOf, supervisorAddress } = (await import(`file://${addOn}/options.mjs`)) as {
  configurationOf(options: Record<string, unknown>, service?: Record<string, unknown>): Mapped;
  supervisorAddress: string;
};

const range = String.raw`(\((-?[\d.]+)?,(-?[\d.]+)?\))`;
/** What an option may be; ? behind it: it may be missing. */
const optionType = z
  .string()
  .regex(
    new RegExp(
      `^(str${range}?|bool|int${range}?|float${range}?|email|url|password|port|match\\(.+\\)|list\\([^|)]+(\\|[^|)]+)*\\)|device(\\(subsystem=\\w+\\))?)\\??$`,
    ),
  );
const optionTypes = z.record(z.string(), z.union([optionType, z.tuple([optionType])]));
const port = z.string().regex(/^\d{1,5}\/(tcp|udp)$/);

const description = z.strictObject({
  name: z.string().min(1),
  version: z.string().regex(/^\d+\.\d+\.\d+/),
  slug: z.string().regex(/^[-_.A-Za-z0-9]+$/),
  description: z.string().min(1),
  arch: z.array(z.enum(["aarch64", "amd64", "armhf", "armv7", "i386"])).min(1),
  startup: z.enum(["initialize", "system", "services", "application", "once"]).optional(),
  boot: z.enum(["auto", "manual", "manual_only"]).optional(),
  init: z.boolean().optional(),
  timeout: z.int().min(10).max(300).optional(),
  services: z.array(z.string().regex(/^(mqtt|mysql):(provide|want|need)$/)).optional(),
  ports: z.record(port, z.int().min(1).max(65_535).nullable()).optional(),
  ports_description: z.record(port, z.string()).optional(),
  ingress: z.boolean().optional(),
  ingress_port: z.int().min(0).max(65_535).optional(),
  ingress_stream: z.boolean().optional(),
  panel_icon: z
    .string()
    .regex(/^mdi:[a-z0-9-]+$/)
    .optional(),
  panel_title: z.string().optional(),
  panel_admin: z.boolean().optional(),
  uart: z.boolean().optional(),
  watchdog: z
    .string()
    .regex(/^(https?|\[PROTO:\w+\]|tcp):\/\/\[HOST\]:(\[PORT:\d+\]|\d+).*$/)
    .optional(),
  options: z.record(z.string(), z.unknown()),
  schema: optionTypes,
});

const config = description.parse(read(addOn, "config.yaml"));

describe("config.yaml", () => {
  test("is what the Supervisor takes, and the schema here refuses what it would", () => {
    expect(description.safeParse({ ...config, arch: ["riscv"] }).success).toBe(false);
    expect(description.safeParse({ ...config, schema: { a: "string" } }).success).toBe(false);
    expect(description.safeParse({ ...config, ports: { "1883": 1_883 } }).success).toBe(false);
  });

  test("every option has a type, and a default where it must be there", () => {
    for (const [name, value] of Object.entries(config.options)) {
      const type = config.schema[name];
      expect(type, name).toBeDefined();
      const kind = Array.isArray(type) ? "array" : String(type).startsWith("bool") ? "boolean" : "string";
      expect(Array.isArray(value) ? "array" : typeof value, name).toBe(kind);
    }
    for (const [name, type] of Object.entries(config.schema))
      if (!String(type).endsWith("?")) expect(config.options, name).toHaveProperty(name);
  });

  test("agrees with the package, the ports with the configuration, and the ingress with what is believed", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect(config.version).toBe(version);
    const { transports, api } = parseConfig(configurationOf({ broker: "mqtt://b", dtls: true }).configuration);
    const ports = transports.flatMap((each) => ("port" in each ? [`${each.port}/udp`] : []));
    expect(Object.keys(config.ports ?? {})).toEqual(ports);
    expect(Object.keys(config.ports_description ?? {})).toEqual(ports);
    expect(config).toMatchObject({ ingress: true, ingress_port: api.port });
    expect(config.watchdog).toContain(`[PORT:${api.port}]`);
    expect(api.ingress).toEqual({ from: "172.30.32.2", role: "operator" });
    expect(supervisorAddress).toBe("172.30.32.2");
  });

  test("only administrators see the page, for they may change something on it", () => {
    expect(config.panel_admin).toBe(true);
  });

  test("the repository has a name, and the image is made of files that are there", () => {
    expect(
      z.strictObject({ name: z.string().min(1), url: z.url().optional() }).safeParse(read(folder, "repository.yaml"))
        .success,
    ).toBe(true);
    const images = z.strictObject({ build_from: z.record(z.enum(["amd64", "aarch64"]), z.string()) });
    expect(Object.keys(images.parse(read(addOn, "build.yaml")).build_from).sort()).toEqual([...config.arch].sort());
    const copied = /^COPY (.+) \S+$/m.exec(readFileSync(join(addOn, "Dockerfile"), "utf8"))?.[1]?.split(" ") ?? [];
    expect(copied).toContain("run.mjs");
    for (const file of copied.filter((name) => name !== "mqtt-sn-gateway.tgz"))
      expect(existsSync(join(addOn, file)), file).toBe(true);
  });
});

describe("options become a configuration", () => {
  const house = { host: "core-mosquitto", port: 1_883, ssl: false, username: "addons", password: "secret one" };

  test("as they are by default: the broker of this house, and Home Assistant is told", () => {
    const { configuration, secrets } = configurationOf(config.options, house);
    const found = parseConfig(configuration);
    expect(found).toMatchObject({
      upstream: {
        url: "mqtt://core-mosquitto:1883",
        mode: "aggregating",
        username: "addons",
        password: { file: "secrets/broker" },
      },
      homeAssistant: { enabled: true },
      tryOutBroker: false,
      transports: [{ type: "udp", port: 1_883 }],
    });
    expect(secrets).toEqual({ broker: "secret one" });
    expect(JSON.stringify(configuration)).not.toContain("secret one");
  });

  test("another broker comes before that of this house, with its own name and password or none", () => {
    const { configuration, secrets } = configurationOf({ ...config.options, broker: "mqtts://broker.example" }, house);
    const { upstream } = parseConfig(configuration);
    expect(upstream).toMatchObject({ url: "mqtts://broker.example" });
    expect(upstream.username).toBeUndefined();
    expect(secrets).toEqual({});
    const own = configurationOf({ broker: "mqtt://b", username: "u", password: "p" });
    expect(parseConfig(own.configuration).upstream).toMatchObject({ username: "u" });
    expect(own.secrets).toEqual({ broker: "p" });
  });

  test.each([
    [{ dtls: true }, { transports: [{ type: "udp" }, { type: "dtls", port: 10_888 }] }],
    [{ serial: ["/dev/ttyUSB0"] }, { transports: [{ type: "udp" }, { type: "serial", ports: ["/dev/ttyUSB0"] }] }],
    [{ discovery: false }, { homeAssistant: { enabled: false } }],
    [{ anybody: true }, { access: { rules: [{ allow: "*" }] } }],
    [{ log: "debug" }, { log: { level: "debug" } }],
  ])("%j", (options, expected) => {
    expect(parseConfig(configurationOf({ ...config.options, ...options }, house).configuration)).toMatchObject(
      expected,
    );
  });

  test("a broker by TLS, and by IPv6", () => {
    const url = (service: Record<string, unknown>) =>
      parseConfig(configurationOf({}, { ...house, ...service }).configuration).upstream.url;
    expect(url({ ssl: true, port: 8_883 })).toBe("mqtts://core-mosquitto:8883");
    expect(url({ host: "fd00::5" })).toBe("mqtt://[fd00::5]:1883");
  });

  test("without a broker it is said what to do", () => {
    expect(() => configurationOf(config.options)).toThrow(/install the Mosquitto add-on, or give `broker`/);
  });
});

describe("the start", () => {
  const started = (options: Record<string, unknown>, own = false) => {
    const data = mkdtempSync(join(tmpdir(), "add-on-"));
    onTestFinished(() => rmSync(data, { recursive: true }));
    writeFileSync(join(data, "options.json"), JSON.stringify(options));
    if (own) writeFileSync(join(data, "gateway.config.json"), "{}");
    // In the place of the gateway: says how it is started.
    writeFileSync(join(data, "mqtt-sn-gateway"), '#!/bin/sh\necho "$@"\n');
    chmodSync(join(data, "mqtt-sn-gateway"), 0o755);
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(addOn, "run.mjs")], {
      env: { PATH: `${data}:${process.env["PATH"]}`, MQTT_SN_GATEWAY_DATA: data },
      encoding: "utf8",
    });
    return { data, stdout, stderr, status };
  };

  test("writes the configuration, and the password where only its user reads it", () => {
    const { data, stdout } = started({ ...config.options, broker: "mqtt://b", username: "u", password: "secret two" });
    const file = join(data, "from-options.config.json");
    expect(stdout).toBe(`start --config ${file}\n`);
    expect(readFileSync(file, "utf8")).not.toContain("secret two");
    expect(parseConfig(JSON.parse(readFileSync(file, "utf8"))).upstream.url).toBe("mqtt://b");
    expect(readFileSync(join(data, "secrets/broker"), "utf8")).toBe("secret two");
    expect(statSync(join(data, "secrets/broker")).mode & 0o077).toBe(0);
  });

  test("a configuration of one's own comes before the options", () => {
    const { data, stdout } = started({}, true);
    expect(stdout).toBe(`start --config ${join(data, "gateway.config.json")}\n`);
  });

  test("without a broker it ends, and says why", () => {
    const { status, stderr } = started(config.options);
    expect(status).toBe(1);
    expect(stderr).toMatch(/there is no broker/);
  });
});

test("compose: the gateway's configuration is valid, and its ports are those that are opened", () => {
  const service = z.looseObject({ ports: z.array(z.string()), volumes: z.array(z.string()) });
  const compose = z
    .strictObject({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.null()) })
    .parse(read(folder, "compose.yaml"));
  const { upstream, transports, api } = parseConfig(
    JSON.parse(readFileSync(join(folder, "compose/gateway.config.json"), "utf8")),
  );
  expect(compose.services).toHaveProperty(new URL(upstream.url).hostname);
  const udp = transports.flatMap((each) => ("port" in each ? [`${each.port}:${each.port}/udp`] : []));
  expect(compose.services["gateway"]?.ports).toEqual([...udp, `127.0.0.1:${api.port}:${api.port}`]);
  for (const { volumes } of Object.values(compose.services))
    for (const volume of volumes) {
      const [from = ""] = volume.split(":");
      expect(from.startsWith("./") ? existsSync(join(folder, from)) : from in compose.volumes, volume).toBe(true);
    }
});
