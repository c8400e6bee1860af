/**
 * Supervision of silence: keep alive, sleep, and the expiry of sessions without a client.
 *
 * A datagram only sets `lastHeard`. When the deadline is due, it is compared with `lastHeard` and set again. So a
 * client that sends often costs one comparison per period. [MQTT-SN 1.2 §6.11, §6.14, §7.2]
 */
import { publishClientStatus } from "../broker/service.ts";
import type { Context } from "../context.ts";
import { type ClientEvent, nextState } from "../state/client-state.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/** Makes one transition in the table of client-state.ts. Returns false if there is no such transition. */
export function changeState(context: Context, session: Session, event: ClientEvent, why: string): boolean {
  const next = nextState(session.state, event);
  if (!next) return false;
  const before = session.state;
  context.sessions.setState(session, next);
  supervise(context, session);
  context.sessions.setIdle(session, next === "disconnected" || next === "lost");
  markChanged(context, session);
  if (next === before) return true;
  session.stateSince = context.now;
  session.stateWhy = why;
  context.out.report({ event: "client_state", clientId: session.clientId, state: next, peer: session.peer, why });
  publishClientStatus(context, session);
  return true;
}

/**
 * The announced time with the tolerance, in milliseconds: a tenth more above a minute, half more up to a minute. [§7.2]
 */
export function withGrace(seconds: number): number {
  return seconds * (seconds > 60 ? 1_100 : 1_500);
}

/** How long this session may be silent in its present state, in milliseconds. */
export function silenceAllowedMs(context: Context, session: Session): number {
  const { idleSecondsMax, sessionExpirySeconds } = context.options.clients;
  if (session.willPending) return sessionExpirySeconds * 1_000;
  switch (session.state) {
    case "active":
      return session.keepAliveSeconds > 0 ? withGrace(session.keepAliveSeconds) : idleSecondsMax * 1_000;
    case "asleep":
    case "awake":
      return withGrace(session.sleepSeconds);
    case "disconnected":
    case "lost":
      return sessionExpirySeconds * 1_000;
  }
}

/** Sets the deadline of the present state, counted from the last message of the client. */
export function supervise(context: Context, session: Session): void {
  const from = session.state === "disconnected" || session.state === "lost" ? context.now : session.lastHeard;
  context.deadlines.set(session.silence, from + silenceAllowedMs(context, session));
}
