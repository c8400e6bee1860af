/**
 * The turns of a client's life that several procedures share: a change of state, being lost, the end of a session.
 * [MQTT-SN 1.2 §6.14]
 */
import { bury } from "../broker/dead-letters.ts";
import { publishClientStatus } from "../broker/service.ts";
import { leaveTrunk } from "../broker/trunk-subscriptions.ts";
import type { Context } from "../context.ts";
import type { DropReason } from "../event.ts";
import { disconnect } from "../messages.ts";
import { leave } from "../routing/debt.ts";
import { abandonOrBidFarewell } from "../routing/farewell.ts";
import { type ClientEvent, nextState } from "../state/client-state.ts";
import type { Session } from "../state/session.ts";
import { supervise } from "./keep-alive.ts";
import { stopInFlight } from "./publish-down.ts";
import { orphanUplink } from "./publish-up.ts";
import { recordOf } from "./session-record.ts";

/** Goes one step in the table of state.ts; false where that step does not exist. */
export function changeState(context: Context, session: Session, event: ClientEvent, why: string): boolean {
  const next = nextState(session.state, event);
  if (!next) return false;
  const before = session.state;
  session.state = next;
  context.sessions.setIdle(session, next === "disconnected" || next === "lost");
  supervise(context, session);
  markChanged(context, session);
  if (next === before) return true;
  context.out.report({ event: "client_state", clientId: session.clientId, state: next, peer: session.peer, why });
  publishClientStatus(context, session);
  return true;
}

/** The session is to be stored as it is at the end of this turn. */
export function markChanged(context: Context, session: Session): void {
  context.journal.mark(session, () => recordOf(session));
}

/**
 * The client is gone without a goodbye: its will is published, the session stays if it is not clean. `tell` sends the
 * hint of one DISCONNECT to where it last was.
 */
export function lose(context: Context, session: Session, options: { why: string; tell: boolean }): void {
  const peer = session.peer;
  if (!changeState(context, session, "silence", options.why)) return;
  context.counters.clientsLost++;
  if (options.tell && peer !== undefined) tellDisconnected(context, session);
  context.sessions.unbind(session);
  stopInFlight(context, session);
  abandonOrBidFarewell(context, session);
}

/** DISCONNECT that nobody asked for; its echo shall not be answered. */
export function tellDisconnected(context: Context, session: Session): void {
  if (session.peer === undefined) return;
  context.out.send(session.peer, disconnect);
  context.strangers.note(session.peer, context.now);
}

/**
 * The client is disconnected in order, by itself or by us. The will is not published; a clean session ends.
 * The connection to the broker closes with MQTT DISCONNECT.
 */
export function bidGoodbye(context: Context, session: Session, why: string): void {
  if (!changeState(context, session, "disconnect", why)) return;
  context.sessions.unbind(session);
  stopInFlight(context, session);
  leave(context, session, why, "disconnect");
}

function forgetBrokerState(context: Context, session: Session): void {
  const { clientId, broker } = session;
  for (const { packetId, stored } of session.trunk ? [] : broker.received.values()) {
    if (stored) context.journal.remove({ of: "received", clientId, id: packetId, record: undefined });
  }
  for (const msgId of session.taken.keys()) {
    context.journal.remove({ of: "taken", clientId, id: msgId, record: undefined });
  }
  // What is under way over a shared connection goes on, and its records go with its end.
  for (const exchange of session.trunk ? [] : broker.inFlight.values()) {
    if (exchange.kind !== "publish" || !exchange.stored) continue;
    context.journal.remove({ of: "uplink", clientId, id: exchange.packetId, record: undefined });
  }
}

/** What waits for the client is dropped and counted. */
export function dropWaiting(context: Context, session: Session, reason: DropReason): void {
  const held = session.outbox.length;
  for (const entry of session.outbox) {
    context.journal.drop(session.clientId, entry.seq);
    bury(context, { clientId: session.clientId, direction: "down", reason, publication: entry.publication });
    if (entry.received) entry.received.entry = undefined;
  }
  context.counters.bufferedMessages -= held;
  context.counters.bufferedBytes -= session.outbox.bytes;
  session.outbox.clear();
  if (held === 0) return;
  context.counters.dropped[reason] += held - 1;
  context.drop(reason, { clientId: session.clientId, detail: `${held} waiting messages` });
}

/** The operator wants this session gone, as if its client had left and started clean. */
export function endByOperator(context: Context, clientId: string): void {
  const session = context.sessions.byClientId(clientId);
  if (!session) return;
  tellDisconnected(context, session);
  if (session.setup) {
    context.deadlines.clear(session.setup.expiry);
    if (context.setups.get(session.setup.peer) === session.setup) context.setups.delete(session.setup.peer);
    session.setup = undefined;
  }
  session.clean = true;
  session.farewell = false;
  if (session.state !== "disconnected" && session.state !== "lost") {
    return bidGoodbye(context, session, "ended by the operator");
  }
  leave(context, session, "ended by the operator", "disconnect");
}

/** Nothing is left of the session here. What it still held is counted. Its link is closed by the caller, or was. */
export function endSession(context: Context, session: Session, why: string): void {
  if (session.setup) {
    context.deadlines.clear(session.setup.expiry);
    if (context.setups.get(session.setup.peer) === session.setup) context.setups.delete(session.setup.peer);
    session.setup = undefined;
  }
  dropWaiting(context, session, "session-ended");
  if (session.trunk) {
    leaveTrunk(context, session.trunk, session);
    orphanUplink(context, session);
    for (const exchange of session.uplink.values()) exchange.origin = undefined;
  }
  forgetBrokerState(context, session);
  context.deadlines.clear(session.life);
  context.deadlines.clear(session.retry);
  context.deadlines.clear(session.expiry);
  context.sessions.remove(session);
  context.journal.forget(session);
  context.out.report({ event: "session_ended", clientId: session.clientId, why });
}
