/**
 * The pages for kinds of users (docs/guide/platforms, docs/guide/home-assistant.md), from top to bottom: each configuration is run, and
 * each block of commands by a shell, with mosquitto's own clients. A mosquitto stands in for the platform: its way to log in, its
 * limits.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "jsonc-parser";
import { describe, expect, test } from "vitest";
import { findMosquittoClients } from "../helpers/find-mosquitto.mjs";
import { findMosquitto, fixture, Mosquitto, passwordLine } from "../helpers/mosquitto.ts";
import { freePorts } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const clients = findMosquittoClients();
const missing = "missing" in program ? program.missing : "missing" in clients ? clients.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const root = fileURLToPath(new URL("../..", import.meta.url));
const main = join(root, "dist/main.js");

interface Block {
  readonly language: string;
  readonly text: string;
}

interface StandIn {
  /** Files that its user has. */
  readonly files?: Readonly<Record<string, string>>;
  /** A listener like that of the platform; absent: one without anything. `folder`: where the user's files are. */
  readonly listener?: (folder: string) => readonly string[];
}

const tls = [`certfile ${fixture("server.pem")}`, `keyfile ${fixture("server-key.pem")}`];
const platforms: Readonly<Record<string, StandIn>> = {
  "docs/guide/home-assistant.md": {},
  "docs/guide/platforms/json.md": {},
  "docs/guide/platforms/aws-iot.md": {
    files: {
      "certificates/AmazonRootCA1.pem": "ca.pem",
      "certificates/gateway.pem.crt": "client.pem",
      "certificates/gateway.pem.key": "client-key.pem",
      "certificates/app.pem.crt": "client.pem",
      "certificates/app.pem.key": "client-key.pem",
    },
    listener: () => [
      ...tls,
      `cafile ${fixture("ca.pem")}`,
      "require_certificate true",
      "allow_anonymous true",
      "max_qos 1",
    ],
  },
  "docs/guide/platforms/azure-event-grid.md": {
    files: { "app.pem": "client.pem", "app.key": "client-key.pem" },
    listener: (folder) => {
      // What the user has made himself counts as registered.
      const known = join(folder, "known.pem");
      const made = readFileSync(join(folder, "gateway.pem"), "utf8");
      writeFileSync(known, readFileSync(fixture("ca.pem"), "utf8") + made);
      return [
        ...tls,
        `cafile ${known}`,
        "require_certificate true",
        "allow_anonymous true",
        "max_qos 1",
        "retain_available false",
      ];
    },
  },
  "docs/guide/platforms/hivemq-cloud.md": {
    listener: (folder) => {
      const passwords = join(folder, "passwords");
      writeFileSync(passwords, passwordLine("gateway", "a-long-password"), { mode: 0o600 });
      return [...tls, "allow_anonymous false", `password_file ${passwords}`, "max_inflight_messages 10"];
    },
  },
};

/** The platform's addresses in a page, as they are here. */
function atHome(page: string, port: number): string {
  return page
    .replace(/[\w-]+(\.[\w-]+)*\.(amazonaws\.com|azure\.net|hivemq\.cloud)/g, "127.0.0.1")
    .replaceAll("--capath /etc/ssl/certs", `--cafile ${fixture("ca.pem")}`)
    .replace(/\b(8883|1884)\b/g, String(port));
}

function blocksOf(page: string): readonly Block[] {
  return [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({ language, text }));
}

describe.skipIf(missing !== undefined)(`platforms${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  test.for(Object.entries(platforms))("%s", { timeout: 180_000 }, async ([document, standIn], context) => {
    if ("missing" in program || "missing" in clients) return;
    const { files = {}, listener } = standIn;
    const atEnd: (() => unknown)[] = [];
    context.onTestFinished(async () => {
      for (const end of atEnd.reverse()) await end();
    });
    const folder = mkdtempSync(join(tmpdir(), "platform-"));
    atEnd.push(() => rmSync(folder, { recursive: true, force: true }));
    for (const [name, from] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      copyFileSync(fixture(from), join(folder, name));
    }
    const [port = 0, udp = 0, api = 0] = await freePorts(3);
    const page = atHome(readFileSync(join(root, document), "utf8"), port);
    const shell = shellFor(folder, dirname(clients.path), clients.libraries, udp);
    let broker: Mosquitto | undefined;
    let gateway: ChildProcess | undefined;
    let [configurations, commands] = [0, 0];
    const blocks = blocksOf(page);
    for (const [i, { language, text }] of blocks.entries()) {
      if (language === "sh") {
        expect(gateway?.exitCode ?? null, `the gateway before ${text}`).toBeNull();
        const after = blocks[i + 1];
        await patiently(text, shell, after?.language === "text" ? after.text.trim() : "");
        commands++;
      } else if (/"(payloads|homeAssistant)": /.test(text)) {
        const given: unknown = parse(/^\s*\{/.test(text) ? text : `{${text}}`, [], { allowTrailingComma: false });
        if (!isRecord(given) || !("payloads" in given)) continue;
        if (broker === undefined) {
          const lines = listener?.(folder) ?? ["allow_anonymous true"];
          broker = await Mosquitto.create(program, [`listener ${port} 127.0.0.1`, ...lines]);
          atEnd.push(() => broker?.dispose());
        }
        await stop(gateway);
        const started = await start(folder, configured(given, { port, udp, api }), api);
        gateway = started;
        atEnd.push(() => stop(started));
        configurations++;
      }
    }
    expect(configurations).toBeGreaterThan(0);
    expect(commands).toBeGreaterThan(0);
  });
});

/** On a busy machine a subscriber may take longer than a page gives it: then it is given more. */
async function patiently(text: string, shell: (text: string) => Promise<string>, expected: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    const output = await shell(
      text.replace(/^sleep (\d+)$/gm, (_, seconds) => `sleep ${Number(seconds) * tries ** 2}`),
    );
    if (tries === 3) expect(output).toContain(expected);
    if (output.includes(expected)) return;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** What the page says, and what belongs to this machine. */
function configured(given: Record<string, unknown>, { port, udp, api }: Record<"port" | "udp" | "api", number>) {
  return {
    upstream: { url: `mqtt://127.0.0.1:${port}` },
    ...given,
    transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
    store: { kind: "disk", folder: "data" },
    tryOutBroker: false,
    api: { port: api, console: false },
  };
}

async function start(folder: string, config: Record<string, unknown>, api: number): Promise<ChildProcess> {
  writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(config));
  const child = spawn(process.execPath, [main, "start"], {
    cwd: folder,
    // The authority of the stand-in counts as one of the system's.
    env: { ...process.env, NODE_EXTRA_CA_CERTS: fixture("ca.pem") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  await until("the gateway reaches its broker", async () => {
    if (child.exitCode !== null) throw new Error(`the gateway ended: ${said}`);
    try {
      const health: unknown = await (await fetch(`http://127.0.0.1:${api}/healthz`)).json();
      return isRecord(health) && health["broker"] === "connected";
    } catch {
      return false;
    }
  }).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw new Error(`${error}: ${said}`);
  });
  return child;
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

/** Runs a block of commands as a reader would, and answers what it says. */
function shellFor(folder: string, clientsFolder: string, libraries: string | undefined, udp: number) {
  const bin = join(folder, "bin");
  mkdirSync(bin);
  // At this gateway's port.
  const own = `#!/bin/sh\ncase "$1" in pub|sub) set -- "$@" -p ${udp};; esac\nexec "${process.execPath}" "${main}" "$@"\n`;
  writeFileSync(join(bin, "mqtt-sn-gateway"), own, { mode: 0o755 });
  const env = {
    ...process.env,
    PATH: [bin, clientsFolder, process.env["PATH"]].join(delimiter),
    ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }),
  };
  return async (text: string): Promise<string> => {
    const child = spawn("sh", ["-e", "-c", text], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
    expect(`${status}: ${output}`).toMatch(/^0: /);
    return output;
  };
}
