/** Finds out which side ended a connection, from the signs that were seen of it. */
import type { LinkEndCause } from "../core/input.ts";

/** The signs of one connection, from the attempt to its end. */
export interface ConnectionSigns {
  /** CONNECT was sent. */
  asked: boolean;
  /** CONNACK accepted the connection. */
  accepted: boolean;
  /** The gateway ended the connection, or did not begin it. */
  isOurs: boolean;
  /** DISCONNECT was received. */
  disconnected: boolean;
  /** FIN was received, or what stands for it in TLS or WebSocket. */
  finished: boolean;
  /** The first error: of the system, of TLS, or of the code that makes the connection. */
  error: Error | undefined;
}

/**
 * Error texts of MQTT.js for a missing answer to PINGREQ and for a missing CONNACK. Our own connections use the same
 * texts.
 */
export const noPingResp = "Keepalive timeout";
export const noConnAck = "connack timeout";
const unanswered: ReadonlySet<string> = new Set([noPingResp, noConnAck]);
/** The other side closed its socket, and did not read what the gateway had sent. */
const closedUnread: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);

export function causeOf({ asked, accepted, isOurs, disconnected, finished, error }: ConnectionSigns): LinkEndCause {
  if (isOurs) return "ours";
  if (disconnected) return "peer";
  if (error !== undefined) {
    if (unanswered.has(error.message)) return "silent";
    const code = "code" in error ? error.code : undefined;
    if (asked && closedUnread.has(code)) return "peer";
    // The gateway ended the connection because of an invalid packet. Such an error has no code of the system.
    return accepted && typeof code !== "string" && !finished ? "ours" : "network";
  }
  return finished ? "peer" : "network";
}
