/**
 * How one version of MQTT-SN encodes messages to a client. A session has its `Speech`, and an effect carries it, so the
 * edge that sends knows no version. The other half, decoding, is in dialects/dialect.ts, because it needs the
 * procedures.
 */
import type { PeerId } from "./types.ts";
import type { ToClient } from "./words.ts";

export interface Speech {
  /** Stable, because a session is stored with it. */
  readonly name: string;
  /** Publications to a client carry the name of their topic, and nothing is registered: not in MQTT-SN 1.2. */
  readonly namesTopics: boolean;
  /**
   * The octets of this message; encapsulated for a node behind a forwarder. Undefined: this version has no such
   * message, and nothing is sent.
   * @throws RangeError when a number does not fit its field: a programming error.
   */
  encode(message: ToClient, nodeId?: Uint8Array): Uint8Array | undefined;
  /** Size of the encoded message in octets, without encoding it; 0: this version has no such message. */
  encodedLength(message: ToClient): number;
}

/** The dialect of a stored session whose record names none, because there was only this one then. */
export const assumedDialect = "mqtt-sn-1.2";

/** A sender at an address, and the dialect that it uses. */
export interface Listener {
  readonly peer: PeerId | undefined;
  readonly dialect: Speech;
}
