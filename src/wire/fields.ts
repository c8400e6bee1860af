/**
 * The fields of a message: how each is encoded, and how it is shown in words.
 *
 * A message is declared as an ordered record of fields; decoder, encoder, the `decode` command and the test
 * generators read that declaration and nothing else.
 */

/**
 * Text as it was received: a string if the octets are valid UTF-8, otherwise the octets. So an invalid name can be
 * refused by the rule of its message (REGACK 0x03, ...), and is not dropped.
 */
export type Text = string | Uint8Array;

/** The three kinds of topic id and the reserved value. [MQTT-SN 1.2 §5.3.4] */
export type TopicIdType = "normal" | "predefined" | "short" | "reserved";

/** QoS as a number; -1 is 0b11 on the wire. [MQTT-SN 1.2 §5.3.4] */
export type QoS = 0 | 1 | 2;
export type QoSOrMinusOne = QoS | -1;

/**
 * The topic of a SUBSCRIBE or UNSUBSCRIBE: a filter (type normal), an id (predefined), or two octets as a number
 * (short).
 */
export type TopicReference = Text | number;
