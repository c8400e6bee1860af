/**
 * CONNECT: from the first datagram to CONNACK. [MQTT-SN 1.2 §6.2, §6.3; interpretation 1, 4, 5]
 *
 * The client id is the key, and a CONNECT always wins. It makes a `PendingConnect`, which lasts during the will
 * dialogue. Only after the dialogue is the session changed. A repeated CONNECT gets the last answer again. The CONNACK
 * says what the broker has answered.
 */

import { isTakenByBrokers, isTopicName, utf8Length } from "../../wire/topic.ts";
import { holderOfId } from "../broker/client-ids.ts";
import { closeLink, detach, openLink } from "../broker/links.ts";
import { sendLast } from "../broker/sending.ts";
import { brokerWill, isWillRefused, sameWill } from "../broker/will.ts";
import type { Context } from "../context.ts";
import { connAck, willMsgReq, willTopicReq } from "../messages.ts";
import { type Caller, PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import type { Connect, WillMsg, WillTopic } from "../words.ts";
import { isStoreAndForward } from "./backlog.ts";
import { changeState } from "./client-life.ts";
import {
  cancelPendingConnect,
  completePendingConnect,
  connectOverShared,
  failPendingConnect,
  isTrusted,
  refuseConnect,
} from "./connect-outcome.ts";
import { endForRoom, markLost, sendDisconnect } from "./departure.ts";
import { stopInFlight } from "./drop.ts";
import { detachInFlight } from "./duplicates.ts";
import { endSession, forgetDevice } from "./end.ts";
import { isQuarantined } from "./limits.ts";
import { newSession } from "./new-session.ts";
import { beginPendingConnect, bindPendingConnect, forgetPendingConnect, noteStep } from "./pending-connects.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { markChanged } from "./session-record.ts";
import { sayNotAdmitted } from "./shut-out.ts";
import { hasRoomForWill } from "./topic-octets.ts";
import { giveUpWill, publishWill } from "./will-delivery.ts";

export function onConnect(context: Context, caller: Caller): void {
  const { peer, message } = caller;
  const clientId = validClientId(context, message);
  if (clientId === undefined) return refuseConnect(context, caller, "notSupported", "client id");
  const admission = context.admits(clientId, peer);
  if (!admission.admitted) {
    sayNotAdmitted(context, clientId, peer, admission.hint);
    if (context.mayAnswer(peer)) context.tell(caller, connAck("notSupported"));
    return;
  }
  const present = context.sessions.byClientId(clientId);
  // The address may belong to another device, so the limits of the client with this id apply.
  if (isQuarantined(context, clientId, present)) return;
  const holder = holderOfId(context, clientId, present?.upstream ?? context.upstreams.of(clientId, peer));
  if (holder !== undefined) {
    context.drop("client-id-taken", { clientId, peer, detail: `at the broker it is ${holder}'s` });
    return refuseConnect(context, caller, "notSupported", `at the broker its id belongs to ${holder}`);
  }
  if (isRepeat(context, caller)) return;

  if (present && isQuarrel(context, present, peer)) {
    const why = "two devices have this client id, and the other one is connected";
    context.drop("id-in-use", { clientId, peer, detail: why });
    return refuseConnect(context, caller, "congestion", why);
  }

  const before = context.pendingConnects.get(peer);
  if (before) cancelPendingConnect(context, before);
  releaseAddress(context, peer, clientId);
  const vouched = admission.byName === true;
  if (!context.sessions.byClientId(clientId) && !mayBeNew(context, caller, vouched)) return;
  if (context.pendingConnects.size >= context.options.clients.pendingMax && !forgetDialogue(context)) {
    context.drop("too-many-pending", { clientId, peer, detail: "CONNECT" });
    return refuseConnect(context, caller, "congestion", "too many open CONNECTs");
  }
  const pending = new PendingConnect<Session>(caller, { clientId, stage: message.will ? "willTopic" : "broker" });
  pending.vouched = vouched;
  beginPendingConnect(context, pending);
  if (message.will) context.tell(caller, willTopicReq);
  else commit(context, pending);
}

/** Refuses a CONNECT of a version that its dialect does not support. */
export function onConnectOfOtherVersion(context: Context, caller: Caller): void {
  const why = validClientId(context, caller.message) === undefined ? "client id" : "protocol id";
  refuseConnect(context, caller, "notSupported", why);
}

function validClientId(context: Context, message: Connect): string | undefined {
  const { clientId } = message;
  if (typeof clientId !== "string" || clientId === "" || !isTakenByBrokers(clientId)) return undefined;
  return utf8Length(clientId) <= context.options.clients.clientIdBytesMax ? clientId : undefined;
}

/**
 * Whether this CONNECT repeats the last one, which is still open or whose result is still valid. If it is finished, the
 * last answer is sent again.
 */
function isRepeat(context: Context, caller: Caller): boolean {
  const { peer, message, dialect } = caller;
  const before = context.pendingConnects.get(peer);
  if (before) {
    const isSame =
      before.clientId === message.clientId && before.dialect === dialect && sameConnect(before.message, message);
    if (!isSame || before.stage === "willMsg") return false;
    if (before.stage === "willTopic") {
      noteStep(context, before);
      context.tell(caller, willTopicReq);
    } else context.counters.dropped.repeat++; // the broker's answer is awaited
    return true;
  }
  const session = context.sessions.byPeer(peer);
  const last = session?.lastConnect;
  if (session?.state !== "active") return false;
  if (!session.broker.link?.up && !isStoreAndForward(context, session.clientId)) return false;
  if (!last?.nothingSince || context.now - last.at > context.repetitionMs) return false;
  if (session.clientId !== message.clientId || session.dialect !== dialect || !sameConnect(last, message)) return false;
  session.lastHeard = context.now;
  session.heard++;
  context.counters.dropped.repeat++;
  context.tell(caller, message.will ? willTopicReq : connAck("accepted"));
  if (message.will) beginDialogueAgain(context, session, caller);
  return true;
}

/** A CONNECT with Will that is repeated after its CONNACK goes through the dialogue once more; the session stays. */
function beginDialogueAgain(context: Context, session: Session, caller: Caller): void {
  const pending = new PendingConnect<Session>(caller, { clientId: session.clientId, stage: "willTopic" });
  pending.repeats = true;
  beginPendingConnect(context, pending);
}

type Wishes = Pick<Connect, "duration" | "cleanSession" | "will">;

function sameConnect(a: Wishes, b: Wishes): boolean {
  return a.duration === b.duration && a.cleanSession === b.cleanSession && a.will === b.will;
}

/** Whether another device repeatedly takes over the id of this client. Logged once for each pause. */
function isQuarrel(context: Context, session: Session, peer: PeerId): boolean {
  const { clientId, state, peer: other, lastHeard } = session;
  if (state !== "active" || other === undefined || other === peer) return false;
  const verdict = context.quarrels.judge(clientId, { lastHeard, now: context.now });
  if (verdict === "put off, and that is news")
    context.out.report({ event: "id_in_use", clientId, peer: other, other: peer });
  return verdict !== "let in";
}

/**
 * Another client was at this address, and is not there any more. If it sleeps, it may come back from another address.
 */
function releaseAddress(context: Context, peer: PeerId, clientId: string): void {
  const before = context.sessions.byPeer(peer);
  if (!before || before.clientId === clientId) return;
  // A client that connects from another address is not lost: only its old address belongs to another client now.
  if (before.state === "active" && !before.pendingConnect)
    return markLost(context, before, { why: `its address belongs to ${clientId} now`, tell: false });
  stopInFlight(context, before);
  if (before.state === "awake") changeState(context, before, "unanswered", "address taken");
  context.sessions.unbind(before);
  markChanged(context, before);
}

/** Whether one more session is allowed by the rate and the limit of sessions. */
function mayBeNew(context: Context, caller: Caller, vouched: boolean): boolean {
  const { peer } = caller;
  if (!context.newSessions.allows(context.hostOf(peer), context.now)) {
    context.drop("rate-limited", { peer, detail: "new sessions per second" });
    refuseConnect(context, caller, "congestion", "too many new sessions per second");
    return false;
  }
  const { sessions, now } = context;
  const { sessionsPerHostMax } = context.options.clients;
  const newcomer = { vouched, now };
  if (!vouched && sessionsPerHostMax > 0 && sessions.atHostOf(peer) >= sessionsPerHostMax) {
    const gives = sessions.toGiveUpAtHostOf(peer, newcomer);
    if (!gives) return haveNoPlace(context, caller, "too many sessions of this host");
    endForRoom(context, gives);
  }
  return findPlace(context, caller, vouched);
}

/**
 * Makes room for a session by ending one of a client that is less known. False: there is none, and the client got its
 * answer.
 */
function findPlace(context: Context, caller: Caller, vouched: boolean): boolean {
  const { sessions, now } = context;
  if (sessions.size < context.options.clients.sessionsMax) return true;
  const gives = sessions.toGiveUp({ vouched, now });
  if (!gives) return haveNoPlace(context, caller, "too many sessions");
  endForRoom(context, gives);
  return true;
}

function haveNoPlace(context: Context, caller: Caller, why: string): false {
  context.drop("no-place", { peer: caller.peer, detail: why });
  refuseConnect(context, caller, "congestion", why);
  return false;
}

/** Ends the oldest will dialogue: a device needs only a moment for it, and an attacker never ends one. */
function forgetDialogue(context: Context): boolean {
  for (const pending of context.pendingConnects.values()) {
    if (pending.stage === "broker" || context.sessions.byClientId(pending.clientId)?.spoke) continue;
    cancelPendingConnect(context, pending);
    return true;
  }
  return false;
}

export function onWillTopic(context: Context, pending: PendingConnect<Session>, message: WillTopic): void {
  if (pending.stage === "broker") return;
  noteStep(context, pending);
  const { willTopic, qos, retain } = message;
  if (willTopic === undefined) {
    pending.willTopic = undefined;
    pending.will = undefined;
    return finishDialogue(context, pending);
  }
  const isShared = context.upstreams.of(pending.clientId, pending.peer).sharedConnections.length > 0;
  const isUsable = typeof willTopic === "string" && isTopicName(willTopic) && mayGoToBroker(willTopic, isShared);
  if (!isUsable || qos === -1) {
    forgetPendingConnect(context, pending);
    return refuseConnect(context, pending, "notSupported", "will topic");
  }
  const { clientId, peer } = pending;
  const rights = context.rightsAt(clientId, peer);
  if (rights?.mayPublish(willTopic) === false) {
    forgetPendingConnect(context, pending);
    context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: willTopic });
    return refuseConnect(context, pending, "notSupported", "it has no right to its will topic");
  }
  pending.willTopic = { topicName: willTopic, qos, retain };
  pending.stage = "willMsg";
  context.tell(pending, willMsgReq);
}

export function onWillMsg(context: Context, pending: PendingConnect<Session>, message: WillMsg): void {
  if (pending.stage !== "willMsg" || !pending.willTopic) {
    return context.drop("unexpected-type", {
      clientId: pending.clientId,
      peer: pending.peer,
      detail: "WILLMSG out of turn",
    });
  }
  const { topicName, qos, retain } = pending.willTopic;
  pending.will = { topicName, payload: message.willMsg, qos, retain };
  const before = pending.message.cleanSession ? undefined : context.sessions.byClientId(pending.clientId);
  if (!hasRoomForWill(context, before, pending.will)) {
    forgetPendingConnect(context, pending);
    context.drop("topic-ids-exhausted", { clientId: pending.clientId, peer: pending.peer, detail: "will" });
    return refuseConnect(context, pending, "congestion", "will too large");
  }
  finishDialogue(context, pending);
}

/** WILLMSG is repeated after CONNACK: the CONNACK was lost, and is sent again. */
export function onRepeatedWillMsg(context: Context, session: Session, { willMsg }: WillMsg): boolean {
  const { lastConnect, will, state, peer } = session;
  if (peer === undefined) return false;
  // Without `lastConnect` the CONNECT came in an earlier run, or at the gateway that had the client before.
  const isRepeated = lastConnect
    ? lastConnect.byWillMsg && lastConnect.nothingSince
    : state === "active" && will !== undefined && Buffer.compare(will.payload, willMsg) === 0;
  if (isRepeated) context.tell(session, connAck("accepted"));
  return isRepeated;
}

function finishDialogue(context: Context, pending: PendingConnect<Session>): void {
  const session = context.sessions.byClientId(pending.clientId);
  const unchanged = session && session.state === "active" && sameWill(session.will, pending.will);
  if (pending.repeats && unchanged && session.peer === pending.peer && session.broker.link?.up) {
    forgetPendingConnect(context, pending);
    return context.tell(pending, connAck("accepted"));
  }
  pending.stage = "broker";
  commit(context, pending);
}

/** CONNECT and will are complete: takes over the session or makes one, and opens its connection if necessary. */
function commit(context: Context, pending: PendingConnect<Session>): void {
  const { message, peer, clientId } = pending;
  let session = context.sessions.byClientId(clientId);
  if (session?.pendingConnect && session.pendingConnect !== pending) {
    cancelPendingConnect(context, session.pendingConnect);
    session = context.sessions.byClientId(clientId);
  }
  if (session?.willPending) {
    giveUpWill(context, session);
    session = context.sessions.byClientId(clientId);
  }
  if (session && session.state === "active" && session.peer !== peer) sendDisconnect(context, session);
  if (session && (message.cleanSession || (session.clean && session.state === "active"))) {
    if (session.account.unforwarded > 0) startAnew(context, session);
    else {
      endForNewStart(context, session, message.cleanSession);
      session = undefined;
    }
  }
  pending.isNew = session === undefined;
  if (!session) {
    // During the will dialogue, other clients may have made sessions.
    if (!findPlace(context, pending, pending.vouched)) return forgetPendingConnect(context, pending);
    session = newSession(context, clientId, { clean: message.cleanSession, peer, dialect: pending.dialect });
    context.sessions.add(session);
  }
  bindPendingConnect(pending, session);
  session.vouched = pending.vouched;
  context.sessions.noteStanding(session);
  // A CONNECT from another address may come from a device that lost its memory, so it is told the topic ids again.
  const wakes = (session.state === "asleep" || session.state === "awake") && session.peer === peer;
  pending.wakes = wakes && session.dialect === pending.dialect;
  if (message.will) session.will = pending.will;
  if (session.shared) return connectOverShared(context, session.shared, session, pending);
  const { link } = session.broker;
  const heldByBroker = session.upstream.options.will.held === "broker";
  if (message.will && heldByBroker && isWillRefused(context, session)) {
    const why = "the broker closes the connection for its will";
    return failPendingConnect(context, session, pending, { reason: "notSupported", why });
  }
  const mayGoOn = !session.upstream.isThere && isTrusted(context, session, pending);
  const fits = !heldByBroker || sameWill(link?.will, brokerWill(context, session));
  if (link?.clean === message.cleanSession && fits && !session.brokerRefused && (link.up || mayGoOn)) {
    return completePendingConnect(context, session, pending);
  }
  closeLink(context, session.broker, { how: "disconnect", endSession: false });
  openLink(context, session, { clean: message.cleanSession });
  if (mayGoOn) completePendingConnect(context, session, pending);
}

/** A clean start ends the old session. If the client was active and did not send DISCONNECT, its will is published. */
function endForNewStart(context: Context, session: Session, cleanStart: boolean): void {
  const { link } = session.broker;
  const willIsDue = cleanStart && session.state === "active" && session.will !== undefined && link !== undefined;
  const heldByBroker = willIsDue && sameWill(brokerWill(context, session), link.will);
  if (willIsDue && !heldByBroker && link.up) publishWill(context, session);
  const endsAtBroker = { how: heldByBroker ? "abandon" : "disconnect", endSession: true } as const;
  detach(context, session, endsAtBroker);
  if (heldByBroker) context.out.report({ event: "will_published", clientId: session.clientId, by: "broker" });
  endSession(context, session, "new start");
}

/** A clean start while publications of the client are still open: these continue, and everything else is new. */
function startAnew(context: Context, session: Session): void {
  if (session.state === "active" && session.will !== undefined && session.broker.link?.up) {
    const will = brokerWill(context, session);
    if (will) sendLast(context, session, will);
    context.out.report({ event: "will_published", clientId: session.clientId, by: "gateway" });
  }
  stopInFlight(context, session);
  detachInFlight(context, session);
  forgetDevice(context, session);
  session.will = undefined;
  context.out.report({ event: "session_ended", clientId: session.clientId, why: "new start" });
}
