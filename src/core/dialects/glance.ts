/**
 * Facts that a gateway of a fleet reads from a datagram before the session is known. They are read for each datagram,
 * so the most frequent questions are answered from the header. Behind a forwarder the inner message counts.
 * [MQTT-SN 1.2 §5.2, §5.5]
 */
import { decode } from "../../wire/v12/codec.ts";
import { layoutByType } from "../../wire/v12/layout.ts";
import type { MessageType } from "../../wire/v12/messages.ts";
import { peerBehind } from "../peer-id.ts";
import type { PeerId } from "../types.ts";

const encapsulated = 0xfe;
const connect = layoutByType.CONNECT.code;
const connAck = layoutByType.CONNACK.code;
const pingReq = layoutByType.PINGREQ.code;
const pingResp = layoutByType.PINGRESP.code;
const willTopicReq = layoutByType.WILLTOPICREQ.code;
const searchGw = layoutByType.SEARCHGW.code;

/** Messages for the gateway that has the client's session. A CONNECT without a client id is refused by any gateway. */
const ofSessions: ReadonlySet<MessageType> = new Set<MessageType>([
  "PUBLISH",
  "PUBACK",
  "PUBREC",
  "PUBREL",
  "PUBCOMP",
  "REGISTER",
  "REGACK",
  "SUBSCRIBE",
  "UNSUBSCRIBE",
  "PINGREQ",
  "PINGRESP",
  "DISCONNECT",
  "WILLTOPIC",
  "WILLMSG",
  "WILLTOPICUPD",
  "WILLMSGUPD",
]);

export const datagramWords = {
  /**
   * The most frequent case: only the sender's address identifies the client. The other questions need not be asked
   * then.
   */
  isPlain(bytes: Uint8Array): boolean {
    const isLong = bytes[0] === 1;
    const code = isLong ? bytes[3] : bytes[1];
    if (code === connect || code === searchGw || (code === encapsulated && !isLong)) return false;
    return code !== pingReq || bytes.length === 2;
  },

  /** The sender or receiver of the message; behind a forwarder, the node. */
  nodeOf(neighbour: PeerId, bytes: Uint8Array): PeerId {
    if (startOf(bytes) === 0) return neighbour;
    const { forwarded } = decode(bytes);
    return forwarded ? peerBehind(neighbour, forwarded.nodeId) : neighbour;
  },

  /** The client id that the datagram itself names; undefined: none. */
  clientIn(bytes: Uint8Array): string | undefined {
    const code = codeOf(bytes);
    if (code !== connect && (code !== pingReq || bytes.length === 2)) return undefined;
    const heard = decode(bytes);
    const named = heard.ok && "clientId" in heard.message ? heard.message.clientId : "";
    return typeof named === "string" && named !== "" ? named : undefined;
  },

  /** True for SEARCHGW, which asks for the gateways. */
  isSearch(bytes: Uint8Array): boolean {
    return codeOf(bytes) === searchGw;
  },

  /** True if any shard can handle the message: it needs no session, or no session can use it. */
  isForAnybody(bytes: Uint8Array): boolean {
    const heard = decode(bytes);
    if (!heard.ok || !ofSessions.has(heard.message.type)) return true;
    return heard.message.type === "PUBLISH" && heard.message.qos === -1;
  },

  /** True for an answer with which the gateway accepts a client, or asks for its will before accepting it. */
  accepts(bytes: Uint8Array): boolean {
    const code = codeOf(bytes);
    if (code !== connAck) return code === willTopicReq;
    const start = startOf(bytes);
    return bytes[start + (bytes[start] === 1 ? 4 : 2)] === 0;
  },

  /** True for a message that the gateway sends only to a client that has a session. */
  confirms(bytes: Uint8Array): boolean {
    return codeOf(bytes) === pingResp;
  },
} as const;

/** The offset of the message after the header of an encapsulation. */
function startOf(bytes: Uint8Array): number {
  return bytes[1] === encapsulated && bytes[0] !== 1 ? (bytes[0] ?? 0) : 0;
}

/** MsgType; undefined if the datagram ends before it. */
function codeOf(bytes: Uint8Array): number | undefined {
  const start = startOf(bytes);
  return bytes[start] === 1 ? bytes[start + 3] : bytes[start + 1];
}
