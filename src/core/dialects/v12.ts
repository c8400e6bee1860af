/**
 * MQTT-SN 1.2: which procedure a message belongs to, for a client we know, for one that is connecting, and for a
 * stranger. Reading order: `onMessage`, then the procedure's file in ../session. [MQTT-SN 1.2 §5.4]
 */

import type { Message } from "../../wire/v12/messages.ts";
import { assertNever } from "../assert.ts";
import type { Context } from "../context.ts";
import { disconnect, subAck } from "../messages.ts";
import { neighbourOf } from "../peer-id.ts";
import { onConnect, onConnectOfOtherVersion, onRepeatedWillMsg, onWillMsg, onWillTopic } from "../session/connect.ts";
import { cancelSetup } from "../session/connect-outcome.ts";
import { bidGoodbye, tellDisconnected } from "../session/departure.ts";
import { noteHeard } from "../session/proof.ts";
import { onPubAck, onPubComp, onPubRec, onRegAck } from "../session/publish-down.ts";
import { onPublish, onPublishWithoutAnswer, onPubRel } from "../session/publish-up.ts";
import { onRegister } from "../session/register.ts";
import { noteSpoke } from "../session/session-record.ts";
import { staysAdmitted } from "../session/shut-out.ts";
import { onDisconnect, onPingReq, onPingReqFromElsewhere } from "../session/sleep.ts";
import { onSubscribe, onUnsubscribe } from "../session/subscribe.ts";
import { onWillMsgUpd, onWillTopicUpd } from "../session/will-update.ts";
import type { Session } from "../state/session.ts";
import type { Setup } from "../state/setup.ts";
import type { PeerId } from "../types.ts";
import type { Reason } from "../words.ts";

export function onMessage(context: Context, peer: PeerId, message: Message): void {
  switch (message.type) {
    case "CONNECT":
      if (message.protocolId !== 1) return onConnectOfOtherVersion(context, peer, message);
      return onConnect(context, peer, message);
    case "SEARCHGW":
      return onSearchGw(context, peer, message.radius);
    case "ADVERTISE":
    case "GWINFO":
      return; // another gateway, or a client that speaks for one
    default:
  }
  const setup = context.setups.get(peer);
  if (setup && onMessageInSetup(context, setup, message)) return;
  const session = context.sessions.byPeer(peer);
  if (session) {
    if (session.isUnasked) {
      session.isUnasked = false;
      if (!staysAdmitted(context, session, { tell: true })) return;
    }
    session.lastHeard = context.now;
    session.heard++;
    noteHeard(context, session);
    if (!session.spoke && (message.type !== "DISCONNECT" || message.duration)) noteSpoke(context, session);
    context.touch(session);
    onMessageOfClient(context, session, peer, message);
  } else if (setup) {
    context.drop("unexpected-type", { clientId: setup.clientId, peer, detail: `${message.type} before CONNACK` });
  } else {
    onMessageOfStranger(context, peer, message);
  }
}

/** Reserved numbers are read as a rejection. [§5.3.10] */
const reasons: readonly Reason[] = ["accepted", "congestion", "invalidTopicId"];

function reasonOf(returnCode: number): Reason {
  return reasons[returnCode] ?? "notSupported";
}

/** True when the message belonged to the set-up. */
function onMessageInSetup(context: Context, setup: Setup<Session>, message: Message): boolean {
  switch (message.type) {
    case "WILLTOPIC":
      onWillTopic(context, setup, message);
      return true;
    case "WILLMSG":
      onWillMsg(context, setup, message);
      return true;
    case "DISCONNECT":
      cancelSetup(context, setup);
      if (context.sessions.byPeer(setup.peer)) return false;
      context.out.send(setup.peer, disconnect);
      return true;
    default:
      return false;
  }
}

function onMessageOfClient(context: Context, session: Session, peer: PeerId, message: Message): void {
  if (message.type === "WILLMSG" && onRepeatedWillMsg(context, session)) return;
  if (session.lastConnect) session.lastConnect.nothingSince = false;
  if (session.brokerRefused && session.state === "asleep" && message.type !== "DISCONNECT") {
    tellDisconnected(context, session);
    return bidGoodbye(context, session, "refused by the broker");
  }
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
      return; // we never ask, but it shows that the client lives
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

/** Nobody we know: no state is made, and at most one DISCONNECT a second goes back. [interpretation 2] */
function onMessageOfStranger(context: Context, peer: PeerId, message: Message): void {
  switch (message.type) {
    case "PUBLISH":
      if (message.qos !== -1) return answerStranger(context, peer, message.type);
      return onQoSMinusOne(context, peer, message);
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
      return answerStranger(context, peer, message.type);
    default:
      // Acknowledgements, and what only gateways send: an answer would only make noise.
      return context.drop("unknown-sender", { peer, detail: message.type });
  }
}

function onQoSMinusOne(context: Context, peer: PeerId, message: Extract<Message, { type: "PUBLISH" }>): void {
  const admission = context.access.qosMinusOne(neighbourOf(peer));
  if (!admission.admitted) {
    context.counters.dropped["qos-minus-one-not-allowed"]++;
    return context.out.report({
      event: "not_admitted",
      clientId: undefined,
      peer,
      what: "qosMinusOne",
      hint: admission.hint,
    });
  }
  onPublishWithoutAnswer(context, peer, undefined, message);
}

function onPingReqOfStranger(context: Context, peer: PeerId, clientId: string | Uint8Array): void {
  if (typeof clientId === "string" && clientId !== "" && onPingReqFromElsewhere(context, peer, clientId)) return;
  answerStranger(context, peer, "PINGREQ");
}

function answerStranger(context: Context, peer: PeerId, what: string): void {
  context.drop("unknown-sender", { peer, detail: what });
  if (context.strangers.allows(peer, context.now) && context.mayAnswer(peer)) context.out.send(peer, disconnect);
}

/** GWINFO to whoever asks, by unicast, to the group, or both, as configured. [§6.1] */
function onSearchGw(context: Context, peer: PeerId, radius: number): void {
  const message = { type: "GWINFO", gwId: context.options.gatewayId, gwAdd: new Uint8Array(0) } as const;
  if (!context.mayAnswer(peer)) return context.drop("too-many-answers", { peer, detail: "SEARCHGW" });
  const { gwinfo } = context.options.advertise;
  if (gwinfo !== "broadcast") context.out.send(peer, message);
  if (gwinfo === "unicast") return;
  context.counters.countSent("GWINFO");
  context.out.add({ kind: "broadcast", message, radius });
}

/** A SUBSCRIBE or UNSUBSCRIBE whose id is not of two octets: refused, not dropped. */
export function onWrongIdSize(context: Context, peer: PeerId, type: "SUBSCRIBE" | "UNSUBSCRIBE", msgId: number): void {
  const session = context.sessions.byPeer(peer);
  if (!session) return answerStranger(context, peer, type);
  session.lastHeard = context.now;
  session.heard++;
  if (msgId === 0) return;
  if (type === "UNSUBSCRIBE") return context.out.send(peer, { type: "UNSUBACK", msgId });
  context.out.send(peer, subAck({ qos: 0, topicId: 0, msgId, reason: "notSupported" }));
}
