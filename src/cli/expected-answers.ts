/**
 * Compares the answers of a gateway in a capture with those of a present one, device by device: by type, code and
 * topic, not by ids.
 */
import { shortNameFromId } from "../wire/topic.ts";
import { decode } from "../wire/v12/codec.ts";

export interface Difference {
  /** Messages that the capture has and the present answers lack. */
  readonly missing: readonly string[];
  readonly extra: readonly string[];
  /** True: the messages are the same, in another order. */
  readonly isOrderOnly: boolean;
}

/** Undefined: the answers are the same. Repetitions (DUP) are ignored, because their number depends on timing. */
export function differenceOf(before: readonly Uint8Array[], now: readonly Uint8Array[]): Difference | undefined {
  const [expected, found] = [before, now].map((all) => all.flatMap((bytes) => signatureOf(bytes) ?? []));
  if (!expected || !found || expected.join("\n") === found.join("\n")) return undefined;
  const missing = without(expected, found);
  const extra = without(found, expected);
  return { missing, extra, isOrderOnly: missing.length === 0 && extra.length === 0 };
}

export function differenceWords({ missing, extra, isOrderOnly }: Difference): string {
  if (isOrderOnly) return "the same messages in another order";
  const parts = [
    missing.length > 0 ? `missing: ${counted(missing)}` : "",
    extra.length > 0 ? `not in the capture: ${counted(extra)}` : "",
  ];
  return parts.filter((part) => part !== "").join("; ");
}

/**
 * The form in which messages are compared; undefined: the message is not compared, because it is a repetition or a
 * broadcast.
 */
export function signatureOf(bytes: Uint8Array): string | undefined {
  const decoded = decode(bytes);
  if (!decoded.ok) return `not a message (${decoded.code})`;
  const { message } = decoded;
  switch (message.type) {
    case "ADVERTISE":
    case "GWINFO":
      return undefined;
    case "REGISTER":
      return `REGISTER ${JSON.stringify(message.topicName)}`;
    case "PUBLISH":
      if (message.dup) return undefined;
      return `PUBLISH QoS ${message.qos} ${topicWords(message.topicIdType, message.topicId)}, ${message.data.length} octets`;
    default:
      return "returnCode" in message ? `${message.type} code ${message.returnCode}` : message.type;
  }
}

/** A topic id that the gateway assigned may be another one the next time. */
function topicWords(type: string, id: number): string {
  if (type === "predefined") return `predefined id ${id}`;
  return type === "short" ? `topic ${shortNameFromId(id) ?? id}` : "a registered topic";
}

function without(all: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const each of others) left.set(each, (left.get(each) ?? 0) + 1);
  return all.filter((each) => {
    const count = left.get(each) ?? 0;
    if (count > 0) left.set(each, count - 1);
    return count === 0;
  });
}

function counted(all: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const each of all) counts.set(each, (counts.get(each) ?? 0) + 1);
  return [...counts].map(([each, count]) => (count === 1 ? each : `${each} (${count} times)`)).join(", ");
}
