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

/** Octets that are no message. What else is known of them is between `decode` and `onUnreadable`. */
export interface Unreadable {
  readonly ok: false;
  /** Set when the fault is inside an intact encapsulation. */
  readonly forwarded?: Encapsulation;
}

/** A forwarder passes on what a node behind it said. */
interface Encapsulation {
  readonly nodeId: Uint8Array;
}

/** The methods take what `decode` of the same dialect gave, and nothing else. */
export interface Dialect<Message extends FromClient = FromClient> extends Speech {
  /**
   * Whether this is certainly a CONNECT of this version. Called only if there are several versions: for datagrams from an address without a
   * session, or of a client that speaks another version.
   */
  isConnect(bytes: Uint8Array): boolean;
  /** Never throws, allocates nothing by a length it has not checked. */
  decode(bytes: Uint8Array): Heard<Message>;
  /** Undefined: the message is no PUBLISH. */
  publishIn(message: Message): Publish | undefined;
  onMessage(context: Context, peer: PeerId, message: Message): void;
  /** Counts it as dropped, with the reason, and answers if the version has such an answer. */
  onUnreadable(context: Context, peer: PeerId, heard: Unreadable, bytes: Uint8Array): void;
}

/** The first is spoken by everybody of whom nothing else is known. */
export type Dialects = readonly [Dialect, ...Dialect[]];

/**
 * Whose language is this? A client speaks its own until it connects in another; an address of which nothing is known opens
 * with a CONNECT, or speaks the first.
 */
export function dialectOf(context: Context, dialects: Dialects, from: PeerId, bytes: Uint8Array): Dialect {
  const [first] = dialects;
  if (dialects.length === 1) return first;
  const known = (context.pendingConnects.get(from) ?? context.sessions.byPeer(from))?.dialect ?? first;
  const opened = dialects.find((dialect) => dialect !== known && dialect.isConnect(bytes));
  return opened ?? dialects.find((dialect) => dialect === known) ?? first;
}
