/**
 * `demo`: runs a broker, the gateway, twenty simulated devices and the page, on this machine only. All files are in a
 * folder that is removed at the end. It needs only Node, and uses only free ports.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { loadConfig } from "../../config/load.ts";
import { Gateway } from "../../gateway.ts";
import { createLog } from "../../observe/log.ts";
import { out } from "../output.ts";
import { Actor } from "./actor.ts";
import { buttonTopicId, cast, strangers } from "./cast.ts";

export interface DemoOptions {
  /** TCP port of the page; absent: the usual one, or any free port if that is in use. */
  readonly port?: number;
  /** Seconds after which the demonstration ends by itself. */
  readonly seconds?: number;
  readonly log?: boolean;
}

const usualPort = 9_464;

export async function demo(options: DemoOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "mqtt-sn-demo-"));
  const actors: Actor[] = [];
  let gateway: Gateway | undefined;
  const over = ending(options.seconds);
  try {
    const file = join(folder, "gateway.config.json");
    writeFileSync(file, await configuration(options));
    const config = loadConfig(file);
    gateway = new Gateway(config, await createLog(config.log, 2), file);
    await gateway.start();
    const port = Number(gateway.places()[0]?.split(":").at(-1));
    for (const { name, play } of cast) {
      const actor = new Actor(name, port);
      actors.push(actor);
      await play(actor);
    }
    out(introduction(gateway.consoleLink(), file, port));
    await over;
  } finally {
    for (const actor of actors) actor.end();
    await gateway?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  out("The demonstration is over; nothing of it is left.\n");
}

/** The configuration of the demonstration. It has comments, to show that Settings keeps them. */
async function configuration({ port, log = false }: DemoOptions): Promise<string> {
  const apiPort = port ?? ((await isFree(usualPort)) ? usualPort : 0);
  return `// The demonstration's configuration. Change it on the page, under Settings.
{
  // Only this machine reaches it, at a port that was free.
  "transports": [{ "type": "udp", "host": "127.0.0.1", "port": 0 }],
  // A broker for trying out, inside the gateway.
  "tryOutBroker": true,
  "upstream": { "url": "mqtt://127.0.0.1:${await freePort()}", "mode": "aggregating" },
  "topics": { "predefined": { "${buttonTopicId}": "demo/button" } },
  // A refused device is shown on the page, with a button to admit it.
  "access": { "rules": [{ "deny": "${strangers}" }] },
  "retry": { "intervalSeconds": 3, "limit": 3 },
  "api": { "port": ${apiPort} },
  "log": { "level": "${log ? "info" : "error"}" }
}
`;
}

function introduction(links: readonly string[] | string, file: string, port: number): string {
  const who = cast.map(({ name, character }) => `  ${name.padEnd(16)} ${character}`).join("\n");
  const link = typeof links === "string" ? links : links.join("\n  ");
  return `A gateway with ${cast.length} simulated devices runs on this machine:

${who}

Open in a browser (the link logs in once, within ten minutes; another: mqtt-sn-gateway console -c ${file}):

  ${link}

Send something yourself: mqtt-sn-gateway pub -p ${port} -i me -t demo/me -m hello
Ctrl-C ends it.
`;
}

/** Waits for a signal, or until the time is over. */
function ending(seconds: number | undefined): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
    if (seconds !== undefined) setTimeout(resolve, seconds * 1_000);
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await listening(server, port);
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await listening(server, 0);
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function listening(server: ReturnType<typeof createServer>, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}
