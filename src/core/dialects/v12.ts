/**
 * MQTT-SN 1.2: which procedure a message belongs to, for a known client, for a client that is connecting, and for an
 * unknown sender. Read `onMessage` first, then the file of the procedure in ../session. [MQTT-SN 1.2 §5.4]
 */

import { type Decoded, decode, encode, encodedLength } from "../../wire/v12/codec.ts";
import type { Message } from "../../wire/v12/messages.ts";
import { assertNever } from "../assert.ts";
import type { Context } from "../context.ts";
import { disconnect, subAck } from "../messages.ts";
import { onPubAck, onPubComp, onPubRec, onRegAck } from "../session/client-answers.ts";
import { onConnect, onConnectOfOtherVersion, onRepeatedWillMsg, onWillMsg, onWillTopic } from "../session/connect.ts";
import { cancelPendingConnect } from "../session/connect-outcome.ts";
import { goesOn, noteMessage } from "../session/heard.ts";
import { noteTalksOn } from "../session/pending-connects.ts";
import { onPubRel } from "../session/publish-answered.ts";
import { onPublish } from "../session/publish-up.ts";
import { onRegister } from "../session/register.ts";
import { onDisconnect, onPingReq, onPingReqFromElsewhere } from "../session/sleep.ts";
import { answerStranger, onPublishOfStranger, onSearchGw } from "../session/strangers.ts";
import { onSubscribe, onUnsubscribe } from "../session/subscribe.ts";
import { onWillMsgUpd, onWillTopicUpd } from "../session/will-update.ts";
import { assumedDialect } from "../speech.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import type { PublishByName, Reason, ToClient } from "../words.ts";
import type { Dialect } from "./dialect.ts";
import { isConnectOfVersion2 } from "./later-version.ts";

export const v12: Dialect<Message> = {
  name: assumedDialect,
  namesTopics: false,
  decode,
  encode: (message, nodeId) => (isByName(message) ? undefined : encode(message, nodeId && { nodeId, radius: 0 })),
  encodedLength: (message) => (isByName(message) ? 0 : encodedLength(message)),
  isConnect: (bytes) => {
    const decoded = decode(bytes);
    return decoded.ok && decoded.message.type === "CONNECT" && decoded.message.protocolId === protocolId;
  },
  publishIn: (message) => (message.type === "PUBLISH" ? message : undefined),
  onMessage,
  onUnreadable,
};

const protocolId = 1;

function isByName(message: ToClient): message is PublishByName {
  return message.type === "PUBLISH" && message.topicIdType === "name";
}

function onMessage(context: Context, peer: PeerId, message: Message): void {
  switch (message.type) {
    case "CONNECT": {
      const caller = { peer, dialect: v12, message };
      return message.protocolId === protocolId ? onConnect(context, caller) : onConnectOfOtherVersion(context, caller);
    }
    case "SEARCHGW":
      return onSearchGw(context, v12, peer, message.radius);
    case "ADVERTISE":
    case "GWINFO":
      return; // from another gateway, or a client that answers for one
    default:
  }
  const pending = context.pendingConnects.get(peer);
  if (pending && onMessageBeforeConnAck(context, pending, message)) return;
  const session = context.sessions.byPeer(peer);
  if (session) {
    const isGoodbye = message.type === "DISCONNECT" && !message.duration;
    if (pending && !isAnswer(message)) noteTalksOn(context, pending, "msgId" in message ? message.msgId : undefined);
    if (noteMessage(context, session, isGoodbye)) onMessageOfClient(context, session, peer, message);
  } else if (pending) {
    context.drop("unexpected-type", { clientId: pending.clientId, peer, detail: `${message.type} before CONNACK` });
  } else {
    onMessageOfStranger(context, peer, message);
  }
}

/**
 * True for an answer to a message of the gateway, which may be long ago. So it says nothing about the present state of
 * the client.
 */
function isAnswer({ type }: Message): boolean {
  return type === "PUBACK" || type === "PUBREC" || type === "PUBCOMP" || type === "REGACK";
}

/** True when the message belonged to the set-up. */
function onMessageBeforeConnAck(context: Context, pending: PendingConnect<Session>, message: Message): boolean {
  switch (message.type) {
    case "WILLTOPIC":
      onWillTopic(context, pending, message);
      return true;
    case "WILLMSG":
      onWillMsg(context, pending, message);
      return true;
    case "DISCONNECT":
      cancelPendingConnect(context, pending);
      if (context.sessions.byPeer(pending.peer)) return false;
      context.tell(pending, disconnect);
      return true;
    default:
      return false;
  }
}

function onMessageOfClient(context: Context, session: Session, peer: PeerId, message: Message): void {
  if (message.type === "WILLMSG" && onRepeatedWillMsg(context, session, message)) return;
  if (!goesOn(context, session, message.type === "DISCONNECT")) return;
  switch (message.type) {
    case "PUBLISH":
      return onPublish(context, session, message);
    case "PUBACK":
      return onPubAck(context, session, message, reasonOf(message.returnCode));
    case "PUBREC":
      return onPubRec(context, session, message.msgId);
    case "PUBREL":
      return onPubRel(context, session, message.msgId);
    case "PUBCOMP":
      return onPubComp(context, session, message.msgId);
    case "PINGREQ":
      if (message.clientId === "" || message.clientId === session.clientId)
        return onPingReq(context, session, message.clientId);
      return onPingReqOfStranger(context, peer, message.clientId);
    case "REGISTER":
      return onRegister(context, session, message);
    case "REGACK":
      return onRegAck(context, session, message.msgId, reasonOf(message.returnCode));
    case "SUBSCRIBE":
      return onSubscribe(context, session, message);
    case "UNSUBSCRIBE":
      return onUnsubscribe(context, session, message);
    case "DISCONNECT":
      return onDisconnect(context, session, message.duration);
    case "WILLTOPICUPD":
      return onWillTopicUpd(context, session, message);
    case "WILLMSGUPD":
      return onWillMsgUpd(context, session, message);
    case "PINGRESP":
      return; // the gateway sends no PINGREQ, but the answer shows that the client is alive
    case "CONNECT":
    case "SEARCHGW":
    case "ADVERTISE":
    case "GWINFO":
    case "WILLTOPIC":
    case "WILLMSG":
    case "CONNACK":
    case "WILLTOPICREQ":
    case "WILLMSGREQ":
    case "SUBACK":
    case "UNSUBACK":
    case "WILLTOPICRESP":
    case "WILLMSGRESP":
      return context.drop("unexpected-type", { clientId: session.clientId, peer, detail: message.type });
    default:
      return assertNever(message);
  }
}

/** An unknown sender: no state is created. [interpretation 2] */
function onMessageOfStranger(context: Context, peer: PeerId, message: Message): void {
  switch (message.type) {
    case "PUBLISH":
      if (message.qos !== -1) return answerStranger(context, v12, peer, message.type);
      return onPublishOfStranger(context, peer, message);
    case "PINGREQ":
      return onPingReqOfStranger(context, peer, message.clientId);
    case "REGISTER":
    case "SUBSCRIBE":
    case "UNSUBSCRIBE":
    case "PUBREL":
    case "DISCONNECT":
    case "WILLTOPIC":
    case "WILLMSG":
    case "WILLTOPICUPD":
    case "WILLMSGUPD":
      return answerStranger(context, v12, peer, message.type);
    default:
      // Acknowledgements, and messages that only gateways send, get no answer, because it would be useless.
      return context.drop("unknown-sender", { peer, detail: message.type });
  }
}

function onPingReqOfStranger(context: Context, peer: PeerId, clientId: string | Uint8Array): void {
  if (typeof clientId === "string" && clientId !== "" && onPingReqFromElsewhere(context, v12, peer, clientId)) return;
  answerStranger(context, v12, peer, "PINGREQ");
}

/** Reserved numbers are read as a rejection. [§5.3.10] */
const reasons: readonly Reason[] = ["accepted", "congestion", "invalidTopicId"];

function reasonOf(returnCode: number): Reason {
  return reasons[returnCode] ?? "notSupported";
}

function onUnreadable(
  context: Context,
  peer: PeerId,
  { code, type, msgId, forwarded }: Extract<Decoded, { ok: false }>,
  bytes: Uint8Array,
): void {
  const inner = forwarded ? bytes.subarray(bytes[0]) : bytes;
  if (type === "SEARCHGW" && isConnectOfVersion2(inner))
    return context.drop("mqtt-sn-2.0", {
      peer,
      detail: `a CONNECT of MQTT-SN 2.0 from ${peer}; this gateway speaks 1.2`,
    });
  if (msgId !== undefined && (type === "SUBSCRIBE" || type === "UNSUBSCRIBE"))
    onWrongIdSize(context, peer, type, msgId);
  context.drop("malformed", { peer, detail: type ? `${type}: ${code}` : code });
}

/** A SUBSCRIBE or UNSUBSCRIBE whose id does not have two octets is refused, and not only dropped. */
function onWrongIdSize(context: Context, peer: PeerId, type: "SUBSCRIBE" | "UNSUBSCRIBE", msgId: number): void {
  const session = context.sessions.byPeer(peer);
  if (!session) return answerStranger(context, v12, peer, type);
  session.lastHeard = context.now;
  session.heard++;
  if (msgId === 0) return;
  if (type === "UNSUBSCRIBE") return context.tell(session, { type: "UNSUBACK", msgId });
  context.tell(session, subAck({ qos: 0, topicId: 0, msgId, reason: "notSupported" }));
}
