/**
 * `sessions`, `queue`, `backup`, `restore`: commands of an operator to a running gateway, over the socket in the
 * store's folder.
 */
import { join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { loadConfig } from "../config/load.ts";
import { commands, type OutputOf } from "../runtime/commands.ts";
import { writeBackup } from "../storage/backup.ts";
import { ask, askForOctets } from "./ask.ts";
import type { CaptureCommandOptions } from "./capture.ts";
import { wholeNumber } from "./device-options.ts";
import { err } from "./output.ts";
import { type PlaceOptions, placeOf, withPlace } from "./place.ts";
import { sayProblems } from "./problems.ts";
import { Progress, watched } from "./progress.ts";
import { again, type Choice, chosenSessions, sessionOrders, sessionStates } from "./session-list.ts";
import { statusLines } from "./status.ts";
import { say, table } from "./table.ts";

interface ListOptions extends Choice, PlaceOptions {
  readonly json?: boolean;
  readonly watch?: number | true;
}

const watchSeconds = 2;

type Depth = OutputOf<"queue.depth">;
type ConfigOption = readonly [string, string];

/** Which gateway a command asks. */
interface Asked {
  readonly configFile: ConfigOption;
  readonly fileOf: (options: { config?: string }) => string;
  readonly socketOf: (options: { config?: string }) => string;
  readonly placeIn: (options: PlaceOptions) => ReturnType<typeof placeOf>;
}

export function addOperatorCommands(program: Command, configFile: ConfigOption, defaultConfigFile: () => string): void {
  const fileOf = ({ config }: { config?: string }) => config ?? defaultConfigFile();
  const asked: Asked = {
    configFile,
    fileOf,
    socketOf: (options) => socketIn(fileOf(options)),
    placeIn: (options) => placeOf(options, defaultConfigFile),
  };
  addStatus(program, asked);
  addSessions(program, asked);
  addQueue(program, asked);
  addJoin(program, asked);
  addTopic(program, asked);
  addDevice(program, asked);
  addFiles(program, asked);
}

function addStatus(program: Command, { configFile, placeIn }: Asked): void {
  withPlace(program.command("status"), configFile)
    .description("the state of the running gateway in a few lines; in a pair also which gateway is active")
    .option("--json", "everything, as JSON")
    .action(
      plainly(async (options: PlaceOptions & { json?: boolean }) => {
        const overview = await ask(placeIn(options), "overview.show", {});
        say(options.json ? JSON.stringify(overview, undefined, 2) : statusLines(overview).join("\n"));
      }),
    );
}

function addSessions(program: Command, { configFile, placeIn }: Asked): void {
  const sessions = program.command("sessions").description("the clients that the running gateway knows");
  withPlace(sessions.command("list", { isDefault: true }), configFile)
    .description(commands["sessions.list"].description)
    .option("--json", "as JSON")
    .addOption(new Option("--state <state>", "only clients in this state").choices(sessionStates))
    .option("--match <pattern>", "only clients whose id matches, with * and ?")
    .addOption(new Option("--sort <by>", "the highest value first; client: by name").choices(sessionOrders))
    .option("--watch [seconds]", "again and again", wholeNumber(1, 3_600))
    .action(
      plainly(async (options: ListOptions) => {
        const show = async () => {
          const all = chosenSessions(await ask(placeIn(options), "sessions.list", {}), options);
          say(options.json ? JSON.stringify(all, undefined, 2) : table(all.map(sessionLine), "no sessions"));
        };
        if (options.watch === undefined) return show();
        return again(options.watch === true ? watchSeconds : options.watch, show);
      }),
    );
  withPlace(sessions.command("show"), configFile)
    .description(commands["sessions.show"].description)
    .argument("<client>", "client id")
    .action(
      plainly(async (client: string, options: PlaceOptions) => {
        say(JSON.stringify(await ask(placeIn(options), "sessions.show", { client }), undefined, 2));
      }),
    );
  withPlace(sessions.command("drop"), configFile)
    .description(commands["sessions.drop"].description)
    .argument("<client>", "client id")
    .action(
      plainly(async (client: string, options: PlaceOptions) => {
        await ask(placeIn(options), "sessions.drop", { client });
        say(`the session of ${client} has ended`);
      }),
    );
}

function addQueue(program: Command, { configFile, placeIn }: Asked): void {
  const queue = program.command("queue").description("the messages that wait in the running gateway, and dead letters");
  withPlace(queue.command("depth", { isDefault: true }), configFile)
    .description(commands["queue.depth"].description)
    .option("--json", "as JSON")
    .action(
      plainly(async (options: PlaceOptions & { json?: boolean }) => {
        const depth = await ask(placeIn(options), "queue.depth", {});
        say(options.json ? JSON.stringify(depth, undefined, 2) : sayDepth(depth));
      }),
    );
  withPlace(queue.command("show"), configFile)
    .description(commands["queue.show"].description)
    .requiredOption("--client <id>", "client id")
    .option("--json", "as JSON")
    .action(
      plainly(async (options: PlaceOptions & { client: string; json?: boolean }) => {
        const found = await ask(placeIn(options), "queue.show", { client: options.client });
        say(options.json ? JSON.stringify(found, undefined, 2) : sayQueueOf(found));
      }),
    );
  withPlace(queue.command("dead"), configFile)
    .description(commands["queue.dead"].description)
    .option("--json", "as JSON, with payloads in base64")
    .action(
      plainly(async (options: PlaceOptions & { json?: boolean }) => {
        const letters = await ask(placeIn(options), "queue.dead", {});
        say(options.json ? JSON.stringify(letters, undefined, 2) : table(letters.map(letterLine), "no dead letters"));
      }),
    );
  withPlace(queue.command("republish"), configFile)
    .description(commands["queue.republish"].description)
    .argument("[number...]", "their numbers; without numbers, all", asNumbers, [])
    .action(
      plainly(async (ids: number[], options: PlaceOptions) => {
        const { republished } = await ask(placeIn(options), "queue.republish", someOf(ids));
        say(`${republished} sent`);
      }),
    );
  withPlace(queue.command("purge"), configFile)
    .description(
      `${commands["queue.purge"].description}; with --client or --topic: ${commands["queue.clear"].description}`,
    )
    .argument("[number...]", "numbers of dead letters; without numbers, all", asNumbers, [])
    .option("--client <id>", "publications of this client that the broker does not have")
    .option("--topic <filter>", "publications under matching topics that the broker does not have")
    .action(
      plainly(async (ids: number[], options: PlaceOptions & { client?: string; topic?: string }) => {
        const { client, topic } = options;
        if (client !== undefined || topic !== undefined) {
          if (ids.length > 0)
            throw new InvalidArgumentError("give either numbers of dead letters, or --client and --topic");
          const chosen = { ...(client !== undefined && { client }), ...(topic !== undefined && { topic }) };
          const { purged } = await ask(placeIn(options), "queue.clear", chosen);
          return say(`${purged} given up`);
        }
        const { purged } = await ask(placeIn(options), "queue.purge", someOf(ids));
        say(`${purged} deleted`);
      }),
    );
}

function addJoin(program: Command, { configFile, socketOf }: Asked): void {
  program
    .command("join")
    .description(commands["join.open"].description)
    .requiredOption("--for <time>", "for how long: 120s, 5m; 0s ends it", asSeconds)
    .option(...configFile)
    .action(
      plainly(async (options: { for: number; config?: string }) => {
        await ask(socketOf(options), "join.open", { seconds: options.for });
        say(
          options.for === 0
            ? "no further device is admitted"
            : `a device that is refused within ${options.for} s is admitted when it tries again`,
        );
      }),
    );
}

function addTopic(program: Command, { configFile, placeIn }: Asked): void {
  const topic = program.command("topic").description("predefined topic ids");
  withPlace(topic.command("list", { isDefault: true }), configFile)
    .description("predefined topic ids, of the configuration and by hand")
    .action(
      plainly(async (options: PlaceOptions) => {
        const { predefined } = await ask(placeIn(options), "topics.list", {});
        const rows = predefined.map(({ id, name, client = "all", isByHand }) => ({
          id: String(id),
          topic: name,
          client,
          from: isByHand ? "by hand" : "configuration",
        }));
        say(table(rows, "no predefined topic id"));
      }),
    );
  withPlace(topic.command("add"), configFile)
    .description(commands["topics.add"].description)
    .argument("<id>", "1 to 65534", wholeNumber(1, 65_534))
    .argument("<name>", "the topic")
    .option("--client <id>", "only for this client, or those that fit the pattern")
    .action(
      plainly(async (id: number, name: string, { client, ...options }: PlaceOptions & { client?: string }) => {
        await ask(placeIn(options), "topics.add", { id, name, ...(client !== undefined && { client }) });
        say(`topic id ${id} is ${name}${client === undefined ? "" : ` for ${client}`}`);
      }),
    );
  withPlace(topic.command("remove"), configFile)
    .description(commands["topics.remove"].description)
    .argument("<id>", "1 to 65534", wholeNumber(1, 65_534))
    .option("--client <id>", "the client or pattern of the id; without it, the id for all clients")
    .action(
      plainly(async (id: number, { client, ...options }: PlaceOptions & { client?: string }) => {
        await ask(placeIn(options), "topics.remove", { id, ...(client !== undefined && { client }) });
        say(`topic id ${id}${client === undefined ? "" : ` of ${client}`} is removed`);
      }),
    );
}

function addDevice(program: Command, { configFile, socketOf }: Asked): void {
  const device = program.command("device").description("devices with a key of their own");
  device
    .command("list", { isDefault: true })
    .description(commands["device.list"].description)
    .option(...configFile)
    .action(
      plainly(async (options: { config?: string }) => {
        const all = await ask(socketOf(options), "device.list", {});
        say(
          table(
            all.map(({ name, added }) => ({ name, "key since": added })),
            "no device has a key here",
          ),
        );
      }),
    );
  for (const [word, name] of [
    ["add", "device.add"],
    ["rotate", "device.rotate"],
  ] as const)
    device
      .command(word)
      .description(commands[name].description)
      .argument("<name>", "its name, which is its client id")
      .option(...configFile)
      .action(
        plainly(async (device: string, options: { config?: string }) => {
          // A file or a pipe would store a secret that must be shown only once.
          if (!process.stdout.isTTY) {
            err("a key is shown only on a terminal\n");
            process.exitCode = 1;
            return;
          }
          const { link } = await ask(socketOf(options), name, { name: device });
          say(`${link}\nThis is its identity and its key, for the device or as a QR code. It is not shown again.`);
        }),
      );
  device
    .command("remove")
    .description(commands["device.remove"].description)
    .argument("<name>", "its name")
    .option(...configFile)
    .action(
      plainly(async (name: string, options: { config?: string }) => {
        await ask(socketOf(options), "device.remove", { name });
        say(`the key of ${name} is removed`);
      }),
    );
}

/** What is written to files, and read from them. */
function addFiles(program: Command, { configFile, fileOf, socketOf }: Asked): void {
  program
    .command("backup")
    .description(commands.backup.description)
    .argument("<file>", "where to")
    .option(...configFile)
    .action(
      plainly(async (file: string, options: { config?: string }) => {
        const progress = new Progress("backup", "octets");
        const octets = watched(askForOctets(socketOf(options), "backup", {}), progress);
        const bytes = await writeBackup(file, octets).finally(() => progress.end());
        say(`${file}: ${bytes} octets`);
      }),
    );
  program
    .command("capture")
    .description(commands.capture.description)
    .option("-w, --write <file>", "the file, - for standard output; without it, messages are shown in words")
    .option("--client <id>", "the messages from and to one client")
    .option("--transport <name>", "the messages of one transport")
    .option("--no-payload", "leave out payloads")
    .option(...configFile)
    .action(
      plainly(async (options: CaptureCommandOptions & { config?: string }) =>
        (await import("./capture.ts")).capture(socketOf(options), options),
      ),
    );
  program
    .command("restore")
    .description(
      "replace the store by a backup, or put it into the empty stores of a fleet; no gateway that uses them may run",
    )
    .argument("<file>", "where from")
    .option(...configFile)
    .action(
      plainly(async (file: string, options: { config?: string }) =>
        (await import("./restore.ts")).restore(file, fileOf(options)),
      ),
    );
}

function asSeconds(text: string): number {
  const [, number, unit] = /^(\d{1,5})(s|m)$/.exec(text) ?? [];
  const seconds = Number(number) * (unit === "m" ? 60 : 1);
  if (number === undefined || seconds > 3_600) throw new InvalidArgumentError("a time, as 120s or 5m, an hour at most");
  return seconds;
}

/** Reports problems in plain lines. */
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

/** No number given: all. */
function someOf(ids: readonly number[]): { ids?: number[] } {
  return ids.length === 0 ? {} : { ids: [...ids] };
}

function sessionLine(session: OutputOf<"sessions.list">[number]): Record<string, string> {
  const { clientId, state, peer, secondsSilent, waitingMessages, waitingSeconds } = session;
  const { owedToBroker, droppedMessages, linkUp } = session;
  return {
    client: clientId,
    state,
    at: peer ?? "-",
    "silent for": duration(secondsSilent),
    "for it": String(waitingMessages),
    "oldest for": age(waitingSeconds),
    dropped: String(droppedMessages),
    "for the broker": String(owedToBroker),
    link: linkUp ? "up" : "down",
  };
}

function letterLine(letter: OutputOf<"queue.dead">[number]): Record<string, string> {
  const { id, clientId, direction, reason, topic, qos, bytes, at } = letter;
  return {
    number: String(id),
    client: clientId,
    to: direction === "up" ? "broker" : "client",
    why: reason,
    topic,
    QoS: String(qos),
    octets: String(bytes),
    at: at > 0 ? new Date(at).toISOString() : "-",
  };
}

function sayDepth({ forBroker, forClients, deadLetters, dropped, storeFails }: Depth): string {
  const toClients = forClients.clients.map(({ clientId, state, messages, bytes, waitingSeconds, dropped }) => ({
    "for client": clientId,
    state,
    messages: String(messages),
    octets: String(bytes),
    "oldest waits for": age(waitingSeconds),
    dropped: String(dropped),
  }));
  const reasons = Object.entries(dropped).map(([reason, count]) => `${reason} ${count}`);
  const fromClients = forBroker.clients.map(({ clientId, messages, bytes, oldestAt }) => ({
    "from client": clientId,
    messages: String(messages),
    octets: String(bytes),
    "oldest of": oldestAt > 0 ? new Date(oldestAt).toISOString() : "-",
  }));
  return [
    `for the broker: ${forBroker.messages} messages, ${forBroker.bytes} octets`,
    `for clients:    ${forClients.messages} messages, ${forClients.bytes} octets`,
    `dead letters:   ${deadLetters}`,
    ...(storeFails ? ["THE STORE IS FAILING: messages at QoS 1 and 2 that need it are refused; see the log"] : []),
    ...(reasons.length > 0 ? [`dropped or refused since the start: ${reasons.join(", ")}`] : []),
    ...(fromClients.length > 0 ? ["", table(fromClients, "")] : []),
    ...(toClients.length > 0 ? ["", table(toClients, "")] : []),
  ].join("\n");
}

function sayQueueOf({ underWay, onDisk }: OutputOf<"queue.show">): string {
  const lines = [
    ...underWay.map(({ packet, topic, qos, bytes, accepted, stage, deaths }) => ({
      packet,
      topic,
      QoS: String(qos),
      octets: String(bytes),
      "client was answered": accepted ? "yes" : "no",
      at: stage,
      suspect: deaths === undefined ? "-" : `${deaths} deaths`,
    })),
    ...onDisk.map(({ topic, qos, bytes }) => ({
      packet: "publish",
      topic,
      QoS: String(qos),
      octets: String(bytes),
      "client was answered": "yes",
      at: "on disk",
      suspect: "-",
    })),
  ];
  return table(lines, "none of its publications waits for the broker");
}

function age(seconds: number | undefined): string {
  return seconds === undefined ? "-" : duration(seconds);
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}
