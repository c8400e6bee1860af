/**
 * `decode --payload TOPIC HEX`: decodes a payload by the configuration's declarations. Also makes samples of each
 * declaration for `check`.
 */
import { basename } from "node:path";
import { loadConfig } from "../config/load.ts";
import type { PayloadDeclaration } from "../config/payload-options.ts";
import { codecOf, payloadPolicy, scriptEntries } from "../config/payloads.ts";
import type { GatewayConfig } from "../config/schema.ts";
import { readScripts } from "../config/scripts.ts";
import { sampleOfFields, sampleOfFormat } from "../payload/sample.ts";
import { fromHex, toHex } from "../payload/value.ts";
import type { Answer } from "../script/question.ts";
import { ScriptRunner } from "../script/runner.ts";
import type { Loaded } from "../script/sandbox.ts";
import { systemTimers } from "../transports/timers.ts";
import { err, out } from "./output.ts";

export interface PayloadOptions {
  readonly config: string;
  /** The client id of the sender, because declarations may be for some clients only. */
  readonly client?: string;
}

const exitCodes = { decoded: 0, unusable: 1, asItIs: 2 } as const;

/** Exit status 0: decoded, 2: no declaration applies, 1: the input cannot be read. */
export async function decodePayload(
  topicName: string,
  hex: readonly string[],
  { config, client }: PayloadOptions,
): Promise<void> {
  const octets = fromHex(hex.join("").replace(/0x|[\s:,-]/gi, ""));
  if (!octets || octets.byteLength === 0) return fail("give the payload's octets in hexadecimal, e.g. 00d730");
  const decoded = await decodedBy(loadConfig(config), client, topicName, octets);
  process.exitCode = decoded?.is === "made" ? exitCodes.decoded : exitCodes.asItIs;
  if (!decoded)
    return out(
      `${topicName}: no declaration in ${config} is for it${client === undefined ? " and every client (--client NAME asks for one)" : ` and ${client}`}; it is forwarded unchanged\n`,
    );
  if (decoded.is === "unfit") return out(`${topicName}: ${decoded.why}; it is forwarded unchanged\n`);
  out(`${decoded.topicName} ${Buffer.from(decoded.payload).toString()}\n`);
  if (decoded.rawTopicName !== undefined) out(`${decoded.rawTopicName} ${toHex(octets)} (octets)\n`);
}

type Fate = ReturnType<NonNullable<ReturnType<typeof payloadPolicy>>["up"]>;

async function decodedBy(
  config: GatewayConfig,
  client: string | undefined,
  topicName: string,
  payload: Uint8Array,
): Promise<Fate> {
  const policy = payloadPolicy(config.payloads);
  const entry = scriptEntries(config.payloads, policy)?.up(client, topicName);
  if (!entry) return policy?.up(client, topicName, payload);
  const told = (say: string) => err(`${say}\n`);
  return withScripts(config, told, async (runner) => {
    const variables = { topic: topicName, ...(client !== undefined && { client }) };
    const { file, fPort } = entry;
    const question = { file, is: "up", payload, fPort, recvTime: Date.now(), variables } as const;
    const answer = await new Promise<Answer>((resolve) => {
      const asked = runner.ask(question, "decode", resolve);
      if (typeof asked !== "function") resolve(asked);
    });
    if (answer.is === "asItIs") return { is: "unfit", why: `${file} has no decodeUplink` };
    if (answer.is === "unfit") return answer;
    for (const warning of answer.warnings) err(`${file} warns: ${warning}\n`);
    return entry.made(client, topicName, answer.payload);
  });
}

/** Runs `work` with a process for scripts, as the gateway has it. */
async function withScripts<T>(
  config: GatewayConfig,
  told: (say: string) => void,
  work: (runner: ScriptRunner) => Promise<T>,
): Promise<T> {
  const { runMsMax, memoryMegabytesMax } = config.scripts;
  const limits = { runMs: runMsMax, memoryBytes: memoryMegabytesMax * 2 ** 20 };
  const runner = new ScriptRunner(limits, systemTimers, (_level, say) => told(say));
  try {
    await runner.start(readScripts(config.payloads));
    return await work(runner);
  } finally {
    await runner.close();
  }
}

/** Loads each script as the gateway does, and answers with the results; empty: there are no scripts. */
export function loadedScripts(config: GatewayConfig): Promise<readonly Loaded[]> {
  if (config.payloads.every(({ script }) => script === undefined)) return Promise.resolve([]);
  // Faults of scripts are in the result, so nothing is reported here.
  return withScripts(
    config,
    () => {},
    async ({ scripts }) => scripts,
  );
}

function fail(why: string): void {
  err(`decode: ${why}\n`);
  process.exitCode = exitCodes.unusable;
}

/** One line for each declaration: its topics, and the decoded sample. */
export function payloadsInWords(
  declarations: readonly PayloadDeclaration[],
  scripts: readonly Loaded[] = [],
): string[] {
  return declarations.map((each) => {
    const { topics, clients, fields = [], format, script } = each;
    const whose = clients === "*" ? "" : ` of ${clients}`;
    if (script !== undefined) {
      const can = scripts.find(({ file }) => file === script)?.can ?? [];
      const does = can.map((is) => (is === "up" ? "decodes what devices say" : "encodes what they are told"));
      return `${topics}${whose}: ${basename(script)} ${does.join(", and ")}`;
    }
    const sample = format ? sampleOfFormat(format) : sampleOfFields(fields);
    const reading = codecOf(each)?.read(sample);
    const made = reading?.ok ? JSON.stringify(reading.value) : "?";
    return `${topics}${whose}${format ? `, ${format}` : ""}: ${toHex(sample)} says ${made}`;
  });
}
