/**
 * What hardware/fleet says to Docker and to Kubernetes. Nothing of either is here, so the files are held against the
 * fields that their documents name, and all names in them belong together.
 */
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { lookAtFiles } from "../../src/config/check-files.ts";
import { readConfig } from "../../src/config/load.ts";
import type { GatewayConfig } from "../../src/config/schema.ts";
import { warningsOf } from "../../src/config/warnings.ts";
import { configMap, disruptionBudget, networkPolicy, service, statefulSet } from "../helpers/kubernetes-fields.ts";

const folder = fileURLToPath(new URL("../../hardware/fleet/", import.meta.url));
const read = (name: string) => readFileSync(join(folder, name), "utf8");
/** Some authority whose certificate has not ended. */
const certificates =
  rootCertificates.find((pem) => Date.parse(new X509Certificate(pem).validTo) > Date.now() + 1e11) ?? "";
const configPath = "/etc/mqtt-sn-gateway/gateway.config.json";
const secretNames = ["fleet-key", "redis-password", "redis-ca.pem"];

/** As `check` reads it; it must have no problem and no warning. */
function checked(text: string): GatewayConfig {
  const place = mkdtempSync(join(tmpdir(), "deployment-"));
  onTestFinished(() => rmSync(place, { recursive: true }));
  for (const name of secretNames)
    writeFileSync(join(place, name), name.endsWith(".pem") ? certificates : "f".repeat(64), { mode: 0o600 });
  const file = join(place, "gateway.config.json");
  writeFileSync(file, text.replaceAll("/etc/mqtt-sn-gateway/secrets/", `${place}/`));
  process.env["FLEET_KEY"] = "f".repeat(64);
  onTestFinished(() => void delete process.env["FLEET_KEY"]);
  const { config, problems } = readConfig(file);
  expect(problems).toEqual([]);
  if (!config) throw new Error("there is no configuration");
  const looked = lookAtFiles(config);
  expect([...looked.problems, ...looked.warnings, ...warningsOf(config)]).toEqual([]);
  expect(config.store).toMatchObject({ kind: "redis", folder: "/data/store", pair: { enabled: false } });
  // Each is called by its host, and reached at the address from which it reaches Redis.
  expect([config.fleet.name, config.fleet.announce]).toEqual([undefined, undefined]);
  expect(config.fleet).toMatchObject({ enabled: true, listen: "0.0.0.0:1884" });
  return config;
}

test("compose: all gateways have one valid configuration, names and ports of their own; what it names is there", () => {
  const gateway = z.looseObject({
    hostname: z.string(),
    environment: z.strictObject({ FLEET_KEY: z.string().startsWith("${FLEET_KEY:?") }),
    ports: z.array(z.string()),
    volumes: z.array(z.string()),
    depends_on: z.array(z.string()),
  });
  const other = z.looseObject({ volumes: z.array(z.string()) });
  const named = { mosquitto: other, redis: other, "gateway-a": gateway, "gateway-b": gateway, "gateway-c": gateway };
  const { services, volumes } = z
    .strictObject({ services: z.strictObject(named), volumes: z.record(z.string(), z.null()) })
    .parse(parse(read("compose.yaml"), { merge: true }));
  const config = checked(read("compose/gateway.config.json"));
  const gateways = [services["gateway-a"], services["gateway-b"], services["gateway-c"]];
  expect(services).toHaveProperty(new URL(config.upstream.url).hostname);
  expect(services).toHaveProperty(new URL(config.store.redis.url).hostname);
  expect(new Set(gateways.map(({ hostname }) => hostname)).size).toBe(3);
  for (const { ports, depends_on } of gateways) {
    expect(depends_on).toEqual(["mosquitto", "redis"]);
    // The port between gateways stays inside.
    expect(ports.map((port) => port.replace(/.*:/, ""))).toEqual(["1883/udp", `${config.api.port}`]);
  }
  // All are on one machine.
  expect(new Set(gateways.flatMap(({ ports }) => ports.map((port) => port.replace(/:[^:]*$/, "")))).size).toBe(6);
  const mounted = Object.values(services).flatMap((each) => each.volumes);
  expect(mounted.filter((volume) => volume.includes(configPath))).toHaveLength(3);
  expect(new Set(mounted.filter((volume) => volume.endsWith(":/data"))).size).toBe(4);
  for (const volume of mounted) {
    const [from = ""] = volume.split(":");
    expect(from.startsWith(".") ? existsSync(join(folder, from)) : from in volumes, volume).toBe(true);
  }
  const { args } = (
    parse(read("compose.yaml")) as { services: { "gateway-a": { build: { args: { PACKAGES: string } } } } }
  ).services["gateway-a"].build;
  expect(read("../pair/compose.yaml")).toContain(`PACKAGES: ${args.PACKAGES}\n`);
  expect(read("README.md")).toContain(`--build-arg PACKAGES=${args.PACKAGES} `);
});

test("Kubernetes: each field is one that its API has, all names belong together, and the configuration is valid", () => {
  const all = parseAllDocuments(read("kubernetes.yaml")).map((document) => {
    expect(document.errors).toEqual([]);
    return z
      .discriminatedUnion("kind", [configMap, service, statefulSet, disruptionBudget, networkPolicy])
      .parse(document.toJS());
  });
  const [map, each, devices, set, budget, policy] = z
    .tuple([configMap, service, service, statefulSet, disruptionBudget, networkPolicy])
    .parse(all);
  const { spec } = set;
  const pod = spec.template;
  const [gateway] = pod.spec.containers;
  const between = policy.spec.ingress.flatMap(({ ports, from }) =>
    ports.some(({ port }) => port === "between") ? [from] : [],
  );
  expect(between).toHaveLength(1);
  for (const wanted of [
    spec.selector.matchLabels,
    each.spec.selector,
    devices.spec.selector,
    budget.spec.selector.matchLabels,
    policy.spec.podSelector.matchLabels,
    ...(between[0] ?? []).map(({ podSelector }) => podSelector.matchLabels),
    ...pod.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.map(
      ({ labelSelector }) => labelSelector.matchLabels,
    ),
  ])
    expect(pod.metadata.labels).toMatchObject(wanted);
  expect(between[0]).toHaveLength(1);
  expect(spec).toMatchObject({ updateStrategy: { type: "RollingUpdate" }, serviceName: each.metadata.name });
  expect(spec.replicas).toBeGreaterThan(1);
  // A device is known by the address that it sends from.
  expect(devices.spec).toMatchObject({ type: "LoadBalancer", externalTrafficPolicy: "Local" });

  const config = checked(map.data["gateway.config.json"] ?? "");
  const open = new Map(gateway.ports.map((opened) => [opened.name, opened] as const));
  expect(open.get("mqtt-sn")).toMatchObject({ containerPort: 1883, protocol: "UDP" });
  expect(config.transports).toMatchObject([{ type: "udp", host: "0.0.0.0", port: 1883 }]);
  expect(config.fleet.listen).toBe(`0.0.0.0:${open.get("between")?.containerPort}`);
  expect(open.get("metrics")?.containerPort).toBe(config.api.port);
  expect(config.api.host).toBe("0.0.0.0");
  for (const to of [...each.spec.ports, ...devices.spec.ports])
    expect(open.get(to.targetPort), to.name).toMatchObject({ containerPort: to.port, protocol: to.protocol });
  for (const { port, protocol } of policy.spec.ingress.flatMap(({ ports }) => ports))
    expect(open.get(port), port).toMatchObject({ protocol });
  expect(gateway.livenessProbe.httpGet).toEqual({ path: "/livez", port: "metrics" });
  expect(gateway.readinessProbe.httpGet).toEqual({ path: "/readyz", port: "metrics" });

  const volumes = new Map(pod.spec.volumes.map((volume) => [volume.name, volume] as const));
  const claims = spec.volumeClaimTemplates.map((claim) => claim.metadata.name);
  expect(gateway.volumeMounts.map((mount) => mount.name).sort()).toEqual([...volumes.keys(), ...claims].sort());
  expect(volumes.get("configuration")).toMatchObject({ configMap: { name: map.metadata.name } });
  expect(volumes.get("secrets")).toMatchObject({ secret: { secretName: "mqtt-sn-gateway", defaultMode: 0o440 } });
  const mounts = new Map(gateway.volumeMounts.map((mount) => [mount.mountPath, mount] as const));
  expect(mounts.get(configPath)).toMatchObject({ name: "configuration", subPath: "gateway.config.json" });
  for (const name of secretNames) {
    expect(map.data["gateway.config.json"]).toContain(`"/etc/mqtt-sn-gateway/secrets/${name}"`);
    expect(read("README.md")).toContain(`--from-file=${name}=./${name}`);
  }
  expect(mounts.get("/etc/mqtt-sn-gateway/secrets")?.name).toBe("secrets");
  expect(mounts.get("/data")?.name).toBe(claims[0]);
});
