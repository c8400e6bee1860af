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
  /** Lost, and its will has not reached the broker yet. */
  readonly farewell: boolean;
  /** More than CONNECT and DISCONNECT was received from it. The oldest records do not have this field and the next one. */
  readonly spoke?: boolean;
  /** What its client spoke; absent: MQTT-SN 1.2. */
  readonly dialect?: string;
  /** A rule of access named it, or it had proved who it is. */
  readonly vouched?: boolean;
  /** What its client has proved to be: `psk:dev1`. */
  readonly boundTo?: string;
  /** It is outside the own site, and has answered nothing where it is. */
  readonly unproven?: boolean;
  readonly will: Will | undefined;
  readonly brokerWill: Will | undefined;
  /** What it was last sent of some names; what is not retained may be older than that. */
  readonly shown?: readonly ShownRecord[];
  /** In a store of 0.1.0; later ones keep each by itself (`TopicRecord`), and nothing here. */
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
    /** The broker does not take it: it is not asked for. */
    readonly isRefused?: boolean;
  }[];
}

/** A topic name that has an id, by it: a REGISTER writes this, and not all the others again. */
export interface TopicRecord {
  readonly name: string;
  /** An answer of the client has confirmed that it knows the id. */
  readonly known: boolean;
  /** The client was told the id, and has not confirmed it. */
  readonly told?: boolean;
}

/** The last that a client was sent of a name: see state/shown.ts. */
export interface ShownRecord {
  readonly name: string;
  readonly hash: number;
  /** It came with RETAIN: the broker keeps what is said under this name. */
  readonly isRetained?: boolean;
}

/** A publication that waits for a client, in the order of `seq`. */
export interface QueuedRecord {
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
  /** Sent without an answer: copies, rounds, and the rounds that count (`Unanswered`); absent = none. */
  readonly unanswered?: {
    readonly tries: number;
    readonly rounds: number;
    readonly proofs: number;
    readonly fullProofs: number;
  };
}

/** A publication of a client that the broker has not finished with, by our packet id. [MQTT-3.1.1 4.4] */
export interface UplinkRecord {
  readonly publication: Publication;
  /** The client's, for its answers; undefined when it needs none (any more). */
  readonly origin: { readonly msgId: number; readonly topicId: number; readonly heard?: number } | undefined;
  /** `open`: the broker may or may not have it; `released`: PUBREL may have been sent. */
  readonly stage: "open" | "released";
  readonly isWill: boolean;
}

/** A QoS 2 delivery that the broker has not released, by its packet id. */
export interface ReceivedRecord {
  /** The queued message that it is, while the broker has no PUBREC for it; 0 = acknowledged. */
  readonly seq: number;
  /** Of topic name and payload (`contentHash`); older stores have none. */
  readonly hash?: number;
}

/** A publication accepted for the broker while that was away, in the order of its number within the client's. */
export interface BacklogRecord {
  readonly publication: Publication;
  /** Wall clock when it was accepted, ms since 1970; 0 = the clock could not be trusted then. */
  readonly at: number;
}

/** A QoS 2 publication that the client was answered PUBREC for by us, by its MsgId, until its PUBREL. */
export interface TakenRecord {
  readonly topicId: number;
  /** Of the payload, to tell a repetition from the next message. */
  readonly hash: number;
}

/** A client that the broker has accepted: it may connect while the broker is away. */
export type KnownRecord = Readonly<Record<string, never>>;

/** A packet that died alone at the broker, by a hash of what it is (state/suspects.ts). */
export interface SuspectRecord {
  /** What it is (state/packet-key.ts). */
  readonly key: string;
  readonly deaths: number;
  readonly epochs: number;
  readonly ordinal: number;
  /** Wall clock, ms since 1970; 0 = unknown. */
  readonly firstDeath: number;
  /** It stands for all of its kind. */
  readonly isKind?: boolean;
  /** No suspect: a QoS 2 packet id that is not to be used again in this MQTT session. */
  readonly retired?: number;
}

/** A kind of publications, or a request, that the broker does not take, by a hash of what it is (state/learnt-kinds.ts). */
export interface KindRecord {
  readonly key: string;
  readonly taken: number;
  /** Refused until then by the wall clock; 0 = not learnt, or unknown. */
  readonly until: number;
  readonly spanMs: number;
  readonly shortest: number;
  readonly hasShorterAnswered: boolean;
  /** Octets of the longest of those; not in the oldest records. */
  readonly longestAnswered?: number;
  /** When one was taken out last, by the wall clock; 0 = unknown. This and the next are not in the oldest records. */
  readonly lastTaken?: number;
  /** What those that were taken out contained. */
  readonly contents?: readonly string[];
}

/** A message that was dropped, kept for the operator. */
export interface LetterRecord {
  readonly direction: "up" | "down";
  readonly reason: string;
  readonly publication: Publication;
  /** Wall clock, ms since 1970; 0 = unknown. */
  readonly at: number;
  /** It has QoS 2 and was in flight: the broker may have it, and if it is sent again it may arrive twice. */
  readonly mayBeThere?: boolean;
}

/**
 * What keeps a device's encryption over a restart (`src/secure`): octets that only their owner reads. They are in no backup,
 * for a copy would use numbers again that were used.
 */
export interface SecureRecord {
  readonly state: Uint8Array;
}

interface ChangeOf<Kind extends string, Record> {
  readonly of: Kind;
  readonly clientId: string;
  /** seq, packet id, topic id; 0 for a session. */
  readonly id: number;
  /** undefined deletes. */
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
  /** Under the name of transport and identity, in the place of a client id. */
  | ChangeOf<"secure", SecureRecord>;

/** What waits on disk for the broker, without being read. */
export interface BacklogSummary {
  readonly count: number;
  /** As `backlogBytes` counts, without the flat share of each. */
  readonly octets: number;
  readonly first: number;
  readonly last: number;
}

/** One session with all that belongs to it, as a store gives it back. */
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

/** What each stored publication is taken to cost besides its octets. */
export const backlogShare = 100;

/** What a stored publication is taken to cost: its octets and a flat share for key and bookkeeping. */
export function backlogBytes({ topicName, payload, meta }: Publication): number {
  return payload.byteLength + topicName.length + (meta ? metaBytes(meta) : 0) + backlogShare;
}

const propertyShare = 5;
/** A time as in ISO 8601, with milliseconds. */
const isoLength = 24;

/**
 * What a publication's meta is taken to cost on disk: its texts and octets, and a flat share for each property. Stores count the same, and
 * Redis keeps the sum.
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
