/** `decode --payload TOPIC HEX`: what the configuration's declarations make of a payload; and samples of each for `check`. */
import { loadConfig } from "../config/load.ts";
import type { PayloadDeclaration } from "../config/payload-options.ts";
import { codecOf, payloadPolicy } from "../config/payloads.ts";
import { sampleOfFields, sampleOfFormat } from "../payload/sample.ts";
import { fromHex, toHex } from "../payload/value.ts";
import { err, out } from "./output.ts";

export interface PayloadOptions {
  readonly config: string;
  /** The client that says it; declarations may be for some clients only. */
  readonly client?: string;
}

const exitCodes = { decoded: 0, unusable: 1, asItIs: 2 } as const;

/** Ends with 0: decoded, 2: it goes as it is, 1: there is nothing that can be read. */
export function decodePayload(topicName: string, hex: readonly string[], { config, client }: PayloadOptions): void {
  const octets = fromHex(hex.join("").replace(/0x|[\s:,-]/gi, ""));
  if (!octets || octets.byteLength === 0) return fail("give the payload's octets in hexadecimal, e.g. 00d730");
  const decoded = payloadPolicy(loadConfig(config).payloads)?.up(client, topicName, octets);
  process.exitCode = decoded?.is === "made" ? exitCodes.decoded : exitCodes.asItIs;
  if (!decoded)
    return out(
      `${topicName}: no declaration in ${config} is for it${client === undefined ? " and every client (--client NAME asks for one)" : ` and ${client}`}; it goes as it is\n`,
    );
  if (decoded.is === "unfit") return out(`${topicName}: ${decoded.why}; it goes as it is\n`);
  out(`${decoded.topicName} ${Buffer.from(decoded.payload).toString()}\n`);
  if (decoded.rawTopicName !== undefined) out(`${decoded.rawTopicName} ${toHex(octets)} (octets)\n`);
}

function fail(why: string): void {
  err(`decode: ${why}\n`);
  process.exitCode = exitCodes.unusable;
}

/** One line for each declaration: its topics, and what it makes of a sample. */
export function payloadsInWords(declarations: readonly PayloadDeclaration[]): string[] {
  return declarations.map((each) => {
    const { topics, clients, fields = [], format } = each;
    const sample = format ? sampleOfFormat(format) : sampleOfFields(fields);
    const reading = codecOf(each)?.read(sample);
    const made = reading?.ok ? JSON.stringify(reading.value) : "?";
    const whose = clients === "*" ? "" : ` of ${clients}`;
    return `${topics}${whose}${format ? `, ${format}` : ""}: ${toHex(sample)} says ${made}`;
  });
}
