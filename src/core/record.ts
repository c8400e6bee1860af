/** What of a session survives a restart: plain data, versioned, written as deltas. */
import type { PeerId, Publication, QoS, Will } from "./types.ts";

export interface SessionRecord {
  /** Format of this record. A later version reads all earlier ones. */
  readonly v: 1;
  readonly clientId: string;
  readonly peer: PeerId | undefined;
  readonly state: "active" | "asleep" | "disconnected" | "lost";
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  /** Lost, and its will has not reached the broker yet. */
  readonly farewell: boolean;
  readonly will: Will | undefined;
  readonly brokerWill: Will | undefined;
  readonly topics: readonly {
    readonly id: number;
    readonly name: string;
    /** An answer of the client has confirmed that it knows the id. */
    readonly known: boolean;
    /** It was told, and has confirmed nothing. */
    readonly told?: boolean;
  }[];
  readonly nextTopicId: number;
  /**
   * Where at the broker its exchanges and subscriptions are: an upstream, or one of its shared connections. Absent: an MQTT
   * session of its own at the default upstream.
   */
  readonly home?: string;
  readonly subscriptions: readonly {
    readonly filter: string;
    readonly qos: QoS;
    readonly by: "name" | "predefined" | "short";
    readonly predefinedId: number;
  }[];
}

/** A publication that waits for a client, in the order of `seq`. */
export interface QueuedRecord {
  readonly v: 1;
  readonly publication: Publication;
  /** MsgId under which it was sent to the client, 0 = not yet. */
  readonly msgId: number;
  readonly released: boolean;
  /** Wall clock when it came, ms since 1970; absent = unknown. This and what follows is not in the oldest records. */
  readonly since?: number;
  /** Milliseconds that it had left to live when this was written; absent = for ever. */
  readonly left?: number;
  /** Wall clock when those are over; absent = the clock could not be trusted. */
  readonly due?: number;
  /** Sent in vain: copies, rounds, and of those the ones that count (`Unanswered`); absent = not. */
  readonly unanswered?: {
    readonly tries: number;
    readonly rounds: number;
    readonly proofs: number;
    readonly fullProofs: number;
  };
}

/** A publication of a client that the broker has not finished with, by our packet id. [MQTT-3.1.1 4.4] */
export interface UplinkRecord {
  readonly v: 1;
  readonly publication: Publication;
  /** The client's, for its answers; undefined when it needs none (any more). */
  readonly origin: { readonly msgId: number; readonly topicId: number } | undefined;
  /** `open`: the broker may or may not have it; `released`: PUBREL may have gone out. */
  readonly stage: "open" | "released";
  readonly isWill: boolean;
}

/** A QoS 2 delivery that the broker has not released, by its packet id. */
export interface ReceivedRecord {
  readonly v: 1;
  /** The queued message that it is, while the broker has no PUBREC for it; 0 = acknowledged. */
  readonly seq: number;
  /** Of topic name and payload (`contentHash`); older stores have none. */
  readonly hash?: number;
}

/** A publication accepted for the broker while that was away, in the order of its number within the client's. */
export interface BacklogRecord {
  readonly v: 1;
  readonly publication: Publication;
  /** Wall clock when it was accepted, ms since 1970; 0 = the clock could not be trusted then. */
  readonly at: number;
}

/** A QoS 2 publication that the client was answered PUBREC for by us, by its MsgId, until its PUBREL. */
export interface TakenRecord {
  readonly v: 1;
  readonly topicId: number;
  /** Of the payload, to tell a repetition from the next message. */
  readonly hash: number;
}

/** A client that the broker has accepted: it may connect while the broker is away. */
export interface KnownRecord {
  readonly v: 1;
}

/** A message that was dropped, kept for the operator. */
export interface LetterRecord {
  readonly v: 1;
  readonly direction: "up" | "down";
  readonly reason: string;
  readonly publication: Publication;
  /** Wall clock, ms since 1970; 0 = unknown. */
  readonly at: number;
}

interface ChangeOf<Kind extends string, Record> {
  readonly of: Kind;
  readonly clientId: string;
  /** seq, packet id; 0 for a session. */
  readonly id: number;
  /** undefined deletes. */
  readonly record: Record | undefined;
}

/** A change to what is stored. All changes of one turn are committed together. */
export type Change =
  | ChangeOf<"session", SessionRecord>
  | ChangeOf<"queued", QueuedRecord>
  | ChangeOf<"uplink", UplinkRecord>
  | ChangeOf<"received", ReceivedRecord>
  | ChangeOf<"backlog", BacklogRecord>
  | ChangeOf<"taken", TakenRecord>
  | ChangeOf<"known", KnownRecord>
  | ChangeOf<"letter", LetterRecord>;

/** What waits on disk for the broker, without being read. */
export interface BacklogSummary {
  readonly count: number;
  /** Of topics and payloads. */
  readonly octets: number;
  readonly first: number;
  readonly last: number;
}

/** One session with all that belongs to it, as a store gives it back. */
export interface StoredState {
  readonly session: SessionRecord;
  /** By `seq`, in its order. */
  readonly queued: readonly (readonly [seq: number, record: QueuedRecord])[];
  readonly uplink: readonly (readonly [packetId: number, record: UplinkRecord])[];
  readonly received: readonly (readonly [packetId: number, record: ReceivedRecord])[];
  /** By the client's MsgId. */
  readonly taken: readonly (readonly [msgId: number, record: TakenRecord])[];
  readonly backlog: BacklogSummary | undefined;
}

/** What each stored publication is taken to cost besides its octets. */
export const backlogShare = 100;

/** What a stored publication is taken to cost: its octets and a flat share for key and bookkeeping. */
export function backlogBytes({ topicName, payload }: Publication): number {
  return payload.byteLength + topicName.length + backlogShare;
}
