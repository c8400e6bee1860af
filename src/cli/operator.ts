/** `sessions`, `queue`, `backup`, `restore`: what an operator asks of a running gateway, by the socket beside its store. */
import { existsSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { loadConfig } from "../config/load.ts";
import { GatewayError } from "../errors.ts";
import { restoreBackup, writeBackup } from "../storage/backup.ts";
import { sayProblems } from "./problems.ts";
import { say, table } from "./table.ts";

type Facts = Readonly<Record<string, unknown>>;
type ConfigOption = readonly [string, string];

export function addOperatorCommands(program: Command, configFile: ConfigOption, defaultConfigFile: () => string): void {
  const socketOf = ({ config }: { config?: string }) => socketIn(config ?? defaultConfigFile());
  const sessions = program.command("sessions").description("who is known to the running gateway");
  sessions
    .command("list", { isDefault: true })
    .description("every session, one line each")
    .option(...configFile)
    .option("--json", "as JSON")
    .action(
      plainly(async (options: { config?: string; json?: boolean }) => {
        const all = (await ask(socketOf(options), "GET", "/sessions")) as Facts[];
        if (options.json) return say(JSON.stringify(all, undefined, 2));
        say(table(all.map(sessionLine), "no sessions"));
      }),
    );
  sessions
    .command("show")
    .description("all that is known of one client")
    .argument("<client>", "client id")
    .option(...configFile)
    .action(
      plainly(async (client: string, options: { config?: string }) => {
        say(JSON.stringify(await ask(socketOf(options), "GET", "/session", { client }), undefined, 2));
      }),
    );
  sessions
    .command("drop")
    .description("end a session; what it sent and the broker does not have yet still goes there")
    .argument("<client>", "client id")
    .option(...configFile)
    .action(
      plainly(async (client: string, options: { config?: string }) => {
        await ask(socketOf(options), "DELETE", "/session", { client });
        say(`the session of ${client} is ended`);
      }),
    );
  const queue = program.command("queue").description("what waits in the running gateway, and dead letters");
  queue
    .command("depth", { isDefault: true })
    .description("how much waits, for whom, since when")
    .option(...configFile)
    .option("--json", "as JSON")
    .action(
      plainly(async (options: { config?: string; json?: boolean }) => {
        const depth = (await ask(socketOf(options), "GET", "/queue")) as Depth;
        say(options.json ? JSON.stringify(depth, undefined, 2) : sayDepth(depth));
      }),
    );
  queue
    .command("dead")
    .description("dead letters: messages that were dropped, and why")
    .option(...configFile)
    .option("--json", "as JSON, with payloads in base64")
    .action(
      plainly(async (options: { config?: string; json?: boolean }) => {
        const letters = (await ask(socketOf(options), "GET", "/letters")) as Facts[];
        say(options.json ? JSON.stringify(letters, undefined, 2) : table(letters.map(letterLine), "no dead letters"));
      }),
    );
  queue
    .command("republish")
    .description("send dead letters once more, where they were going")
    .argument("[number...]", "their numbers; all when none are given", asNumbers, [])
    .option(...configFile)
    .action(
      plainly(async (ids: number[], options: { config?: string }) => {
        const { republished } = (await ask(socketOf(options), "POST", "/letters", idsOf(ids))) as Facts;
        say(`${String(republished)} sent`);
      }),
    );
  queue
    .command("purge")
    .description("delete dead letters")
    .argument("[number...]", "their numbers; all when none are given", asNumbers, [])
    .option(...configFile)
    .action(
      plainly(async (ids: number[], options: { config?: string }) => {
        const { purged } = (await ask(socketOf(options), "DELETE", "/letters", idsOf(ids))) as Facts;
        say(`${String(purged)} deleted`);
      }),
    );
  program
    .command("backup")
    .description("everything the running gateway keeps, as it is at one moment, in one file")
    .argument("<file>", "where to")
    .option(...configFile)
    .action(
      plainly(async (file: string, options: { config?: string }) => {
        const bytes = await writeBackup(file, octetsOf(socketOf(options), "/backup"));
        say(`${file}: ${bytes} octets`);
      }),
    );
  program
    .command("restore")
    .description("put a backup in the place of the store; the gateway must not run")
    .argument("<file>", "where from")
    .option(...configFile)
    .action(
      plainly(async (file: string, options: { config?: string }) => {
        const { store } = loadConfig(options.config ?? defaultConfigFile());
        const { records, aside } = await restoreBackup(file, store.folder);
        say(`${records} records are in ${store.folder}${aside === undefined ? "" : `; what was there is at ${aside}`}`);
      }),
    );
}

/** Problems are said in plain lines. */
function plainly<Args extends unknown[]>(action: (...args: Args) => Promise<void>): (...args: Args) => Promise<void> {
  return (...args) => action(...args).catch(sayProblems);
}

function socketIn(configFile: string): string {
  return join(loadConfig(configFile).store.folder, "control.sock");
}

function asNumbers(text: string, before: number[]): number[] {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("a number of `queue dead`");
  return [...before, Number(text)];
}

function idsOf(ids: readonly number[]): Record<string, string> {
  return ids.length === 0 ? {} : { ids: ids.join(",") };
}

/** @throws {GatewayError} ERR_CONTROL when no gateway answers, or it says no. */
async function ask(
  socketPath: string,
  method: string,
  path: string,
  query: Record<string, string> = {},
): Promise<unknown> {
  const parts: Uint8Array[] = [];
  for await (const part of octetsOf(socketPath, path, method, query)) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString());
}

async function* octetsOf(
  socketPath: string,
  path: string,
  method = "GET",
  query: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  const search = new URLSearchParams(query).toString();
  const response = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    const asking = request({ socketPath, method, path: search === "" ? path : `${path}?${search}` }, resolve);
    asking.once("error", (cause) => {
      const missing = !existsSync(socketPath) || ("code" in cause && cause.code === "ECONNREFUSED");
      const say = missing
        ? `no gateway runs with the store at ${socketPath} (is it another configuration? name it with -c)`
        : `${socketPath}: ${cause.message}`;
      reject(new GatewayError("ERR_CONTROL", { socketPath }, { cause, say }));
    });
    asking.end();
  });
  if (response.statusCode === 200) return yield* response as AsyncIterable<Uint8Array>;
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  const { error } = JSON.parse(Buffer.concat(parts).toString()) as { error: string };
  throw new GatewayError("ERR_CONTROL", { socketPath, status: response.statusCode }, { say: error });
}

function sessionLine(session: Facts): Record<string, string> {
  const { clientId, state, peer, secondsSilent, waitingMessages, owedToBroker, droppedMessages, linkUp } = session;
  return {
    client: String(clientId),
    state: String(state),
    at: String(peer ?? "-"),
    "silent for": duration(Number(secondsSilent)),
    "for it": String(waitingMessages),
    "oldest for": age(session["waitingSeconds"]),
    dropped: String(droppedMessages),
    "for the broker": String(owedToBroker),
    link: linkUp ? "up" : "down",
  };
}

function letterLine(letter: Facts): Record<string, string> {
  const { id, clientId, direction, reason, topic, qos, bytes, at } = letter;
  return {
    number: String(id),
    client: String(clientId),
    to: direction === "up" ? "broker" : "client",
    why: String(reason),
    topic: String(topic),
    QoS: String(qos),
    octets: String(bytes),
    at: Number(at) > 0 ? new Date(Number(at)).toISOString() : "-",
  };
}

interface Depth {
  readonly forBroker: { readonly messages: number; readonly bytes: number; readonly clients: readonly Facts[] };
  readonly forClients: { readonly messages: number; readonly bytes: number; readonly clients: readonly Facts[] };
  readonly deadLetters: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly storeFails: boolean;
}

function sayDepth({ forBroker, forClients, deadLetters, dropped, storeFails }: Depth): string {
  const toClients = forClients.clients.map(({ clientId, state, messages, bytes, waitingSeconds, dropped }) => ({
    "for client": String(clientId),
    state: String(state),
    messages: String(messages),
    octets: String(bytes),
    "oldest waits for": age(waitingSeconds),
    dropped: String(dropped),
  }));
  const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
  const fromClients = forBroker.clients.map(({ clientId, messages, bytes, oldestAt }) => ({
    "from client": String(clientId),
    messages: String(messages),
    octets: String(bytes),
    "oldest of": Number(oldestAt) > 0 ? new Date(Number(oldestAt)).toISOString() : "-",
  }));
  return [
    `for the broker: ${forBroker.messages} messages, ${forBroker.bytes} octets`,
    `for clients:    ${forClients.messages} messages, ${forClients.bytes} octets`,
    `dead letters:   ${deadLetters}`,
    ...(storeFails ? ["THE STORE IS FAILING: QoS 1 and 2 that need it are refused; see the log"] : []),
    ...(reasons.length > 0 ? [`dropped or refused since the start: ${reasons.join(", ")}`] : []),
    ...(fromClients.length > 0 ? ["", table(fromClients, "")] : []),
    ...(toClients.length > 0 ? ["", table(toClients, "")] : []),
  ].join("\n");
}

function age(seconds: unknown): string {
  return typeof seconds === "number" ? duration(seconds) : "-";
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}
