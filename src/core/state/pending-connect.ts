/**
 * A CONNECT that is not answered yet: during the will dialogue, and while waiting for the broker. It is given up if it
 * takes too long.
 */
import { Deadline } from "../deadlines.ts";
import type { Speech } from "../speech.ts";
import type { Instant, PeerId, QoS, Will } from "../types.ts";
import type { Connect } from "../words.ts";

export type PendingConnectStage =
  /** WILLTOPICREQ was sent. */
  | "willTopic"
  /** WILLMSGREQ was sent. */
  | "willMsg"
  /** The dialogue is complete; CONNACK waits for the broker. */
  | "broker";

/** A client that is connecting. */
export interface Caller {
  readonly peer: PeerId;
  readonly dialect: Speech;
  readonly message: Connect;
}

/** `Client` is a session. It is a type parameter because session.ts uses this file. */
export class PendingConnect<Client> implements Caller {
  readonly peer: PeerId;
  readonly clientId: string;
  readonly message: Connect;
  readonly dialect: Speech;
  stage: PendingConnectStage;
  willTopic: { readonly topicName: string; readonly qos: QoS; readonly retain: boolean } | undefined = undefined;
  /** The will from the dialogue; undefined = no will. It is used only if CONNECT had the flag. */
  will: Will | undefined = undefined;
  /** Set in stage "broker". */
  session: Client | undefined = undefined;
  /** This repeats a CONNECT that was accepted. If the will is the same, nothing changes. */
  repeats = false;
  /** The operator has named this client. */
  vouched = false;
  /** The session was made for this CONNECT, and is removed if it fails. */
  isNew = false;
  /** The client continues a session after sleep, so its topic ids stay valid. */
  wakes = false;
  /** When the last message of the dialogue was received. */
  heardAt: Instant = 0;
  /** MsgIds of requests that the client at this address has sent since, see `noteTalksOn`. */
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
