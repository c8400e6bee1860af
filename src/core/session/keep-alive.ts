/**
 * Supervision of silence: keep alive, sleep, and the expiry of sessions without a client.
 *
 * A datagram only notes `lastHeard`; when the deadline comes up it looks again and moves on, so a busy client costs
 * one look per period. [MQTT-SN 1.2 §6.11, §6.14, §7.2]
 */
import { detach } from "../broker/links.ts";
import type { Context } from "../context.ts";
import { giveUpFarewell } from "../routing/farewell.ts";
import type { Session } from "../state/session.ts";
import { endSession, lose } from "./lifecycle.ts";

/** The announced time and what is allowed on top: a tenth above a minute, half up to it. In milliseconds. [§7.2] */
export function withGrace(seconds: number): number {
  return seconds * (seconds > 60 ? 1_100 : 1_500);
}

/** How long this session may be silent, as it is now, in milliseconds. */
export function silenceAllowedMs(context: Context, session: Session): number {
  const { idleSecondsMax, sessionExpirySeconds } = context.options.clients;
  if (session.farewell) return sessionExpirySeconds * 1_000;
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

/** Arms the deadline that the present state asks for, counted from the last message heard. */
export function supervise(context: Context, session: Session): void {
  const from = session.state === "disconnected" || session.state === "lost" ? context.now : session.lastHeard;
  context.deadlines.set(session.life, from + silenceAllowedMs(context, session));
}

export function onLifeDeadline(context: Context, session: Session): void {
  if (session.farewell) return giveUpFarewell(context, session);
  if (session.state === "disconnected" || session.state === "lost") {
    if (session.setup || session.lingers) return supervise(context, session);
    detach(context, session, { how: "disconnect", endSession: true });
    return endSession(context, session, "expired");
  }
  if (session.setup) return context.deadlines.set(session.life, context.now + context.repetitionMs); // it is back
  const due = session.lastHeard + silenceAllowedMs(context, session);
  if (context.now < due) return context.deadlines.set(session.life, due);
  // Sleepers are told nothing: they do not listen, and their next message is answered.
  lose(context, session, {
    why: session.state === "active" ? "keep alive ran out" : "slept too long",
    tell: session.state === "active",
  });
}
