/**
 * The core does not know what the octets of a message mean. It asks once for each publication, when it accepts it. The
 * result is stored and sent from then on; a later change of the declaration does not change waiting messages.
 */

export interface PayloadPolicy {
  /**
   * The payload of a device, as it is published. Undefined: unchanged. `clientId` is undefined at QoS -1.
   * @param origin called only if the declaration publishes it; absent for a will, which is published at another time
   */
  up(
    clientId: string | undefined,
    topicName: string,
    payload: Uint8Array,
    origin?: () => Origin,
  ): Decoded | Unfit | undefined;
  /** The payload for a device, in its format. Undefined: unchanged. */
  down(clientId: string, topicName: string, payload: Uint8Array): Encoded | Unfit | undefined;
}

/** The sender of a publication, and when it was accepted, as far as they are known. */
export interface Origin {
  /** The name of the network. */
  readonly transport?: string;
  /** Signal strength in dBm. */
  readonly rssi?: number;
  /** Milliseconds since 1970. */
  readonly acceptedAt?: number;
}

export interface Decoded {
  readonly is: "made";
  readonly topicName: string;
  readonly payload: Uint8Array;
  /** MQTT 5. [MQTT-5 3.3.2.3.9] */
  readonly contentType: string;
  /** The original octets are published under this name, too, as a second publication. */
  readonly rawTopicName?: string;
}

export interface Encoded {
  readonly is: "made";
  readonly payload: Uint8Array;
}

/** The payload does not fit its declaration: `why` names the field and the octet. */
export interface Unfit {
  readonly is: "unfit";
  readonly why: string;
}

/** No declarations: every payload is unchanged. */
export const asItIs: PayloadPolicy = { up: () => undefined, down: () => undefined };
