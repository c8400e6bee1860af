/** A whole capture file, for commands that need all of it. */
import { readFileSync } from "node:fs";
import { datagramIn, type ReadDatagram } from "../capture/capture-file.ts";
import { PcapngReader, pcapngMark } from "../capture/pcapng.ts";
import { GatewayError } from "../errors.ts";

/**
 * The first octets of pcap files, as `tcpdump -w` writes them: in both orders of octets, with microseconds and
 * nanoseconds.
 */
const olderMarks: ReadonlySet<string> = new Set(["a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1"]);

/** Names the format of octets that are no capture, if the format is known. */
export function otherKind(bytes: Uint8Array): string | undefined {
  if (!olderMarks.has(Buffer.from(bytes.subarray(0, 4)).toString("hex"))) return undefined;
  return "this is the older format, pcap: editcap -F pcapng OLD NEW makes a pcapng file of it";
}

export function isPcapng(bytes: Uint8Array): boolean {
  return pcapngMark.every((octet, i) => bytes[i] === octet);
}

/**
 * The datagrams in the order of the file.
 * @throws {GatewayError} ERR_CONTROL when the file cannot be read, or contains none.
 */
export function readCapture(path: string, port: number): readonly ReadDatagram[] {
  const fail = (say: string, cause?: unknown) =>
    new GatewayError("ERR_CONTROL", { path }, { cause, say: `${path}: ${say}` });
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error), error);
  }
  const reader = new PcapngReader();
  const datagrams = reader.push(bytes).flatMap((packet) => datagramIn(packet, port) ?? []);
  reader.end();
  if (reader.fault !== undefined) throw fail(otherKind(bytes) ?? reader.fault);
  if (datagrams.length === 0) throw fail(nothingFor(port));
  return datagrams;
}

export function nothingFor(port: number): string {
  return `it has no UDP datagram to or from port ${port}; choose another port with --port`;
}
