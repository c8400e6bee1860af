/**
 * What waits for one client, in order.
 *
 * One thing at a time is in flight towards a client: a REGISTER, a QoS 1 or 2 PUBLISH, or a PUBREL. Everything else
 * waits behind it, so order holds and the smallest client can follow. An entry stays at the head until the client has
 * it; the MsgId it was sent under stays with it, so that an acknowledgement that comes late (after a sleep, a move, a
 * retry) still finds it, and a QoS 2 message is never sent under a second id. [interpretation 13, 17]
 */

import type { Found } from "../assert.ts";
import type { Tally } from "../counters.ts";
import type { BufferPolicy } from "../options.ts";
import { backlogBytes } from "../record.ts";
import { SmallMap } from "../small-map.ts";
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
  /** `due` is of an earlier life of the gateway, whose clock could be trusted. */
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
  /** Its topic was registered once more after that; the next refusal ends it. */
  registeredAgain: boolean;
  /** The client refused a repetition; one more try goes without DUP (RIOT's emcute wants that). [interpretation 23] */
  dupRefused: boolean;
  /** Number in the store; 0 = not stored. */
  seq: number;
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

const nothing: Readonly<Tally> = { messages: 0, bytes: 0 };

export type InFlight =
  | {
      readonly kind: "register";
      readonly msgId: number;
      readonly topicId: number;
      readonly topicName: string;
      tries: number;
    }
  | { readonly kind: "publish"; readonly entry: OutboxEntry; tries: number };

export class Outbox {
  /** A queue with a moving head: taking from the front is cheap. */
  #entries: OutboxEntry[] = [];
  #head = 0;
  #bytes = 0;
  /** Of all outboxes together. */
  readonly #total: Tally;
  readonly #byPolicy = new SmallMap<BufferPolicy, Tally>();
  #lastMsgId: number;
  inFlight: InFlight | undefined = undefined;
  /** The client said "congestion": nothing goes out before. */
  pausedUntil: Instant = 0;
  /** Messages that may still go out before the client is let go to sleep again; Infinity while active. */
  allowance = Number.POSITIVE_INFINITY;

  /**
   * `start`: where MsgIds towards the client begin. Random, since the client may hold a QoS 2 message of an earlier
   * life of the gateway, under an id that must not mean a new one. `total`: what waits in all outboxes together; each
   * counts its own in there.
   */
  constructor(start: number, total: Tally) {
    this.#lastMsgId = start;
    this.#total = total;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  /** Size of what waits, see `entryBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What of it falls under this policy. */
  of(policy: BufferPolicy): Readonly<Tally> {
    return this.#byPolicy.get(policy) ?? nothing;
  }

  /** What waits, by policy. */
  tallies(): IterableIterator<readonly [BufferPolicy, Readonly<Tally>]> {
    return this.#byPolicy[Symbol.iterator]();
  }

  /** MsgIds go on behind this one (after a restart). */
  skipMsgId(msgId: number): void {
    if (msgId !== 0) this.#lastMsgId = msgId;
  }

  head(): OutboxEntry | undefined {
    return this.#entries[this.#head];
  }

  push(entry: OutboxEntry): void {
    this.#entries.push(entry);
    this.#count(entry, 1);
  }

  #count(entry: OutboxEntry, messages: 1 | -1): void {
    const bytes = messages * entryBytes(entry);
    this.#bytes += bytes;
    this.#total.messages += messages;
    this.#total.bytes += bytes;
    const tally = this.#byPolicy.get(entry.policy);
    if (!tally) this.#byPolicy.set(entry.policy, { messages, bytes });
    else {
      tally.messages += messages;
      tally.bytes += bytes;
      if (tally.messages === 0) this.#byPolicy.delete(entry.policy);
    }
  }

  /** Takes the head off. */
  shift(): void {
    const entry = this.#entries[this.#head];
    if (!entry) return;
    this.#count(entry, -1);
    this.#head++;
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Takes any entry off. */
  remove(entry: OutboxEntry): void {
    if (entry === this.head()) return this.shift();
    const at = this.#entries.indexOf(entry, this.#head);
    if (at < 0) return;
    this.#entries.splice(at, 1);
    this.#count(entry, -1);
  }

  has(entry: OutboxEntry): boolean {
    return this.#entries.indexOf(entry, this.#head) >= 0;
  }

  find(test: (entry: OutboxEntry) => boolean): OutboxEntry | undefined {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (entry && test(entry)) return entry;
    }
    return undefined;
  }

  *[Symbol.iterator](): IterableIterator<OutboxEntry> {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (entry) yield entry;
    }
  }

  /** Takes all off. */
  clear(): readonly OutboxEntry[] {
    const all = [...this];
    this.#total.messages -= all.length;
    this.#total.bytes -= this.#bytes;
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#byPolicy.clear();
    this.inFlight = undefined;
    return all;
  }

  /** The entry that was sent under this MsgId and is not finished, in flight or put back: only the head can be. */
  sentAs(msgId: number): OutboxEntry | undefined {
    const head = this.head();
    return head !== undefined && msgId !== 0 && head.msgId === msgId ? head : undefined;
  }

  /** A MsgId that nothing unfinished uses. */
  freeMsgId(): number {
    do this.#lastMsgId = (this.#lastMsgId % 65_535) + 1;
    while (this.sentAs(this.#lastMsgId));
    return this.#lastMsgId;
  }

  /** Are the tallies what waits, and is one thing in flight, from the head? Hands over each entry. For tests. */
  check(each: (entry: OutboxEntry) => void, found: Found): void {
    let bytes = 0;
    const byPolicy = new Map<BufferPolicy, Tally>();
    let tally: Tally | undefined;
    let policy: BufferPolicy | undefined;
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (!entry) continue;
      if (entry.policy !== policy || !tally) {
        policy = entry.policy;
        tally = byPolicy.get(policy) ?? { messages: 0, bytes: 0 };
        byPolicy.set(policy, tally);
      }
      const size = entryBytes(entry);
      bytes += size;
      tally.messages++;
      tally.bytes += size;
      if (i > this.#head && entry.msgId !== 0) found(`the message with MsgId ${entry.msgId} is not at the head`);
      each(entry);
    }
    if (bytes !== this.#bytes) found(`${bytes} octets wait in the outbox, ${this.#bytes} are counted`);
    for (const [policy, { messages }] of this.#byPolicy)
      if (!byPolicy.has(policy)) found(`none wait under a rule that ${messages} are counted for`);
    for (const [policy, { messages, bytes }] of byPolicy) {
      const counted = this.of(policy);
      if (counted.messages !== messages || counted.bytes !== bytes)
        found(
          `${messages} messages of ${bytes} octets wait under a rule, counted are ${counted.messages} of ${counted.bytes}`,
        );
    }
    if (this.inFlight?.kind !== "publish") return;
    const { entry } = this.inFlight;
    if (entry !== this.head()) found("what is in flight is not the head of the outbox");
    if (entry.msgId === 0) found("what is in flight has no MsgId");
  }
}

/** What a waiting message is taken to cost: its octets and a flat share for the bookkeeping. */
export function entryBytes(entry: OutboxEntry): number {
  return backlogBytes(entry.publication);
}
