/** `doctor`: checks everything that the gateway needs; each line is ok or tells what to type. */
import { writeFileSync } from "node:fs";
import { arch, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { lookAtFiles } from "../../config/check-files.ts";
import { readConfig } from "../../config/load.ts";
import type { GatewayConfig } from "../../config/schema.ts";
import { shownConfig } from "../../config/shown.ts";
import { warningsOf } from "../../config/warnings.ts";
import { GatewayError } from "../../errors.ts";
import type { OutputOf } from "../../runtime/commands.ts";
import { ask } from "../ask.ts";
import { out } from "../output.ts";
import { lookAtUpstream } from "./broker.ts";
import { doubtful, type Finding, ok, skipped, wrong } from "./finding.ts";
import { lookAtApi, lookAtClock, lookAtStore, lookAtTransport, lookAtUnit } from "./machine.ts";

export interface DoctorOptions {
  readonly json?: boolean;
  readonly bundle?: string;
  /** False: nothing is published at the brokers. */
  readonly try?: boolean;
}

export async function doctor(configFile: string, version: string, options: DoctorOptions): Promise<void> {
  const { findings, config } = await examine(configFile, options.try !== false);
  if (options.json) out(`${JSON.stringify(findings, undefined, 2)}\n`);
  else out(inWords(findings));
  if (options.bundle !== undefined) {
    const text = JSON.stringify(await bundleOf(version, findings, config), undefined, 2);
    writeFileSync(options.bundle, options.bundle.endsWith(".gz") ? gzipSync(text) : text, { mode: 0o600 });
    if (!options.json)
      out(
        `${options.bundle}: these findings, the configuration without secrets, metrics; no messages, no client ids\n`,
      );
  }
  if (findings.some(({ is }) => is === "wrong")) process.exitCode = 1;
}

/** Makes all checks; `config` is undefined if the configuration has problems. */
export async function examine(
  configFile: string,
  tries: boolean,
): Promise<{ findings: Finding[]; config: GatewayConfig | undefined }> {
  const findings: Finding[] = [];
  const config = lookAtConfiguration(configFile, findings);
  if (!config) return { findings, config };
  const running = config.store.kind === "memory" ? undefined : await answerOf(config);
  const isRunning = running !== undefined;
  findings.push(
    isRunning ? ok("gateway", "it runs, and answers") : skipped("gateway", "no gateway runs with this store"),
  );
  if (config.store.pair.enabled) findings.push(lookAtPair(running?.pair));
  if (config.fleet.enabled) findings.push(...lookAtFleet(running?.fleet));
  for (const transport of config.transports) findings.push(...(await lookAtTransport(transport, isRunning)));
  findings.push(...(await lookAtApi(config, isRunning)), ...(await lookAtStore(config)), lookAtClock());
  const all = [
    ["upstream", config.upstream] as const,
    ...config.upstreams.map((each, i) => [`upstreams.${i}`, each] as const),
  ];
  for (const [path, options] of all) {
    if (path === "upstream" && config.tryOutBroker && !isRunning)
      findings.push(skipped(path, "the built-in broker runs only while the gateway runs"));
    else findings.push(...(await lookAtUpstream(path, options, tries)));
  }
  findings.push(await lookAtUnit());
  return { findings, config };
}

function lookAtConfiguration(file: string, findings: Finding[]): GatewayConfig | undefined {
  const about = "configuration";
  const add = (make: typeof wrong, says: readonly string[]) => {
    for (const say of says) findings.push(make(about, say, `correct it in ${file}; then: mqtt-sn-gateway check`));
  };
  try {
    const { config, isWhole, problems } = readConfig(file);
    const looked = config ? lookAtFiles(config) : { problems: [], warnings: [] };
    add(wrong, [...problems, ...looked.problems]);
    add(doubtful, [...(config && isWhole ? warningsOf(config) : []), ...looked.warnings]);
    if (problems.length === 0 && looked.problems.length === 0) findings.push(ok(about, `${file} is valid`));
    return isWhole ? config : undefined;
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    findings.push(wrong(about, error.message, "name it: mqtt-sn-gateway doctor -c FILE"));
    return undefined;
  }
}

async function answerOf({ store }: GatewayConfig): Promise<OutputOf<"overview.show"> | undefined> {
  try {
    return await ask(join(store.folder, "control.sock"), "overview.show", {});
  } catch (error) {
    if (error instanceof GatewayError) return undefined;
    throw error;
  }
}

/** Tells which gateway of the pair is active, as the running one reports it. */
export function lookAtPair(pair: OutputOf<"overview.show">["pair"]): Finding {
  const about = "pair";
  if (!pair) return skipped(about, "which gateway is active is known only while a gateway runs here");
  const { role, name, owner, epoch, trouble, other } = pair;
  if (trouble !== "") return wrong(about, `${name} (${role}): ${trouble}`, "look at the server of store.redis");
  if (other?.name === name)
    return doubtful(about, `both are called ${name}, so logs and metrics mix them up`, "set store.pair.name of each");
  if (role === "active" && !other)
    return doubtful(
      about,
      `${name} is active, epoch ${epoch}, and no gateway stands by: when it ends, no gateway takes over`,
      "start the other gateway; there: mqtt-sn-gateway doctor",
    );
  if (role === "active") return ok(about, `${name} is active, epoch ${epoch}; ${other?.name} stands by`);
  if (owner === "") return doubtful(about, `${name} stands by, and no gateway is active`, "mqtt-sn-gateway status");
  return ok(about, `${name} stands by; ${owner} is active, epoch ${epoch}`);
}

/** Checks if the gateways of the fleet are there, and if each shard has an owner, as the running gateway reports it. */
export function lookAtFleet(fleet: OutputOf<"overview.show">["fleet"]): Finding[] {
  const about = "fleet";
  if (!fleet) return [skipped(about, "the gateways of the fleet are known only while a gateway runs here")];
  const { name, trouble, members, owners, shards, leaseSeconds } = fleet;
  if (trouble !== "") return [wrong(about, `${name}: ${trouble}`, "look at the server of store.redis")];
  const findings: Finding[] = [];
  const unowned = owners.filter(({ owner }) => owner === "").length;
  const own = members.find((member) => member.name === name)?.shards ?? 0;
  const others = members.filter((member) => member.name !== name);
  if (others.length === 0)
    findings.push(
      doubtful(
        about,
        `${name} is the only gateway: when it ends, no gateway takes over`,
        "start another gateway with the same store and fleet, and another fleet.name; there: mqtt-sn-gateway doctor",
      ),
    );
  for (const { name: other, secondsAgo } of others.filter((member) => member.secondsAgo > leaseSeconds))
    findings.push(doubtful(about, `${other} is silent for ${secondsAgo} s`, "check whether it runs and reaches Redis"));
  if (unowned > 0)
    findings.push(
      doubtful(
        about,
        `shards without an owner: ${unowned} of ${shards}`,
        "if this stays so for longer than two leases: mqtt-sn-gateway fleet status --shards, on each gateway",
      ),
    );
  if (findings.length === 0) {
    const who = others.map((member) => member.name).join(", ");
    findings.push(ok(about, `${name} owns ${own} of ${shards} shards; the other gateways: ${who}`));
  }
  return findings;
}

const words = { ok: "ok      ", doubtful: "DOUBTFUL", wrong: "WRONG   ", skipped: "-       " } as const;

function inWords(findings: readonly Finding[]): string {
  const lines = findings.map(
    ({ is, about, what, hint }) =>
      `${words[is]}  ${about}: ${what}\n${hint === undefined ? "" : `            ${hint}\n`}`,
  );
  const first = findings.find(({ is }) => is === "wrong");
  const count = findings.filter(({ is }) => is === "wrong").length;
  const end = first ? `${count} wrong. First: ${first.about}: ${first.what}; ${first.hint ?? ""}` : "Nothing is wrong.";
  return `${lines.join("")}${end}\n`;
}

/** A file for support. It contains no secrets, no messages and no client ids. */
export async function bundleOf(
  version: string,
  findings: readonly Finding[],
  config: GatewayConfig | undefined,
): Promise<object> {
  return {
    version,
    node: process.versions.node,
    system: {
      platform: process.platform,
      release: release(),
      arch: arch(),
      processors: cpus().length,
      memoryBytes: totalmem(),
    },
    at: new Date().toISOString(),
    findings,
    configuration: config && withoutClients(shownConfig(config)),
    metrics: config?.api.enabled ? await metricsOf(config) : undefined,
  };
}

/** Client ids and topics are removed from rules; their number is enough. */
function withoutClients(shown: unknown): unknown {
  if (Array.isArray(shown)) return shown.map(withoutClients);
  if (typeof shown !== "object" || shown === null) return shown;
  const hidden = new Set(["allow", "deny", "clients", "predefinedFor", "username", "identity"]);
  return Object.fromEntries(
    Object.entries(shown).map(([key, value]) => [
      key,
      hidden.has(key) && value !== undefined && !isSection(value) ? hiddenWord(value) : withoutClients(value),
    ]),
  );
}

/** `clients` is also a section of the configuration, which contains only numbers. */
function isSection(value: unknown): boolean {
  return typeof value === "object" && value !== null && "sessionsMax" in value;
}

function hiddenWord(value: unknown): string {
  if (Array.isArray(value)) return `(${value.length}, not shown)`;
  return typeof value === "object" && value !== null ? `(${Object.keys(value).length}, not shown)` : "(not shown)";
}

async function metricsOf({ api }: GatewayConfig): Promise<string[] | string> {
  const host =
    api.host === "0.0.0.0"
      ? "127.0.0.1"
      : api.host === "::"
        ? "[::1]"
        : api.host.includes(":")
          ? `[${api.host}]`
          : api.host;
  try {
    const response = await fetch(`http://${host}:${api.port}/metrics`, { signal: AbortSignal.timeout(5_000) });
    const lines = (await response.text()).split("\n").filter((line) => !line.startsWith("#") && line !== "");
    return lines.filter((line) => !line.startsWith("mqttsn_device_")); // names and addresses of devices
  } catch {
    return "no answer";
  }
}
