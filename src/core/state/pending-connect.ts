/**
 * A CONNECT that is not answered yet: during the will dialogue, and while waiting for the broker. It is given up when
 * it takes too long.
 */
import { Deadline } from "../deadlines.ts";
import type { Speech } from "../speech.ts";
import type { Instant, PeerId, QoS, Will } from "../types.ts";
import type { Connect } from "../words.ts";

export type PendingConnectStage =
  /** WILLTOPICREQ is out. */
  | "willTopic"
  /** WILLMSGREQ is out. */
  | "willMsg"
  /** Everything is known; CONNACK waits for the broker. */
  | "broker";

/** A client that is connecting. */
export interface Caller {
  readonly peer: PeerId;
  readonly dialect: Speech;
  readonly message: Connect;
}

/** `Client`: a session, which stands on this (session.ts). */
export class PendingConnect<Client> implements Caller {
  readonly peer: PeerId;
  readonly clientId: string;
  readonly message: Connect;
  readonly dialect: Speech;
  stage: PendingConnectStage;
  willTopic: { readonly topicName: string; readonly qos: QoS; readonly retain: boolean } | undefined = undefined;
  /** What the dialogue brought; undefined = no will. Only read if CONNECT had the flag. */
  will: Will | undefined = undefined;
  /** Set in stage "broker". */
  session: Client | undefined = undefined;
  /** A repetition of a CONNECT that was accepted: if the will comes out the same, nothing changes. */
  repeats = false;
  /** The operator knows this client. */
  vouched = false;
  /** The session was made for this CONNECT and goes with it. */
  isNew = false;
  /** The client wakes with a session that continues: its topic ids stay valid. */
  wakes = false;
  /** When the last message of the dialogue was received. */
  heardAt: Instant = 0;
  /** MsgIds under which the client at this address has asked for something since: see `noteTalksOn`. */
  readonly asked = new Set<number>();
  readonly expiry: Deadline<PendingConnect<Client>, "pendingConnect"> = new Deadline<
    PendingConnect<Client>,
    "pendingConnect"
  >(this, "pendingConnect");

  constructor({ peer, message, dialect }: Caller, init: { clientId: string; stage: PendingConnectStage }) {
    this.peer = peer;
    this.clientId = init.clientId;
    this.message = message;
    this.dialect = dialect;
    this.stage = init.stage;
  }
}
