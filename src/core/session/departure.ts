/**
 * Changes of a client's state that several procedures share: a transition, the loss of a client, the end of a session.
 * [MQTT-SN 1.2 §6.14]
 */

import { detach } from "../broker/links.ts";
import type { Context } from "../context.ts";
import { disconnect } from "../messages.ts";
import type { Session } from "../state/session.ts";
import { changeState, silenceAllowedMs, supervise } from "./client-life.ts";
import { stopInFlight } from "./drop.ts";
import { endSession } from "./end.ts";
import { leave } from "./leave.ts";
import { forgetPendingConnect } from "./pending-connects.ts";
import { deliverWillOrClose, giveUpWill, publishWill } from "./will-delivery.ts";

/**
 * The client is lost (it stopped without DISCONNECT). Its will is published; its session is kept if it is not clean.
 * `tell`: a DISCONNECT is sent once to its last address.
 */
export function markLost(context: Context, session: Session, options: { why: string; tell: boolean }): void {
  const peer = session.peer;
  if (!changeState(context, session, "silence", options.why)) return;
  context.counters.clientsLost++;
  if (options.tell && peer !== undefined) sendDisconnect(context, session);
  context.sessions.unbind(session);
  stopInFlight(context, session);
  deliverWillOrClose(context, session);
}

/**
 * The client is disconnected in order, by itself or by the gateway. The will is not published; a clean session ends.
 * The connection to the broker closes with MQTT DISCONNECT.
 */
export function disconnectClient(context: Context, session: Session, why: string): void {
  if (!changeState(context, session, "disconnect", why)) return;
  context.sessions.unbind(session);
  stopInFlight(context, session);
  leave(context, session, why, "disconnect");
}

/** Sends a DISCONNECT that is not an answer. The client's answer to it gets no answer. */
export function sendDisconnect(context: Context, session: Session): void {
  if (session.peer === undefined) return;
  context.tell(session, disconnect);
  context.unknownSenders.note(session.peer, context.now);
}

/** The operator ends this session, as if its client had disconnected and started clean. */
export function endByOperator(context: Context, clientId: string): void {
  const session = context.sessions.byClientId(clientId);
  if (!session) return;
  sendDisconnect(context, session);
  if (session.pendingConnect) forgetPendingConnect(context, session.pendingConnect);
  session.clean = true;
  session.willPending = false;
  if (session.state !== "disconnected" && session.state !== "lost") {
    return disconnectClient(context, session, "ended by the operator");
  }
  leave(context, session, "ended by the operator", "disconnect");
}

/**
 * This session is ended for a new client. If it is active, it was never heard after its CONNECT. It gets DISCONNECT, in case it is a device
 * after all.
 */
export function endForRoom(context: Context, session: Session): void {
  const why = "made room for a new client";
  if (session.state !== "disconnected" && session.state !== "lost") {
    sendDisconnect(context, session);
    session.clean = true;
    return disconnectClient(context, session, why);
  }
  detach(context, session, { how: "disconnect", endSession: true });
  endSession(context, session, why);
}

export function onSilenceDeadline(context: Context, session: Session): void {
  if (session.willPending) return giveUpWill(context, session);
  if (session.state === "disconnected" || session.state === "lost") {
    if (session.pendingConnect || session.awaitsForwarding) return supervise(context, session);
    detach(context, session, { how: "disconnect", endSession: true });
    return endSession(context, session, "expired");
  }
  if (session.pendingConnect) return context.deadlines.set(session.silence, context.now + context.repetitionMs); // it is back
  const due = session.lastHeard + silenceAllowedMs(context, session);
  if (context.now < due) return context.deadlines.set(session.silence, due);
  // Sleeping clients get no DISCONNECT: they do not listen, and their next message is answered.
  markLost(context, session, {
    why: session.state === "active" ? "keep alive ran out" : "slept too long",
    tell: session.state === "active",
  });
}

/** The broker has everything that was accepted from this client. */
export function onAllForwarded(context: Context, session: Session): void {
  if (session.reported) {
    session.reported = false;
    context.out.report({ event: "backlog", clientId: session.clientId, count: 0 });
  }
  if (!session.awaitsForwarding || session.pendingConnect) return;
  if (session.willPending) {
    if (session.broker.link?.up) publishWill(context, session);
    return;
  }
  leave(context, session, "the broker has everything that it sent", "disconnect");
}
