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
  /** When it came, as far as that is known after a restart; and by the wall clock, 0 = unknown. */
  readonly since: Instant;
  readonly sinceWall: number;
  /** Dropped then, if it was never sent to the client. */
  expiresAt: Instant | undefined;
  /** The same by the wall clock, as it is stored; 0 = unknown. */
  due: number;
  /** `due` is of an earlier run of the gateway, whose clock could be trusted. */
  readonly dueStands: boolean;
  /** The broker's side, until it is acknowledged there. */
  received: Received | undefined;
  /** MsgId towards the client; 0 = not sent yet, or QoS 0. */
  msgId: number;
  /** It has its MsgId and was not sent yet: it goes without DUP. */
  fresh: boolean;
  /** PUBREC came: only PUBREL and PUBCOMP are left. */
  released: boolean;
  /** The client said "invalid topic id". */
  topicIdRefused: boolean;
  /** Its topic was registered once more after that; two more refusals end it. */
  registeredAgain: boolean;
  /** The client refused a repetition; one more try goes without DUP (RIOT's emcute wants that). [interpretation 23] */
  dupRefused: boolean;
  /** Refused after one of these remedies, but that may have been a copy of the first refusal: the next one ends it. */
  refusedAgain: boolean;
  /** Number in the store; 0 = not stored. */
  seq: number;
  /** A SUBACK had told the id just before the client called it invalid: it has been waited for once. */
  waitedForId: boolean;
  /** The client left copies of it unanswered; undefined = it has not, so far. */
  unanswered: Unanswered | undefined;
}

/** How often a message, or the REGISTER of a name, was sent without an answer. */
export interface Unanswered {
  /** Copies, in all. */
  tries: number;
  /** Rounds that ended without an answer. */
  rounds: number;
  /** Of those, the ones since whose predecessor the client answered something else: it was there, and could be reached. */
  proofs: number;
  /** Of the proofs, those with all repetitions; a wake-up may end a round early. */
  fullProofs: number;
  /** `Outbox.answers` at the last of them. */
  answersThen: number;
  /** `Session.heard` at the end of the last round. */
  heardThen: number;
  /** Others go first. */
  isAside: boolean;
  /** An active client is not sent it before. */
  until: Instant;
  /** Number of the wake-up that it was last tried in: not again in the same one. */
  wakeUp: number;
  /** Of a name: given up, with what waited under it. What comes before `until` is not tried. */
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

/** May it be dropped? Not when the client may hold it, or its MsgId. */
export function isFree(entry: OutboxEntry): boolean {
  return entry.msgId === 0;
}

/** The entry is this delivery of the broker's: while that is not acknowledged, both know of each other. */
export function bindDelivery(entry: OutboxEntry, received: Received): void {
  entry.received = received;
  received.held = true;
}

/** The entry is ours alone from now on. Answers the delivery that it was. */
export function unbindDelivery(entry: OutboxEntry): Received | undefined {
  const { received } = entry;
  if (!received) return undefined;
  entry.received = undefined;
  received.held = false;
  return received;
}

/** What a waiting message is taken to cost: its octets and a flat share for the bookkeeping. */
export function entryBytes(entry: OutboxEntry): number {
  return backlogBytes(entry.publication);
}
