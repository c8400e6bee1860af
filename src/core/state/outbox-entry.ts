/**
 * One message that waits for a client, and what is known about the copies that were sent. outbox.ts keeps the order.
 */
import type { BufferPolicy } from "../options.ts";
import { backlogBytes } from "../record.ts";
import type { Instant, Publication } from "../types.ts";
import type { Received } from "./exchanges.ts";

export interface OutboxEntry {
  readonly publication: Publication;
  readonly policy: BufferPolicy;
  /** When the message came, as far as that is known after a restart; and by the wall clock, 0 = unknown. */
  readonly since: Instant;
  readonly sinceWall: number;
  /** The message is dropped at this time if it was never sent to the client. */
  expiresAt: Instant | undefined;
  /** The same time by the wall clock, as it is stored; 0 = unknown. */
  due: number;
  /** `due` comes from an earlier run of the gateway, whose wall clock could be trusted. */
  readonly dueStands: boolean;
  /** The delivery of the broker, until it is acknowledged. */
  received: Received | undefined;
  /** MsgId towards the client; 0 = not sent yet, or QoS 0. */
  msgId: number;
  /** The message has a MsgId but was not sent yet, so it is sent without DUP. */
  fresh: boolean;
  /** PUBREC came: only PUBREL and PUBCOMP are missing. */
  released: boolean;
  /** The client answered "invalid topic id". */
  topicIdRefused: boolean;
  /** Its topic was registered again after that. After two more refusals the message is dropped. */
  registeredAgain: boolean;
  /**
   * The client refused a repetition. The message is tried once more without DUP, because RIOT's emcute requires that.
   * [interpretation 23]
   */
  dupRefused: boolean;
  /**
   * The message was refused after one of these remedies, but this may have been a copy of the first refusal. After the
   * next refusal it is dropped.
   */
  refusedAgain: boolean;
  /** Number in the store; 0 = not stored. */
  seq: number;
  /**
   * The client called the id invalid directly after a SUBACK had told it. The gateway has waited once for the client.
   */
  waitedForId: boolean;
  /** Set if the client left copies of the message unanswered. */
  unanswered: Unanswered | undefined;
}

/** How often a message, or the REGISTER of a topic name, was sent without an answer. */
export interface Unanswered {
  /** The number of copies that were sent. */
  tries: number;
  /** Rounds that ended without an answer. */
  rounds: number;
  /**
   * Of these rounds, the ones before which the client had answered something else since the round before. So it could
   * be reached.
   */
  proofs: number;
  /** Of the proofs, the ones with all repetitions; a wake-up may end a round early. */
  fullProofs: number;
  /** `Outbox.answers` at the last proof. */
  answersThen: number;
  /** `Session.heard` at the end of the last round. */
  heardThen: number;
  /** The message stands aside: others are sent first. */
  isAside: boolean;
  /** An active client does not get the message before this time. */
  until: Instant;
  /** The number of the wake-up in which it was tried last. It is not tried again in the same one. */
  wakeUp: number;
  /**
   * Only for a topic name: it was given up, with the messages that waited under it. Messages that come before `until`
   * are not tried.
   */
  isGivenUp: boolean;
}

export function newUnanswered(): Unanswered {
  return {
    tries: 0,
    rounds: 0,
    proofs: 0,
    fullProofs: 0,
    answersThen: 0,
    heardThen: -1,
    isAside: false,
    until: 0,
    wakeUp: 0,
    isGivenUp: false,
  };
}

/** Whether the entry may be dropped. It may not if the client may have the message, or its MsgId. */
export function isFree(entry: OutboxEntry): boolean {
  return entry.msgId === 0;
}

/**
 * Connects an entry with the broker's delivery that it holds. Both refer to each other until the delivery is
 * acknowledged.
 */
export function bindDelivery(entry: OutboxEntry, received: Received): void {
  entry.received = received;
  received.held = true;
}

/** From now on the gateway alone has the message. Returns the delivery that the entry held. */
export function unbindDelivery(entry: OutboxEntry): Received | undefined {
  const { received } = entry;
  if (!received) return undefined;
  entry.received = undefined;
  received.held = false;
  return received;
}

/** The memory that a waiting message is assumed to take: its octets and a fixed share for the bookkeeping. */
export function entryBytes(entry: OutboxEntry): number {
  return backlogBytes(entry.publication);
}
