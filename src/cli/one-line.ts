/** A message in one line, for long lists; `decode` shows all fields. */
import type { Text } from "../wire/fields.ts";
import { shortNameFromId } from "../wire/topic.ts";
import { decode } from "../wire/v12/codec.ts";
import type { Message } from "../wire/v12/messages.ts";

/** Never throws, for any octets. `wholeBytes`: more octets than given, if a capture left contents out. */
export function oneLine(bytes: Uint8Array, wholeBytes = bytes.length): string {
  const missing = Math.max(0, wholeBytes - bytes.length);
  const decoded = decode(missing === 0 ? bytes : filledUp(bytes, wholeBytes));
  const node = decoded.forwarded ? `[node ${Buffer.from(decoded.forwarded.nodeId).toString("hex")}] ` : "";
  if (decoded.ok) return node + words(decoded.message, missing);
  return `${node}not a message (${decoded.code})${decoded.type === undefined ? "" : `: ${decoded.type}`}`;
}

function filledUp(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(bytes);
  return whole;
}

function words(message: Message, missing: number): string {
  const facts: string[] = [];
  if ("dup" in message && message.dup) facts.push("DUP");
  if ("qos" in message && message.type !== "WILLTOPIC") facts.push(`QoS ${message.qos}`);
  if ("retain" in message && message.retain) facts.push("retain");
  if ("cleanSession" in message && message.cleanSession) facts.push("clean session");
  if ("will" in message && message.will) facts.push("will");
  if ("clientId" in message && message.clientId !== "") facts.push(`client ${text(message.clientId)}`);
  if ("topicName" in message) facts.push(text(message.topicName));
  if ("willTopic" in message) facts.push(message.willTopic === undefined ? "none" : text(message.willTopic));
  if ("topic" in message)
    facts.push(typeof message.topic === "number" ? topicId(message.topicIdType, message.topic) : text(message.topic));
  if ("topicId" in message)
    facts.push(topicId("topicIdType" in message ? message.topicIdType : "normal", message.topicId));
  if ("msgId" in message) facts.push(`MsgId ${message.msgId}`);
  if ("returnCode" in message) facts.push(`code ${message.returnCode}`);
  if ("duration" in message && message.duration !== undefined) facts.push(`${message.duration} s`);
  if (missing > 0) facts.push(`${missing} octets left out`);
  else if ("data" in message) facts.push(contents(message.data));
  else if ("willMsg" in message) facts.push(contents(message.willMsg));
  return [message.type, ...facts].join(" · ");
}

function topicId(type: string, id: number): string {
  if (type === "short") return `topic ${text(shortNameFromId(id) ?? new Uint8Array([id >> 8, id & 255]))}`;
  return type === "predefined" ? `predefined id ${id}` : `topic id ${id}`;
}

function text(value: Text): string {
  return typeof value === "string" ? JSON.stringify(value) : `${value.length} octets, not UTF-8`;
}

const shownBytes = 40;

function contents(data: Uint8Array): string {
  if (data.length === 0) return "nothing";
  try {
    const whole = new TextDecoder("utf-8", { fatal: true }).decode(data);
    return whole.length <= shownBytes
      ? JSON.stringify(whole)
      : `${JSON.stringify(whole.slice(0, shownBytes))}… (${data.length})`;
  } catch {
    return `${data.length} octets`;
  }
}
