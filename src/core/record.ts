/**
 * The part of a session that survives a restart: plain data, written as changes. The store adds the version on disk.
 */
import type { PeerId, Publication, PublicationMeta, QoS, Will } from "./types.ts";

export interface SessionRecord {
  readonly clientId: string;
  readonly peer: PeerId | undefined;
  readonly state: "active" | "asleep" | "disconnected" | "lost";
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  /** The client is lost, and its will has not reached the broker yet. */
  readonly farewell: boolean;
  /**
   * More than CONNECT and DISCONNECT was received from the client. The oldest records do not have this field and the
   * next one.
   */
  readonly spoke?: boolean;
  /** The dialect of the client; absent: MQTT-SN 1.2. */
  readonly dialect?: string;
  /** An access rule named the client, or the client had proved its identity. */
  readonly vouched?: boolean;
  /** The proved identity of the client, such as `psk:dev1`. */
  readonly boundTo?: string;
  /** The client is outside the own site, and has answered nothing at its present address. */
  readonly unproven?: boolean;
  readonly will: Will | undefined;
  readonly brokerWill: Will | undefined;
  /**
   * The last messages that the client was sent of some topic names. Messages that are not retained may be older than
   * the last one.
   */
  readonly shown?: readonly ShownRecord[];
  /**
   * Only in a store of 0.1.0. Later versions write each topic as a record of its own (`TopicRecord`), and nothing here.
   */
  readonly topics: readonly (TopicRecord & { readonly id: number })[];
  readonly nextTopicId: number;
  /**
   * The place of its exchanges and subscriptions at the broker: an upstream, or one of its shared connections. Absent: its own MQTT session
   * at the default upstream.
   */
  readonly home?: string;
  /** The old session is being left, and the client already uses this connection: both have a session at the broker. */
  readonly movingTo?: string;
  readonly subscriptions: readonly {
    readonly filter: string;
    readonly qos: QoS;
    readonly by: "name" | "predefined" | "short";
    readonly predefinedId: number;
    /** The broker refuses this subscription, so the gateway does not subscribe to it. */
    readonly isRefused?: boolean;
  }[];
}

/** A topic name that has an id. The record has the id as its key, so a REGISTER writes only this record. */
export interface TopicRecord {
  readonly name: string;
  /** An answer of the client has confirmed that the client knows the id. */
  readonly known: boolean;
  /** The client was told the id, and has not confirmed it. */
  readonly told?: boolean;
}

/** The last message of a topic name that the client was sent: see state/shown.ts. */
export interface ShownRecord {
  readonly name: string;
  readonly hash: number;
  /** The message came with RETAIN, so the broker keeps messages of this name. */
  readonly isRetained?: boolean;
}

/** A publication that waits for a client, in the order of `seq`. */
export interface QueuedRecord {
  readonly publication: Publication;
  /** The MsgId with which it was sent to the client; 0 = it was not sent yet. */
  readonly msgId: number;
  readonly released: boolean;
  /**
   * The wall clock when it arrived, ms since 1970; absent = unknown. The oldest records have neither this field nor the
   * following ones.
   */
  readonly since?: number;
  /** The milliseconds that were left until it expires when this was written; absent = it does not expire. */
  readonly left?: number;
  /** The wall clock when it expires; absent = the clock could not be trusted. */
  readonly due?: number;
  /** Copies without an answer, rounds, and the rounds that count (`Unanswered`); absent = none. */
  readonly unanswered?: {
    readonly tries: number;
    readonly rounds: number;
    readonly proofs: number;
    readonly fullProofs: number;
  };
}

/** A publication of a client that the broker has not completed, by the packet id of the gateway. [MQTT-3.1.1 4.4] */
export interface UplinkRecord {
  readonly publication: Publication;
  /** The ids of the client, for its answers; undefined if the client needs no answer (any more). */
  readonly origin: { readonly msgId: number; readonly topicId: number; readonly heard?: number } | undefined;
  /** `open`: the broker may or may not have it; `released`: PUBREL may have been sent. */
  readonly stage: "open" | "released";
  readonly isWill: boolean;
}

/** A QoS 2 delivery that the broker has not released, by its packet id. */
export interface ReceivedRecord {
  /** The number of the queued message with this delivery, while the broker has no PUBREC for it; 0 = acknowledged. */
  readonly seq: number;
  /** Hash of topic name and payload (`contentHash`); absent in older stores. */
  readonly hash?: number;
}

/**
 * A publication that was accepted for the broker while the broker was away, ordered by its number among those of the
 * client.
 */
export interface BacklogRecord {
  readonly publication: Publication;
  /** The wall clock when it was accepted, ms since 1970; 0 = the clock could not be trusted then. */
  readonly at: number;
}

/**
 * A QoS 2 publication for which the gateway itself answered PUBREC, by the client's MsgId, until the client's PUBREL.
 */
export interface TakenRecord {
  readonly topicId: number;
  /** Hash of the payload, which distinguishes a repetition from the next message. */
  readonly hash: number;
}

/** A client that the broker has accepted: it may connect while the broker is away. */
export type KnownRecord = Readonly<Record<string, never>>;

/** A packet that died alone at the broker, by a hash of its key (state/suspects.ts). */
export interface SuspectRecord {
  /** The key of the packet (state/packet-key.ts). */
  readonly key: string;
  readonly deaths: number;
  readonly epochs: number;
  readonly ordinal: number;
  /** Wall clock, ms since 1970; 0 = unknown. */
  readonly firstDeath: number;
  /** The suspicion concerns all packets of this kind. */
  readonly isKind?: boolean;
  /** Not a suspect: a QoS 2 packet id that must not be used again in this MQTT session. */
  readonly retired?: number;
}

/**
 * A kind of publications, or a request, that the broker does not accept, by a hash of its key (state/learnt-kinds.ts).
 */
export interface KindRecord {
  readonly key: string;
  readonly taken: number;
  /** The wall clock until which the kind is refused; 0 = not learnt, or unknown. */
  readonly until: number;
  readonly spanMs: number;
  readonly shortest: number;
  readonly hasShorterAnswered: boolean;
  /** The octets of the longest one that was answered; absent in the oldest records. */
  readonly longestAnswered?: number;
  /**
   * The wall clock when one was taken out last; 0 = unknown. This field and the next one are absent in the oldest
   * records.
   */
  readonly lastTaken?: number;
  /** The contents of the publications that were taken out. */
  readonly contents?: readonly string[];
}

/** A message that was dropped, kept for the operator. */
export interface LetterRecord {
  readonly direction: "up" | "down";
  readonly reason: string;
  readonly publication: Publication;
  /** Wall clock, ms since 1970; 0 = unknown. */
  readonly at: number;
  /** The message has QoS 2 and was in flight. The broker may have it, so it may arrive twice if it is sent again. */
  readonly mayBeThere?: boolean;
}

/**
 * The state of a device's encryption that survives a restart (`src/secure`). Only its owner reads the octets. Backups
 * do not contain it, because a restored copy would use numbers again that were used already.
 */
export interface SecureRecord {
  readonly state: Uint8Array;
}

interface ChangeOf<Kind extends string, Record> {
  readonly of: Kind;
  readonly clientId: string;
  /** seq, packet id or topic id; 0 for a session. */
  readonly id: number;
  /** Undefined deletes the record. */
  readonly record: Record | undefined;
}

/** A change to what is stored. All changes of one turn are committed together. */
export type Change =
  | ChangeOf<"session", SessionRecord>
  | ChangeOf<"topic", TopicRecord>
  | ChangeOf<"queued", QueuedRecord>
  | ChangeOf<"uplink", UplinkRecord>
  | ChangeOf<"received", ReceivedRecord>
  | ChangeOf<"backlog", BacklogRecord>
  | ChangeOf<"taken", TakenRecord>
  | ChangeOf<"known", KnownRecord>
  | ChangeOf<"letter", LetterRecord>
  | ChangeOf<"suspect", SuspectRecord>
  | ChangeOf<"kind", KindRecord>
  /** The key is transport and identity, in the place of a client id. */
  | ChangeOf<"secure", SecureRecord>;

/** The messages that wait on disk for the broker, without reading them. */
export interface BacklogSummary {
  readonly count: number;
  /** As `backlogBytes` counts them, without the fixed share of each message. */
  readonly octets: number;
  readonly first: number;
  readonly last: number;
}

/** One session with all its records, as a store returns it. */
export interface StoredState {
  readonly session: SessionRecord;
  /** By topic id. */
  readonly topics?: readonly (readonly [id: number, record: TopicRecord])[];
  /** By `seq`, in its order. */
  readonly queued: readonly (readonly [seq: number, record: QueuedRecord])[];
  readonly uplink: readonly (readonly [packetId: number, record: UplinkRecord])[];
  readonly received: readonly (readonly [packetId: number, record: ReceivedRecord])[];
  /** By the client's MsgId. */
  readonly taken: readonly (readonly [msgId: number, record: TakenRecord])[];
  readonly backlog: BacklogSummary | undefined;
  readonly suspects?: readonly (readonly [id: number, record: SuspectRecord])[];
  readonly kinds?: readonly (readonly [id: number, record: KindRecord])[];
}

/** The octets that each stored publication is assumed to take in addition to its contents. */
export const backlogShare = 100;

/** The octets that a stored publication is assumed to take: its contents and a fixed share for key and bookkeeping. */
export function backlogBytes({ topicName, payload, meta }: Publication): number {
  return payload.byteLength + topicName.length + (meta ? metaBytes(meta) : 0) + backlogShare;
}

const propertyShare = 5;
/** The length of a time in ISO 8601 with milliseconds. */
const isoLength = 24;

/**
 * The octets that the meta of a publication is assumed to take on disk: its texts and octets, and a fixed share for
 * each property. Stores count in the same way, and Redis keeps the sum.
 */
export function metaBytes(meta: PublicationMeta): number {
  const { originAt, userProperties = [], contentType, responseTopic, correlationData } = meta;
  let bytes = 2 * propertyShare;
  for (const [name, value] of userProperties) bytes += name.length + value.length + propertyShare;
  if (originAt !== undefined) bytes += "accepted".length + isoLength + propertyShare;
  if (contentType !== undefined) bytes += contentType.length + propertyShare;
  if (responseTopic !== undefined) bytes += responseTopic.length + propertyShare;
  if (correlationData !== undefined) bytes += correlationData.byteLength + propertyShare;
  return bytes;
}
