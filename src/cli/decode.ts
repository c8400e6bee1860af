/**
 * `decode`: explains datagrams, from the command line, from standard input (hexadecimal, one datagram a line, or
 * pcapng) or from a pcapng file. The exit status is 0 when all are messages, 2 when one is not, 1 when nothing can be
 * read.
 */
import { createReadStream } from "node:fs";
import process from "node:process";
import { StringDecoder } from "node:string_decoder";
import { datagramIn, gatewayPort } from "../capture/capture-file.ts";
import { PcapngReader, pcapngMark } from "../capture/pcapng.ts";
import { decode } from "../wire/v12/codec.ts";
import { describe } from "../wire/v12/words.ts";
import { datagramLine } from "./datagram-line.ts";
import { oneLine } from "./one-line.ts";
import { err, out } from "./output.ts";
import { isPcapng, nothingFor, otherKind } from "./read-capture.ts";

export interface DecodeOptions {
  /** A pcapng file, or a file of lines; "-": standard input. Undefined: standard input too, if no octets are given. */
  readonly read?: string;
  /** One line for each datagram. */
  readonly oneLine?: boolean;
  /** The gateway's port, for captures without directions. */
  readonly port?: number;
}

const exitCodes = { allMessages: 0, unusable: 1, notAllMessages: 2 } as const;
/** The longest message in hexadecimal, with separators. */
const lineCharactersMax = 65_535 * 6;

export async function decodeCommand(hex: readonly string[], options: DecodeOptions): Promise<void> {
  const { read } = options;
  if (hex.length > 0) {
    const said = new Said(options);
    said.line(hex.join(""));
    return end(said);
  }
  if (read === undefined && process.stdin.isTTY === true) {
    err("decode: give the octets of one datagram in hexadecimal, e.g. 0216; or -r FILE; or pipe something in\n");
    process.exitCode = exitCodes.unusable;
    return;
  }
  const said = new Said(options);
  try {
    const input = read === undefined || read === "-" ? process.stdin : createReadStream(read);
    await decodeStream(input, said, options.port ?? gatewayPort);
  } catch (error) {
    said.fail(error instanceof Error ? error.message : String(error));
  }
  end(said);
}

function end(said: Said): void {
  process.exitCode = said.exitCode;
}

async function decodeStream(input: AsyncIterable<Uint8Array>, said: Said, port: number): Promise<void> {
  let begin: Uint8Array = new Uint8Array(0);
  let reader: Packets | Lines | undefined;
  for await (const chunk of input) {
    if (!reader) {
      begin = Buffer.concat([begin, chunk]);
      if (begin.length < pcapngMark.length) continue;
      reader = isPcapng(begin) ? new Packets(said, port) : new Lines(said, otherKind(begin));
      reader.take(begin);
    } else reader.take(chunk);
    if (said.isFailed) return;
  }
  reader ??= new Lines(said, undefined);
  if (begin.length < pcapngMark.length) reader.take(begin);
  reader.end();
}

class Packets {
  readonly #said: Said;
  readonly #port: number;
  readonly #reader = new PcapngReader();

  constructor(said: Said, port: number) {
    this.#said = said;
    this.#port = port;
  }

  take(chunk: Uint8Array): void {
    for (const packet of this.#reader.push(chunk)) {
      const datagram = datagramIn(packet, this.#port);
      if (datagram)
        this.#said.datagram(datagram.payload, datagramLine(datagram), datagram.payload.length < datagram.wholeBytes);
    }
    if (this.#reader.fault !== undefined) this.#said.fail(this.#reader.fault);
  }

  end(): void {
    this.#reader.end();
    if (this.#reader.fault !== undefined) this.#said.fail(this.#reader.fault);
    else if (this.#said.count === 0) this.#said.fail(nothingFor(this.#port));
    if (this.#reader.dropped > 0) err(`decode: the capture says that it lost ${this.#reader.dropped} datagrams\n`);
  }
}

class Lines {
  readonly #said: Said;
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";

  /** `why`: the input is not lines of octets, but a known other format. */
  constructor(said: Said, why: string | undefined) {
    this.#said = said;
    if (why !== undefined) said.fail(why);
  }

  take(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.write(Buffer.from(chunk))).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#take(line);
    if (this.#rest.length > lineCharactersMax) this.#said.fail("a line is longer than any message");
  }

  end(): void {
    this.#take(this.#rest);
    if (this.#said.count === 0)
      this.#said.fail("there was no input; give the octets of a datagram in hexadecimal, e.g. 0216");
  }

  /** Empty lines, and text after a #, are comments. */
  #take(line: string): void {
    const text = line.split("#")[0]?.trim() ?? "";
    if (text !== "" && !this.#said.isFailed) this.#said.line(text);
  }
}

/** Writes the decoded datagrams, and determines the exit code. */
class Said {
  readonly #options: DecodeOptions;
  count = 0;
  isFailed = false;
  #areMessages = true;

  constructor(options: DecodeOptions) {
    this.#options = options;
  }

  get exitCode(): number {
    if (this.isFailed) return exitCodes.unusable;
    return this.#areMessages ? exitCodes.allMessages : exitCodes.notAllMessages;
  }

  line(text: string): void {
    const hex = text.replace(/0x|[\s:,-]/gi, "");
    if (hex === "" || hex.length % 2 !== 0 || /[^0-9a-f]/i.test(hex))
      return this.fail("give the octets of one datagram in hexadecimal, e.g. 0216");
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
    this.datagram(bytes, oneLine(bytes), false, true);
  }

  /** A datagram that was cut when it was captured does not count as invalid. */
  datagram(bytes: Uint8Array, line: string, isCut: boolean, isAlone = false): void {
    this.count++;
    if (!isCut && !decode(bytes).ok) this.#areMessages = false;
    if (this.#options.oneLine) return out(`${line}\n`);
    const words = isCut ? [] : describe(bytes);
    if (isAlone) return out(`${this.count > 1 ? "\n" : ""}${words.join("\n")}\n`);
    out(`${[line, ...words.map((each) => `    ${each}`)].join("\n")}\n`);
  }

  fail(why: string): void {
    if (this.isFailed) return;
    this.isFailed = true;
    err(`decode: ${why}\n`);
  }
}
