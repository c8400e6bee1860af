/**
 * `capture`: records the datagrams between a running gateway and its devices in a file, for Wireshark, or on the
 * terminal.
 */
import { createWriteStream, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { datagramIn, gatewayPort } from "../capture/capture-file.ts";
import { PcapngReader } from "../capture/pcapng.ts";
import { GatewayError } from "../errors.ts";
import type { InputOf } from "../runtime/commands.ts";
import { askForOctets } from "./ask.ts";
import { datagramLine } from "./datagram-line.ts";
import { err, out } from "./output.ts";

export interface CaptureCommandOptions {
  /** The file; "-": standard output; undefined: datagrams are written in words. */
  readonly write?: string;
  readonly client?: string;
  readonly transport?: string;
  /** False with --no-payload. */
  readonly payload: boolean;
}

/**
 * Captures until the user interrupts it, the reader ends, or the gateway ends.
 * @throws {GatewayError} ERR_CONTROL, ERR_BACKUP
 */
export async function capture(socketPath: string, options: CaptureCommandOptions): Promise<void> {
  const { write, client, transport, payload } = options;
  const toTerminal = write === "-" && process.stdout.isTTY === true;
  if (toTerminal)
    throw new GatewayError(
      "ERR_CONTROL",
      {},
      { say: `-w - is for a program: mqtt-sn-gateway capture ${intoWireshark}` },
    );
  const input: InputOf<"capture"> = {
    ...(client !== undefined && { client }),
    ...(transport !== undefined && { transport }),
    payload: payload ? "yes" : "no",
  };
  const ending = new AbortController();
  const end = () => ending.abort();
  process.once("SIGINT", end).once("SIGTERM", end);
  const target = write === undefined ? new Words() : await fileOrOutput(write, end);
  try {
    for await (const octets of askForOctets(socketPath, "capture", input, ending.signal)) {
      if (target.begins())
        err(`capturing; Ctrl-C ends it. Live in Wireshark: mqtt-sn-gateway capture ${intoWireshark}\n`);
      await target.take(octets);
    }
    err("the gateway has ended\n");
  } catch (error) {
    if (ending.signal.aborted) return;
    if (!isCutOff(error)) throw error;
    err("the gateway has ended\n");
  } finally {
    process.removeListener("SIGINT", end).removeListener("SIGTERM", end);
    await target.end();
  }
}

/** A gateway that ends or crashes closes its connections. */
function isCutOff(error: unknown): boolean {
  const cause = error instanceof GatewayError ? error.cause : error;
  return cause instanceof Error && "code" in cause && cause.code === "ECONNRESET";
}

const intoWireshark = `-w - | wireshark -k -i - -o mqttsn.udp.port:${gatewayPort}`;

interface Target {
  /** True once, at the first octets. */
  begins(): boolean;
  take(octets: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

class Words implements Target {
  readonly #reader = new PcapngReader();
  #isBegun = false;

  begins(): boolean {
    const isFirst = !this.#isBegun;
    this.#isBegun = true;
    return isFirst;
  }

  async take(octets: Uint8Array): Promise<void> {
    for (const packet of this.#reader.push(octets)) {
      const datagram = datagramIn(packet);
      if (datagram) out(`${datagramLine(datagram)}\n`);
    }
  }

  async end(): Promise<void> {
    if (this.#reader.dropped > 0)
      err(`${this.#reader.dropped} datagrams are lost: this program read them too slowly\n`);
  }
}

class Octets implements Target {
  readonly #stream: NodeJS.WriteStream | WriteStream;
  readonly #reader = new PcapngReader();
  #isBegun = false;
  #isGone = false;
  #count = 0;

  constructor(stream: NodeJS.WriteStream | WriteStream, onGone: () => void) {
    this.#stream = stream;
    stream.once("error", () => {
      this.#isGone = true;
      onGone();
    });
  }

  begins(): boolean {
    const isFirst = !this.#isBegun;
    this.#isBegun = true;
    return isFirst;
  }

  async take(octets: Uint8Array): Promise<void> {
    this.#count += this.#reader.push(octets).length;
    if (this.#isGone || this.#stream.write(octets)) return;
    // Meanwhile datagrams wait in the gateway, which reports those that it has no room for.
    await new Promise<void>((resolve) => {
      for (const event of ["drain", "close", "error"]) this.#stream.once(event, () => resolve());
    });
  }

  async end(): Promise<void> {
    if (!this.#isGone && this.#stream !== process.stdout) await finished(this.#stream.end()).catch(() => {});
    const lost = this.#reader.dropped > 0 ? `, ${this.#reader.dropped} lost: this program read them too slowly` : "";
    err(`${this.#count} datagrams${lost}\n`);
  }
}

/** @throws {GatewayError} ERR_CONTROL when the file cannot be written. */
async function fileOrOutput(path: string, onGone: () => void): Promise<Target> {
  if (path === "-") return new Octets(process.stdout, onGone);
  const stream = createWriteStream(path, { mode: 0o600 });
  await new Promise<void>((resolve, reject) => {
    stream.once("open", () => resolve());
    stream.once("error", (cause) =>
      reject(
        new GatewayError("ERR_CONTROL", { path }, { cause, say: `the capture cannot be written: ${cause.message}` }),
      ),
    );
  });
  return new Octets(stream, onGone);
}
