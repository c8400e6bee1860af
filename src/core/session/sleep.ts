/**
 * Sleeping clients. [MQTT-SN 1.2 §6.14]
 *
 * While a client is asleep, the gateway sends it only answers. A PINGREQ with the client id wakes it: the gateway
 * delivers the waiting messages, one at a time, and sends PINGRESP after the last acknowledgement. The session is found
 * by the client id, so the client may have any address.
 */
import type { Text } from "../../wire/fields.ts";
import type { Context } from "../context.ts";
import { disconnect, pingResp } from "../messages.ts";
import type { Speech } from "../speech.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import { changeState } from "./client-life.ts";
import { takeCustodyOfAll } from "./custody.ts";
import { disconnectClient, sendDisconnect } from "./departure.ts";
import { stopInFlight } from "./drop.ts";
import { mayAsk } from "./limits.ts";
import { repeatInFlight } from "./publish-down.ts";
import { moveTo } from "./session-record.ts";

/** DISCONNECT: with a duration the client goes to sleep, without one (or with 0) it leaves. [interpretation 8] */
export function onDisconnect(context: Context, session: Session, duration: number | undefined): void {
  if (session.peer !== undefined) {
    context.tell(session, disconnect);
    context.out.releaseLink(session.peer);
  }
  if (!duration) return disconnectClient(context, session, "DISCONNECT");
  session.sleepSeconds = duration;
  stopInFlight(context, session);
  changeState(context, session, "sleep", `sleeps ${duration} s`);
  takeCustodyOfAll(context, session);
}

/** A PINGREQ from a known address. */
export function onPingReq(context: Context, session: Session, clientId: Text): void {
  if (session.peer === undefined || !mayAsk(context, session, "PINGREQ")) return;
  const wakes = clientId === session.clientId && (session.state === "asleep" || session.state === "awake");
  if (!wakes) return context.tell(session, pingResp);
  wake(context, session);
}

/**
 * A PINGREQ with the id of a client that has another address, or none: a sleeping client that has moved is accepted.
 * False: the sender must be treated as an unknown sender. [interpretation 3]
 */
export function onPingReqFromElsewhere(context: Context, dialect: Speech, peer: PeerId, clientId: string): boolean {
  const session = context.sessions.byClientId(clientId);
  if (session?.dialect !== dialect || !context.options.clients.roaming) return false;
  if (session.state !== "asleep" && session.state !== "awake") return false;
  // The sender has the address of another active client, which must not get the messages of this one.
  if (context.sessions.byPeer(peer)?.state === "active") return false;
  if (!context.admits(clientId, peer).admitted) return false;
  context.out.report({ event: "client_moved", clientId, from: session.peer, to: peer });
  moveTo(context, session, peer);
  session.lastHeard = context.now;
  session.heard++;
  wake(context, session);
  return true;
}

function wake(context: Context, session: Session): void {
  if (session.brokerRefused) {
    sendDisconnect(context, session);
    return disconnectClient(context, session, "refused by the broker");
  }
  if (session.state === "awake") return repeatInFlight(context, session);
  changeState(context, session, "wake", "PINGREQ");
  session.outbox.wakeUps++;
  const { buffer } = context.options;
  const allowance = session.outbox.length + buffer.extraPerWakeMax;
  session.outbox.allowance = Math.min(allowance, buffer.perWakeMaxOf(session.clientId));
  context.touch(session); // the end of the turn delivers messages, or sends PINGRESP
}
