/**
 * How one version of MQTT-SN speaks to a client. A session knows its own, and an effect carries it, so that the edge that
 * sends has nothing to know of versions. The other half, how it is heard, is in dialects/dialect.ts: that needs the procedures.
 */
import type { PeerId } from "./types.ts";
import type { ToClient } from "./words.ts";

export interface Speech {
  /** Stable: a session is stored with it. */
  readonly name: string;
  /** Publications to a client carry the name of their topic, and nothing is registered: not in MQTT-SN 1.2. */
  readonly namesTopics: boolean;
  /**
   * The octets of this message; encapsulated where it goes to a node behind a forwarder. Undefined: this version has no such
   * message, and nothing is sent.
   * @throws RangeError when a number does not fit its field: our own mistake.
   */
  encode(message: ToClient, nodeId?: Uint8Array): Uint8Array | undefined;
  /** Size of the encoded message in octets, without encoding it; 0 where there is none. */
  encodedLength(message: ToClient): number;
}

/** What a stored session speaks where its record names nothing: the only version that there was. */
export const assumedDialect = "mqtt-sn-1.2";

/** Somebody at an address, and how he is spoken to. */
export interface Listener {
  readonly peer: PeerId | undefined;
  readonly dialect: Speech;
}
