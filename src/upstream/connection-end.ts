/** Who ended a connection, from what was seen of it. */
import type { LinkEndCause } from "../core/input.ts";

/** What was seen of one connection, from the attempt to its end. */
export interface ConnectionSigns {
  /** CONNECT has left. */
  asked: boolean;
  /** CONNACK said yes. */
  accepted: boolean;
  /** We ended it, or did not begin. */
  isOurs: boolean;
  /** DISCONNECT came. */
  disconnected: boolean;
  /** FIN came, or what stands for it in TLS or WebSocket. */
  finished: boolean;
  /** The first error, of the system, of TLS, or of who makes the connection. */
  error: Error | undefined;
}

/** What MQTT.js says where nothing came in time, and what is said in its place: the answer to PINGREQ, CONNACK. */
export const noPingResp = "Keepalive timeout";
export const noConnAck = "connack timeout";
const unanswered: ReadonlySet<string> = new Set([noPingResp, noConnAck]);
/** The other side closed its socket, and did not read what we had sent. */
const closedUnread: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);

export function causeOf({ asked, accepted, isOurs, disconnected, finished, error }: ConnectionSigns): LinkEndCause {
  if (isOurs) return "ours";
  if (disconnected) return "peer";
  if (error !== undefined) {
    if (unanswered.has(error.message)) return "silent";
    const code = "code" in error ? error.code : undefined;
    if (asked && closedUnread.has(code)) return "peer";
    // Over a packet that cannot be taken: no code of the system then.
    return accepted && typeof code !== "string" && !finished ? "ours" : "network";
  }
  return finished ? "peer" : "network";
}
