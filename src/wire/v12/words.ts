/** Explains a datagram for people: one line per field with its place, its octets and its meaning. */
import { decode, type MalformedCode } from "./codec.ts";
import { type Field, type Layout, layoutByCode } from "./layout.ts";

const faults: Readonly<Record<MalformedCode, string>> = {
  "too-short": "fewer octets than a header has",
  "bad-length": "the Length field cannot be: it counts itself and the MsgType",
  "length-mismatch": "Length is not the size of the datagram; one datagram carries exactly one message",
  "reserved-type": "the standard reserves this MsgType",
  "wrong-size": "the message has not the size that its MsgType asks for",
  "bad-encapsulation": "not a forwarder encapsulation: Length, Ctrl, node id, then one complete message",
};

const returnCodeWords = ["accepted", "rejected: congestion", "rejected: invalid topic id", "rejected: not supported"];
const topicIdTypeWords = ["normal", "predefined", "short name", "reserved"];

/** Lines for a terminal. Never throws, for any octets. */
export function describe(bytes: Uint8Array): string[] {
  const decoded = decode(bytes);
  const lines: string[] = [];
  let start = 0;
  if (decoded.forwarded) {
    const { nodeId, radius } = decoded.forwarded;
    start = 3 + nodeId.length;
    lines.push("ENCAPSULATED by a forwarder [5.5]");
    lines.push(line(bytes, 0, 1, "Length", `${start}, of this header alone`));
    lines.push(line(bytes, 1, 1, "MsgType", "0xfe"));
    lines.push(line(bytes, 2, 1, "Ctrl", `radius ${radius}${radius === 0 ? ", the whole network" : ""}`));
    lines.push(line(bytes, 3, nodeId.length, "Wireless Node Id", "opaque"));
  }
  if (!decoded.ok) {
    const what = decoded.type ? `${decoded.type}: ` : "";
    return [...lines, `not a message (${decoded.code}): ${what}${faults[decoded.code]}`];
  }
  const message = bytes.subarray(start);
  const header = message[0] === 1 ? 4 : 2;
  const layout = layoutByCode[message[header - 1] ?? 0];
  if (!layout) return lines;
  lines.push(`${layout.type} [${layout.clause}]`);
  lines.push(
    line(bytes, start, header - 1, "Length", `${message.length}${header === 4 ? ", in the 3-octet form" : ""}`),
  );
  lines.push(line(bytes, start + header - 1, 1, "MsgType", layout.type));
  fieldLines(lines, layout, bytes, start + header);
  return lines;
}

function fieldLines(lines: string[], layout: Layout, bytes: Uint8Array, start: number): void {
  let at = start;
  let topicIdType = 0;
  for (const field of layout.fields) {
    const rest = bytes.length - at;
    switch (field.kind) {
      case "u8":
      case "returnCode":
        lines.push(line(bytes, at, 1, field.name, valueWords(field.name, bytes[at] ?? 0)));
        at += 1;
        break;
      case "u16":
      case "optionalU16": {
        if (rest < 2) break;
        const value = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        const isShort = field.name === "topicId" && topicIdType === 2;
        lines.push(
          line(bytes, at, 2, field.name, isShort ? quoted(bytes.subarray(at, at + 2)) : valueWords(field.name, value)),
        );
        at += 2;
        break;
      }
      case "flags":
        topicIdType = (bytes[at] ?? 0) & 3;
        lines.push(line(bytes, at, 1, "Flags", flagWords(field, bytes[at] ?? 0)));
        at += 1;
        break;
      case "optionalWill":
        if (rest === 0) {
          lines.push("  (empty: deletes the will)");
          break;
        }
        lines.push(
          line(
            bytes,
            at,
            1,
            "Flags",
            `QoS ${qosWord(bytes[at] ?? 0)}${((bytes[at] ?? 0) & 0x10) !== 0 ? ", retain" : ""}`,
          ),
        );
        lines.push(line(bytes, at + 1, rest - 1, "willTopic", quoted(bytes.subarray(at + 1))));
        break;
      case "topicReference": {
        const isId = topicIdType === 1;
        lines.push(
          line(
            bytes,
            at,
            rest,
            isId ? "topicId" : "topicName",
            isId ? String(((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)) : quoted(bytes.subarray(at)),
          ),
        );
        break;
      }
      case "text":
        lines.push(line(bytes, at, rest, field.name, rest === 0 ? "(none)" : quoted(bytes.subarray(at))));
        break;
      case "octets":
        lines.push(line(bytes, at, rest, field.name, rest === 0 ? "(empty)" : quoted(bytes.subarray(at))));
        break;
    }
  }
}

function line(bytes: Uint8Array, at: number, count: number, name: string, meaning: string): string {
  const shown = [...bytes.subarray(at, at + Math.min(count, 16))]
    .map((octet) => octet.toString(16).padStart(2, "0"))
    .join(" ");
  return `  ${String(at).padStart(3)}  ${(count > 16 ? `${shown} ..` : shown).padEnd(24)}  ${name}: ${meaning}`;
}

function valueWords(name: string, value: number): string {
  if (name === "returnCode") return `${value}, ${returnCodeWords[value] ?? "reserved: a rejection"}`;
  if (name === "duration") return `${value} s`;
  if (name === "protocolId") return value === 1 ? "1" : `${value}, reserved`;
  return String(value);
}

function flagWords(field: Extract<Field, { kind: "flags" }>, octet: number): string {
  const words = field.flags.map((flag): string => {
    switch (flag) {
      case "dup":
        return (octet & 0x80) !== 0 ? "DUP" : "";
      case "qos":
      case "grantedQos":
        return `QoS ${qosWord(octet)}`;
      case "retain":
        return (octet & 0x10) !== 0 ? "retain" : "";
      case "will":
        return (octet & 0x08) !== 0 ? "will" : "";
      case "cleanSession":
        return (octet & 0x04) !== 0 ? "clean session" : "";
      case "topicIdType":
        return `topic id type ${topicIdTypeWords[octet & 3]}`;
      default:
        return assertNever(flag);
    }
  });
  return words.filter((word) => word !== "").join(", ") || "none";
}

function qosWord(octet: number): number {
  const bits = (octet >> 5) & 3;
  return bits === 3 ? -1 : bits;
}

function quoted(octets: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder("utf-8", { fatal: true }).decode(octets));
  } catch {
    return `${octets.length} octets, not UTF-8`;
  }
}

function assertNever(value: never): never {
  throw new RangeError(`unhandled flag ${String(value)}`);
}
