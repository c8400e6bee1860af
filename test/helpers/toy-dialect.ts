/**
 * A version of the wire that has little in common with MQTT-SN 1.2: five messages in plain text, topics by their names,
 * everything at QoS 1, no REGISTER, no will.
 *
 *   C<id>                  connect                     answer: C+, or C- and why not
 *   S<msgId> <filter>      subscribe                   answer: A
 *   P<msgId> <topic> <x>   publish, either way         answer: A
 *   A<msgId> <reason>      acknowledge, either way
 *   Z<seconds>             sleep; without seconds: what is there for me?    answer: Z, after all of it
 */
import type { Dialect, Heard, Unreadable } from "../../src/core/dialects/dialect.ts";
import { onPubAck } from "../../src/core/session/client-answers.ts";
import { onConnect } from "../../src/core/session/connect.ts";
import { goesOn, noteMessage } from "../../src/core/session/heard.ts";
import { onPublish } from "../../src/core/session/publish-up.ts";
import { onDisconnect, onPingReq } from "../../src/core/session/sleep.ts";
import { answerStranger } from "../../src/core/session/strangers.ts";
import { onSubscribe } from "../../src/core/session/subscribe.ts";
import type { Publish, Reason, ToClient } from "../../src/core/words.ts";

type ToyMessage =
  | { readonly type: "C"; readonly clientId: string }
  | { readonly type: "S" | "P" | "A"; readonly msgId: number; readonly word: string; readonly data: Uint8Array }
  | { readonly type: "Z"; readonly seconds: number | undefined };

const pattern =
  /^(?:C(?<id>[\x20-\x7e]+)|(?<type>[SPA])(?<msgId>\d+) (?<word>\S+)(?: (?<text>.*))?|Z(?<seconds>\d*))$/s;
const ascii = new TextEncoder();

export const toy: Dialect<ToyMessage> = {
  name: "toy",
  namesTopics: true,
  // In 1.2 the second octet is a MsgType, and none is a letter.
  isConnect: (bytes) => /^C[\x20-\x7e]+$/.test(Buffer.from(bytes).toString("latin1")),
  decode,
  encode: (message) => {
    const said = saying(message);
    return said === undefined ? undefined : ascii.encode(said);
  },
  encodedLength: (message) => saying(message)?.length ?? 0,
  publishIn: (message) => (message.type === "P" ? publishIn(message) : undefined),
  onMessage(context, peer, message) {
    if (message.type === "C") {
      const connect = { clientId: message.clientId, will: false, cleanSession: false, duration: 60 };
      return onConnect(context, { peer, dialect: toy, message: connect });
    }
    const session = context.sessions.byPeer(peer);
    if (!session) return answerStranger(context, toy, peer, message.type);
    if (!noteMessage(context, session, false) || !goesOn(context, session, false)) return;
    switch (message.type) {
      case "S":
        return onSubscribe(context, session, {
          qos: 1,
          topicIdType: "name",
          topic: message.word,
          msgId: message.msgId,
        });
      case "P":
        return onPublish(context, session, publishIn(message));
      case "A":
        return onPubAck(context, session, { topicId: 0, msgId: message.msgId }, message.word as Reason);
      case "Z":
        if (message.seconds === undefined) return onPingReq(context, session, session.clientId);
        return onDisconnect(context, session, message.seconds);
    }
  },
  onUnreadable(context, peer, _heard: Unreadable) {
    context.drop("malformed", { peer, detail: "no toy" });
  },
};

function publishIn({ word, msgId, data }: Extract<ToyMessage, { type: "P" | "S" | "A" }>): Publish {
  return { dup: false, qos: 1, retain: false, topicIdType: "name", topicId: 0, topicName: word, msgId, data };
}

function decode(bytes: Uint8Array): Heard<ToyMessage> {
  const found = pattern.exec(Buffer.from(bytes).toString("latin1"))?.groups;
  if (!found) return { ok: false };
  const { id, type, msgId = "", word = "", text = "", seconds = "" } = found;
  if (id !== undefined) return { ok: true, message: { type: "C", clientId: id } };
  if (type === "S" || type === "P" || type === "A")
    return { ok: true, message: { type, msgId: Number(msgId), word, data: ascii.encode(text) } };
  return { ok: true, message: { type: "Z", seconds: seconds === "" ? undefined : Number(seconds) } };
}

function saying(message: ToClient): string | undefined {
  switch (message.type) {
    case "CONNACK":
      return message.reason === "accepted" ? "C+" : `C- ${message.reason}`;
    case "PUBLISH":
      if (message.topicIdType !== "name") return undefined;
      return `P${message.msgId} ${message.topicName} ${Buffer.from(message.data).toString("latin1")}`;
    case "PUBACK":
    case "SUBACK":
      return `A${message.msgId} ${message.reason}`;
    case "PINGRESP":
    case "DISCONNECT":
      return "Z";
    default:
      return undefined;
  }
}
