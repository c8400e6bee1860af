/**
 * What hardware/pair says to Docker and to Kubernetes. Nothing of either is here, so the files are held against what is written below: the
 * fields that are used, as the documents of Kubernetes name them, and that all names in them belong together.
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
import { configMap, service, statefulSet } from "../helpers/kubernetes-fields.ts";

const folder = fileURLToPath(new URL("../../hardware/pair/", import.meta.url));
/** Some authority whose certificate has not ended. */
const certificates =
  rootCertificates.find((pem) => Date.parse(new X509Certificate(pem).validTo) > Date.now() + 1e11) ?? "";
const configPath = "/etc/mqtt-sn-gateway/gateway.config.json";

/** As `check` reads it; it must have no problem and no warning. */
function checked(text: string): GatewayConfig {
  const place = mkdtempSync(join(tmpdir(), "deployment-"));
  onTestFinished(() => rmSync(place, { recursive: true }));
  writeFileSync(join(place, "redis-password"), "secret", { mode: 0o600 });
  writeFileSync(join(place, "redis-ca.pem"), certificates);
  const file = join(place, "gateway.config.json");
  writeFileSync(file, text.replaceAll("/etc/mqtt-sn-gateway/secrets/", `${place}/`));
  const { config, problems } = readConfig(file);
  expect(problems).toEqual([]);
  if (!config) throw new Error("there is no configuration");
  const looked = lookAtFiles(config);
  expect([...looked.problems, ...looked.warnings, ...warningsOf(config)]).toEqual([]);
  expect(config.store).toMatchObject({ kind: "redis", folder: "/data/store", pair: { enabled: true } });
  // Each is called by its host.
  expect(config.store.pair.name).toBeUndefined();
  return config;
}

const udpPorts = ({ transports }: GatewayConfig) =>
  transports.flatMap((each) => (each.type === "udp" ? [each.port] : []));

test("compose: both gateways have one configuration, which is valid, and names of their own; what it names is there", () => {
  const gateway = z.looseObject({
    hostname: z.string(),
    ports: z.array(z.string()),
    volumes: z.array(z.string()),
    depends_on: z.array(z.string()),
  });
  const other = z.looseObject({ volumes: z.array(z.string()) });
  const { services, volumes } = z
    .strictObject({
      services: z.strictObject({ mosquitto: other, redis: other, "gateway-a": gateway, "gateway-b": gateway }),
      volumes: z.record(z.string(), z.null()),
    })
    .parse(parse(readFileSync(join(folder, "compose.yaml"), "utf8"), { merge: true }));
  const config = checked(readFileSync(join(folder, "compose/gateway.config.json"), "utf8"));
  const [a, b] = [services["gateway-a"], services["gateway-b"]];
  expect(services).toHaveProperty(new URL(config.upstream.url).hostname);
  expect(services).toHaveProperty(new URL(config.store.redis.url).hostname);
  expect([a.depends_on, b.depends_on]).toEqual([
    ["mosquitto", "redis"],
    ["mosquitto", "redis"],
  ]);
  expect(a.hostname).not.toBe(b.hostname);
  const inside = [...udpPorts(config).map((port) => `${port}/udp`), `${config.api.port}`];
  for (const { ports } of [a, b]) expect(ports.map((port) => port.replace(/.*:/, ""))).toEqual(inside);
  // Both are on one machine.
  expect(new Set([...a.ports, ...b.ports].map((port) => port.replace(/:[^:]*$/, ""))).size).toBe(4);
  const mounted = Object.values(services).flatMap((service) => service.volumes);
  expect(mounted.filter((volume) => volume.includes(configPath))).toHaveLength(2);
  expect(new Set(mounted.filter((volume) => volume.endsWith(":/data"))).size).toBe(3);
  for (const volume of mounted) {
    const [from = ""] = volume.split(":");
    expect(from.startsWith(".") ? existsSync(join(folder, from)) : from in volumes, volume).toBe(true);
  }
});

test("the image starts the gateway with that file, and has the package for Redis that the project is tested with", () => {
  const { services } = parse(readFileSync(join(folder, "compose.yaml"), "utf8")) as {
    services: { "gateway-a": { build: { context: string; dockerfile: string; args: { PACKAGES: string } } } };
  };
  const { context, dockerfile, args } = services["gateway-a"].build;
  const lines = readFileSync(join(folder, context, dockerfile), "utf8");
  const { optionalDependencies } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    optionalDependencies: Record<string, string>;
  };
  expect(args.PACKAGES).toBe(`ioredis@${optionalDependencies["ioredis"]}`);
  expect(lines).toContain(" $PACKAGES ");
  expect(readFileSync(join(folder, "README.md"), "utf8")).toContain(`--build-arg PACKAGES=${args.PACKAGES} `);
  expect(lines).toContain(`"start", "--config", "${configPath}"`);
});

test("Kubernetes: each field is one that its API has, all names belong together, and the configuration is valid", () => {
  const documents = parseAllDocuments(readFileSync(join(folder, "kubernetes.yaml"), "utf8"));
  const all = documents.map((document) => {
    expect(document.errors).toEqual([]);
    return z.discriminatedUnion("kind", [configMap, service, statefulSet]).parse(document.toJS());
  });
  const [map, each, devices, set] = z.tuple([configMap, service, service, statefulSet]).parse(all);
  const { spec } = set;
  // Neither waits until the other one is ready: the one that stands by never is.
  expect(spec).toMatchObject({ replicas: 2, updateStrategy: { type: "OnDelete" } });
  const pod = spec.template;
  const [gateway] = pod.spec.containers;
  for (const wanted of [
    spec.selector.matchLabels,
    each.spec.selector,
    devices.spec.selector,
    ...pod.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.map(
      ({ labelSelector }) => labelSelector.matchLabels,
    ),
  ])
    expect(pod.metadata.labels).toMatchObject(wanted);
  expect(spec.serviceName).toBe(each.metadata.name);
  expect(each.spec).toMatchObject({ clusterIP: "None", publishNotReadyAddresses: true });
  // A device is known by the address that it sends from.
  expect(devices.spec).toMatchObject({ type: "LoadBalancer", externalTrafficPolicy: "Local" });

  const config = checked(map.data["gateway.config.json"] ?? "");
  const open = new Map(gateway.ports.map((opened) => [opened.name, opened] as const));
  expect([...open.values()].filter((one) => one.protocol === "UDP").map((one) => one.containerPort)).toEqual(
    udpPorts(config),
  );
  expect(open.get("metrics")?.containerPort).toBe(config.api.port);
  expect(config.api.host).toBe("0.0.0.0");
  for (const to of [...each.spec.ports, ...devices.spec.ports]) {
    expect(open.get(to.targetPort), to.name).toMatchObject({ containerPort: to.port, protocol: to.protocol });
  }
  expect(gateway.livenessProbe.httpGet).toEqual({ path: "/livez", port: "metrics" });
  // By this one the datagrams of devices find the active one.
  expect(gateway.readinessProbe.httpGet).toEqual({ path: "/readyz", port: "metrics" });

  const volumes = new Map(pod.spec.volumes.map((volume) => [volume.name, volume] as const));
  const claims = spec.volumeClaimTemplates.map((claim) => claim.metadata.name);
  expect(gateway.volumeMounts.map((mount) => mount.name).sort()).toEqual([...volumes.keys(), ...claims].sort());
  expect(volumes.get("configuration")).toMatchObject({ configMap: { name: map.metadata.name } });
  // Written as 0440 it is octal for Kubernetes, and 440 for whoever reads YAML 1.2.
  expect(readFileSync(join(folder, "kubernetes.yaml"), "utf8")).not.toMatch(/defaultMode: 0\d/);
  expect(volumes.get("secrets")).toMatchObject({ secret: { secretName: "mqtt-sn-gateway", defaultMode: 0o440 } });
  const mounts = new Map(gateway.volumeMounts.map((mount) => [mount.mountPath, mount] as const));
  expect(mounts.get(configPath)).toMatchObject({ name: "configuration", subPath: "gateway.config.json" });
  expect(config.store.redis.password).toBeDefined();
  expect(map.data["gateway.config.json"]).toContain(`"file": "/etc/mqtt-sn-gateway/secrets/redis-password"`);
  expect(mounts.get("/etc/mqtt-sn-gateway/secrets")?.name).toBe("secrets");
  expect(mounts.get("/data")?.name).toBe(claims[0]);
});
