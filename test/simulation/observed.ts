/**
 * What the observer knows of clients and addresses from the datagrams alone, and which answers a message entitles its sender to.
 */
import type { PeerId } from "../../src/core/types.ts";
import type { MessageType } from "../../src/wire/v12/messages.ts";
import { Repeated } from "./repeated.ts";

/** The answers to which a message entitles its sender, in any state. [MQTT-SN 1.2 §6.14] */
export const answersTo: Partial<Record<MessageType, readonly MessageType[]>> = {
  CONNECT: ["CONNACK", "WILLTOPICREQ"],
  WILLTOPIC: ["WILLMSGREQ", "CONNACK"],
  WILLMSG: ["CONNACK"],
  REGISTER: ["REGACK"],
  PUBLISH: ["PUBACK", "PUBREC"],
  PUBREL: ["PUBCOMP"],
  PUBREC: ["PUBREL"],
  SUBSCRIBE: ["SUBACK"],
  UNSUBSCRIBE: ["UNSUBACK"],
  PINGREQ: ["PINGRESP"],
  SEARCHGW: ["GWINFO"],
  WILLTOPICUPD: ["WILLTOPICRESP"],
  WILLMSGUPD: ["WILLMSGRESP"],
  DISCONNECT: ["DISCONNECT"],
};

export type ClientState = "unknown" | "active" | "asleep" | "awake" | "gone";

/** How a publication was sent to a client. */
export interface Sent {
  readonly msgId: number;
  readonly order: number;
  /** PUBREC of a QoS 2 message came: from here on only PUBREL. */
  received: boolean;
}

/** What a client published under one MsgId: PUBACK must repeat one of these topic ids. */
export interface Published {
  readonly topicIds: Set<number>;
  payload: string;
  qos: number;
}

/** One client, by its client id. */
export class ObservedClient {
  readonly repeated: Repeated;
  state: ClientState = "unknown";
  peer: PeerId | undefined;
  /** The state before it left, and when that was. */
  stateBefore: ClientState = "gone";
  goneAt = Number.NEGATIVE_INFINITY;
  /** DISCONNECT of the client that waits for its answer: true = to sleep. */
  leaving: boolean | undefined;
  inFlight: { readonly what: string; readonly of: string } | undefined;
  /** Answered between its CONNECT and the CONNACK: a copy that stood behind the CONNACK crossed the answer. */
  readonly answeredLate = new Set<string>();
  readonly sent = new Map<string, Sent>();
  /** Payloads that were sent once: later sendings are repetitions, of the gateway or of the broker. */
  readonly begun = new Set<string>();
  /** MsgIds of QoS 2 exchanges that are over: a late PUBREC still gets its PUBREL. [interpretation 17] */
  readonly completed = new Set<number>();
  wokenAgain = false;
  /** PINGREQs read one after the other when the gateway had stood still: their PINGRESPs leave so, too. */
  wokenAtOnce = 0;
  saidGoodbye = false;
  /** The gateway has said that it publishes them, and they are not at the broker yet. */
  willsBegun = 0;
  lost = false;
  /** The gateway's account: since its CONNECT was accepted the session ended. The CONNACK may have waited for a commit. */
  hasEnded = false;
  /** The gateway said that exactly-once cannot be kept any more: the broker forgot the session. */
  uncertain = false;
  /** What the broker handed to the gateway, in its order. Key: payload. */
  readonly order = new Map<string, number>();
  readonly lastOrder = new Map<string, number>();
  /** Messages that were delivered in the present wake-up. */
  handedOver = 0;

  constructor(copiesPerRound: number, keptBack: number) {
    this.repeated = new Repeated(copiesPerRound, keptBack);
  }
}

/** What an address sent and was sent. */
export class ObservedAddress {
  clientId: string | undefined;
  connecting: string | undefined;
  readonly owed = new Map<MessageType, number>();
  /** What it published, by MsgId. */
  published = new Map<number, Published>();
  /** It has spoken since it was last told to connect again. */
  spoke = false;
  unaskedAt = Number.NEGATIVE_INFINITY;
}
