/**
 * Limits what is sent to an unproven address. An address can be forged, and a CONNECT and a SUBSCRIBE of a few octets
 * can cause large messages to this address, which belongs to somebody else. So a client outside the own site gets only
 * a few octets for each octet that it has sent, until it answers a MsgId of the gateway. Only a client that receives at
 * its address can do that. Messages beyond the limit wait; each message of the client allows more.
 */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import type { ToClient } from "../words.ts";

/** The client has a new address, which is not proven yet. Nothing is counted if no proof is required. */
export function beginProof(context: Context, session: Session, peer: PeerId): void {
  const isNoMatter = context.options.clients.unprovenFactorMax === 0 || context.isInside(peer);
  session.unproven = isNoMatter ? undefined : { heard: context.octetsHeard, sent: 0, waits: false };
}

/** The client has answered a MsgId, so its address is proven. True: it was not proven before. */
export function prove(session: Session): boolean {
  if (!session.unproven) return false;
  session.unproven = undefined;
  return true;
}

export function noteHeard(context: Context, session: Session): void {
  if (session.unproven) session.unproven.heard += context.octetsHeard;
}

/** Whether this message may be sent to the client now. */
export function mayBeSent(context: Context, session: Session, message: ToClient): boolean {
  const { unproven, dialect } = session;
  if (!unproven) return true;
  const octets = dialect.encodedLength(message);
  if (unproven.sent + octets <= unproven.heard * context.options.clients.unprovenFactorMax) {
    unproven.waits = false;
    return true;
  }
  if (!unproven.waits) {
    unproven.waits = true;
    const { clientId, peer } = session;
    context.drop("not-proven", { clientId, peer, detail: `${message.type} of ${octets} octets waits for an answer` });
  }
  return false;
}

export function noteSent({ unproven, dialect }: Session, message: ToClient): void {
  if (unproven) unproven.sent += dialect.encodedLength(message);
}
