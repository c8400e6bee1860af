/** Finds the beginning of a message's payload. Captures without payloads use it. */
import { layoutByCode } from "../../wire/v12/layout.ts";

/** If the type of the message is not known, so many octets are kept: enough to guess what it is. */
const unknownBytesKept = 7;
const contents: ReadonlySet<string> = new Set(["data", "willMsg"]);

/** The number of octets before the contents; the whole length if there are none. Never throws, for any octets. */
export function payloadStart(bytes: Uint8Array): number {
  const isEncapsulated = bytes.length >= 2 && bytes[0] !== 1 && bytes[1] === 0xfe;
  const start = isEncapsulated ? (bytes[0] ?? 0) : 0;
  const header = bytes[start] === 1 ? 4 : 2;
  const layout = layoutByCode[bytes[start + header - 1] ?? -1];
  if (!layout) return Math.min(bytes.length, start + unknownBytesKept);
  const last = layout.fields.at(-1);
  if (last?.kind !== "octets" || !contents.has(last.name)) return bytes.length;
  return Math.min(bytes.length, start + header + layout.minBytes);
}
