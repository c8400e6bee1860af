/**
 * The schema of each kind of stored record. A checksum shows only that octets are as they were written. It does not show that they
 * are a valid record, because anybody can write a backup file. An invalid record is left out; all others are read.
 *
 * All versions up to the present one are read. Unknown fields are ignored. Fields that are optional here are missing in the oldest
 * records.
 */
import { z } from "zod";
import type {
  BacklogRecord,
  KindRecord,
  KnownRecord,
  LetterRecord,
  QueuedRecord,
  ReceivedRecord,
  SecureRecord,
  SessionRecord,
  SuspectRecord,
  TakenRecord,
  TopicRecord,
  UplinkRecord,
} from "../core/record.ts";
import type { PeerId, Publication, PublicationMeta } from "../core/types.ts";
import { isTopicFilter, isTopicName } from "../wire/topic.ts";
import type { Kind } from "./keys.ts";

export interface RecordOf {
  readonly session: SessionRecord;
  readonly topic: TopicRecord;
  readonly queued: QueuedRecord;
  readonly uplink: UplinkRecord;
  readonly received: ReceivedRecord;
  readonly taken: TakenRecord;
  readonly backlog: BacklogRecord;
  readonly known: KnownRecord;
  readonly letter: LetterRecord;
  readonly suspect: SuspectRecord;
  readonly kind: KindRecord;
  readonly secure: SecureRecord;
}

/** The version of records that are written. */
export const version = 2;

export type Parsed<Of extends Kind> =
  | { readonly record: RecordOf[Of] }
  /** The record has a later version than this program knows. */
  | { readonly later: number }
  | { readonly wrong: string };

export function parseRecord<Of extends Kind>(of: Of, clientId: string, found: unknown): Parsed<Of> {
  if (typeof found !== "object" || found === null || !("v" in found)) return { wrong: "it is not a record" };
  const { v } = found;
  if (typeof v !== "number" || !Number.isSafeInteger(v) || v < 1) return { wrong: "it has no version" };
  if (v > version) return { later: v };
  const parsed = schemas[of].safeParse(found);
  if (!parsed.success) return { wrong: whyOf(parsed.error) };
  if (of === "session" && "clientId" in parsed.data && parsed.data.clientId !== clientId)
    return { wrong: "it has the key of another client" };
  return { record: parsed.data };
}

function whyOf({ issues: [first] }: z.ZodError): string {
  return first ? `${first.path.join(".")}: ${first.message}` : "it makes no sense";
}

const u16 = z.int().min(0).max(65_535);
const id = z.int().min(1).max(65_535);
const seconds = z.int().min(0).max(65_535);
const hash = z
  .int()
  .min(-(2 ** 31))
  .max(2 ** 32 - 1);
/** Wall clock, ms since 1970. */
const wall = z
  .number()
  .min(0)
  .max(2 ** 48 - 1);
const text = z
  .string()
  .max(65_535)
  .refine((value) => !lone.test(value), "no text");
const lone = /\p{Surrogate}/u;
const octets = z.instanceof(Uint8Array);
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);
const name = text.refine(isTopicName, "no topic name");

const meta: z.ZodType<PublicationMeta> = z.object({
  originAt: wall.exactOptional(),
  userProperties: z
    .array(z.tuple([text, text]))
    .max(1_000)
    .exactOptional(),
  contentType: text.exactOptional(),
  responseTopic: name.exactOptional(),
  correlationData: octets.exactOptional(),
  expirySeconds: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .exactOptional(),
});

const publication: z.ZodType<Publication> = z.object({
  topicName: name,
  payload: octets,
  qos,
  retain: z.boolean(),
  meta: meta.exactOptional(),
});

/** A publication from a broker. Its topic name is not checked; without the gateway's prefix it may be empty. */
const downlink: z.ZodType<Publication> = z.object({
  topicName: text,
  payload: octets,
  qos,
  retain: z.boolean(),
  meta: meta.exactOptional(),
});

/** A field that may be undefined in the program. Stored records have no undefined fields. */
const orNothing = <Of extends z.ZodType>(of: Of) => of.optional().default(undefined as never);

const count = z.int().min(0);

const topic = { name, known: z.boolean(), told: z.boolean().exactOptional() };

/** `transport/address`; for a node behind a forwarder followed by `#` and the node id. */
const peer = z.custom<PeerId>(
  (value) => typeof value === "string" && value.length <= 1_000 && !lone.test(value) && address.test(value),
  "no address",
);
const address = /^[^/#]+\/[^#]*(#([0-9a-f]{2}){0,252})?$/;

const schemas: { readonly [Of in Kind]: z.ZodType<RecordOf[Of]> } = {
  session: z.object({
    clientId: z.string(),
    peer: orNothing(peer),
    state: z.enum(["active", "asleep", "disconnected", "lost"]),
    clean: z.boolean(),
    keepAliveSeconds: seconds,
    sleepSeconds: seconds,
    farewell: z.boolean(),
    spoke: z.boolean().exactOptional(),
    dialect: text.exactOptional(),
    vouched: z.boolean().exactOptional(),
    boundTo: z.string().exactOptional(),
    unproven: z.boolean().exactOptional(),
    will: orNothing(publication),
    brokerWill: orNothing(publication),
    shown: z.array(z.object({ name: text, hash: z.int(), isRetained: z.boolean().exactOptional() })).exactOptional(),
    topics: z.array(z.object({ id, ...topic })),
    nextTopicId: z.int().min(1).max(65_536),
    home: text.exactOptional(),
    movingTo: text.exactOptional(),
    subscriptions: z.array(
      z.object({
        filter: text.refine(isTopicFilter, "no topic filter"),
        qos,
        by: z.enum(["name", "predefined", "short"]),
        predefinedId: u16,
        isRefused: z.boolean().exactOptional(),
      }),
    ),
  }),
  topic: z.object(topic),
  queued: z.object({
    publication: downlink,
    msgId: u16,
    released: z.boolean(),
    since: wall.exactOptional(),
    left: z
      .number()
      .min(0)
      .max(2 ** 53)
      .exactOptional(),
    due: wall.exactOptional(),
    unanswered: z
      .object({ tries: z.int().min(0), rounds: z.int().min(0), proofs: z.int().min(0), fullProofs: z.int().min(0) })
      .exactOptional(),
  }),
  uplink: z.object({
    publication,
    origin: orNothing(z.object({ msgId: id, topicId: u16, heard: hash.exactOptional() })),
    stage: z.enum(["open", "released"]),
    isWill: z.boolean(),
  }),
  received: z.object({ seq: z.int().min(0), hash: hash.exactOptional() }),
  taken: z.object({ topicId: u16, hash }),
  backlog: z.object({ publication, at: wall }),
  known: z.object({}),
  letter: z.object({
    direction: z.enum(["up", "down"]),
    reason: text,
    publication: downlink,
    at: wall,
    mayBeThere: z.boolean().exactOptional(),
  }),
  suspect: z.object({
    key: text,
    deaths: count,
    epochs: count,
    ordinal: count,
    firstDeath: wall,
    isKind: z.boolean().exactOptional(),
    retired: id.exactOptional(),
  }),
  kind: z.object({
    key: text,
    taken: count,
    until: wall,
    spanMs: count,
    shortest: count,
    hasShorterAnswered: z.boolean(),
    longestAnswered: count.exactOptional(),
    lastTaken: wall.exactOptional(),
    contents: z.array(text).exactOptional(),
  }),
  secure: z.object({ state: octets }),
};
