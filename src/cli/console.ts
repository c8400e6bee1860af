/**
 * `console`: a link that logs a browser in, and tokens for programs. The command asks the running gateway over the
 * socket in the store's folder.
 */
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { type Command, Option } from "commander";
import { loadConfig } from "../config/load.ts";
import { hashOfPassword, passwordCharactersMin } from "../config/password-hash.ts";
import { GatewayError } from "../errors.ts";
import { commands, type OutputOf } from "../runtime/commands.ts";
import type { StoreOptions } from "../storage/options.ts";
import { ask } from "./ask.ts";
import { err, out } from "./output.ts";
import { sayProblems } from "./problems.ts";
import { say, table } from "./table.ts";

type Role = OutputOf<"token.list">[number]["role"];

interface TokenOptions {
  readonly config?: string;
}

interface Options {
  readonly config?: string;
  readonly viewer?: boolean;
  readonly lan?: boolean;
  readonly anywhere?: boolean;
}

export function addConsoleCommand(
  program: Command,
  configFile: readonly [string, string],
  defaultConfigFile: () => string,
): void {
  const console = program
    .command("console")
    .description("print a link that opens the running gateway's console in a browser and logs in")
    .option(...configFile)
    .option("--viewer", "the link logs in with the role viewer, which can change nothing")
    .option("--lan", "set a password, and serve the console to private addresses too (api.host must let them in)")
    .option("--anywhere", "print the link even without a terminal: everybody who reads it can log in")
    .action((options: Options) => openConsole(options, defaultConfigFile).catch(sayProblems));
  const storeOf = ({ config }: TokenOptions) => loadConfig(config ?? defaultConfigFile()).store;
  const socketOf = (options: TokenOptions) => join(storeOf(options).folder, "control.sock");
  const token = console.command("token").description("tokens for programs that use /api/v1");
  token
    .command("list", { isDefault: true })
    .description(commands["token.list"].description)
    .option(...configFile)
    .action((options: TokenOptions) => listTokens(socketOf(options)).catch(sayProblems));
  token
    .command("add")
    .description(commands["token.add"].description)
    .argument("<name>", "its name, for people and the log")
    .addOption(new Option("--role <role>", "its rights").choices(["viewer", "operator"]).makeOptionMandatory())
    .option(...configFile)
    .action((name: string, options: TokenOptions & { role: Role }) =>
      addToken(storeOf(options), name, options.role).catch(sayProblems),
    );
  token
    .command("remove")
    .description(commands["token.remove"].description)
    .argument("<name>", "its name")
    .option(...configFile)
    .action((name: string, options: TokenOptions) => removeToken(socketOf(options), name).catch(sayProblems));
}

async function listTokens(socket: string): Promise<void> {
  const all = await ask(socket, "token.list", {});
  const lines = all.map(({ name, role, added, isManaged }) => ({
    name,
    role,
    since: added ?? "-",
    in: isManaged ? "managed.json" : "api.tokens",
  }));
  say(table(lines, "no program has a token"));
}

/**
 * The token is made here, so the gateway gets only its hash. It is written alone to standard output, for a file or a
 * pipe.
 */
async function addToken(store: StoreOptions, name: string, role: Role): Promise<void> {
  const token = `mqttsn_${randomBytes(32).toString("base64url")}`;
  const hash = createHash("sha256").update(token).digest("hex");
  const entry = JSON.stringify({ name, role, sha256: hash });
  const isKept = store.kind !== "memory";
  if (isKept) await ask(join(store.folder, "control.sock"), "token.add", { name, role, hash });
  out(`${token}\n`);
  err(
    "It is not shown again. A program sends it as the header Authorization: Bearer TOKEN.\n" +
      (isKept
        ? ""
        : `The store is in memory and keeps no token: add this to api.tokens, and start the gateway again:\n${entry}\n`),
  );
}

async function removeToken(socket: string, name: string): Promise<void> {
  await ask(socket, "token.remove", { name });
  say(`the token ${name} is not valid any more`);
}

async function openConsole(options: Options, defaultConfigFile: () => string): Promise<void> {
  if (!process.stdout.isTTY && !options.anywhere)
    throw refusal(
      "standard output is not a terminal, and everybody who reads the link can log in; use --anywhere to print it nevertheless",
    );
  const { store, api } = loadConfig(options.config ?? defaultConfigFile());
  const socket = join(store.folder, "control.sock");
  if (!options.lan) {
    const { links } = await ask(socket, "console.link", { role: options.viewer ? "viewer" : "operator" });
    return out(`${links.join("\n")}\n`);
  }
  const hash = await hashOfPassword(await newPassword());
  const { links } = await ask(socket, "console.password", { hash });
  const isBound = /^(127\.|::1$|localhost$)/.test(api.host);
  out(
    "The password is set; all users have to log in again.\n" +
      (isBound
        ? `Only this machine can reach the console yet: set api.host to "0.0.0.0" and start the gateway again.\n`
        : "From now on every machine at a private address (10/8, 172.16/12, 192.168/16, …) that reaches this port can ask " +
          "for the page. The connection is not encrypted: everybody who can read the traffic of that network can read the password.\n") +
      `${links.join("\n")}\n`,
  );
}

/** At a terminal the password is typed twice and not shown. Otherwise it is the first line of standard input. */
async function newPassword(): Promise<string> {
  const isTyped = process.stdin.isTTY === true;
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: isTyped });
  // When the input ends, readline never answers the question, and the program would end without a message.
  const end = new Promise<never>((_, reject) =>
    lines.once("close", () =>
      reject(refusal("\nthere was no password: type it at a terminal, or give it as a line of standard input")),
    ),
  );
  end.catch(() => {}); // after the last question no code waits for this promise
  const answer = () => Promise.race([lines.question(""), end]);
  try {
    if (isTyped) out(`Password for the console, at least ${passwordCharactersMin} characters: `);
    const password = await answer();
    if (password.length < passwordCharactersMin) throw refusal(`\nat least ${passwordCharactersMin} characters`);
    if (!isTyped) return password;
    out("\nOnce more: ");
    if ((await answer()) !== password) throw refusal("\nthe two passwords are different");
    out("\n");
    return password;
  } finally {
    lines.close();
  }
}

function refusal(say: string): GatewayError {
  return new GatewayError("ERR_CONTROL", {}, { say });
}
