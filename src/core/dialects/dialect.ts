/**
 * One version of MQTT-SN: octets to messages, messages to procedures, and answers to octets (speech.ts). The procedures
 * in ../session know no version.
 */
import type { Context } from "../context.ts";
import type { Speech } from "../speech.ts";
import type { PeerId } from "../types.ts";
import type { FromClient, Publish } from "../words.ts";

export type Heard<Message extends FromClient> =
  | { readonly ok: true; readonly message: Message; readonly forwarded?: Encapsulation }
  | Unreadable;

/** Octets that are not a message. A dialect may add fields, which only its `decode` and `onUnreadable` use. */
export interface Unreadable {
  readonly ok: false;
  /** Set when the fault is inside an intact encapsulation. */
  readonly forwarded?: Encapsulation;
}

/** The encapsulation of a message that a forwarder passed on for a node. */
interface Encapsulation {
  readonly nodeId: Uint8Array;
}

/** The methods accept only results of `decode` of the same dialect. */
export interface Dialect<Message extends FromClient = FromClient> extends Speech {
  /**
   * Whether this is certainly a CONNECT of this version. Called only if there are several versions: for datagrams from an address without a
   * session, or of a client that speaks another version.
   */
  isConnect(bytes: Uint8Array): boolean;
  /** Never throws, and allocates no memory for a length that it has not checked. */
  decode(bytes: Uint8Array): Heard<Message>;
  /** Undefined: the message is no PUBLISH. */
  publishIn(message: Message): Publish | undefined;
  onMessage(context: Context, peer: PeerId, message: Message): void;
  /** Counts the datagram as dropped, with the reason, and answers if the version has such an answer. */
  onUnreadable(context: Context, peer: PeerId, heard: Unreadable, bytes: Uint8Array): void;
}

/** The first dialect is assumed for every sender whose dialect is not known. */
export type Dialects = readonly [Dialect, ...Dialect[]];

/**
 * The dialect of this datagram. A client uses its dialect until it connects in another one. An unknown address uses the
 * dialect whose CONNECT it sends, or else the first.
 */
export function dialectOf(context: Context, dialects: Dialects, from: PeerId, bytes: Uint8Array): Dialect {
  const [first] = dialects;
  if (dialects.length === 1) return first;
  const known = (context.pendingConnects.get(from) ?? context.sessions.lookAt(from))?.dialect ?? first;
  const opened = dialects.find((dialect) => dialect !== known && dialect.isConnect(bytes));
  return opened ?? dialects.find((dialect) => dialect === known) ?? first;
}
