/**
 * The messages that wait for one client, in order.
 *
 * At most one message is in flight to a client: a REGISTER, a QoS 1 or 2 PUBLISH, or a PUBREL. All others wait behind
 * it, so the order is kept and the smallest client can follow. A message that the client does not answer in a whole
 * round (the first copy and `retry.limit` more) *stands aside*: others are sent first. Only this message loses its
 * place in the order, and it is tried again later. So a message that a client can never process delays no other message
 * (session/unanswered.ts says when it is tried again, and when it is given up).
 *
 * The MsgId under which an entry was sent stays with it as long as it waits, wherever it is, and is used for nothing
 * else meanwhile. So a late acknowledgement (after a sleep, a move, a retry, or while others are in flight) still finds
 * its entry, and a QoS 2 message is never sent under a second id. A REGISTER stands aside together with its topic name:
 * every message of that name would need it, so all of them wait with it. [interpretation 13, 17, 40]
 */

import { IdMap } from "../../id-map.ts";
import type { Found } from "../assert.ts";
import type { Tally } from "../counters.ts";
import type { BufferPolicy } from "../options.ts";
import { SmallMap } from "../small-map.ts";
import type { CommitToken, Instant } from "../types.ts";
import { entryBytes, newUnanswered, type OutboxEntry, type Unanswered } from "./outbox-entry.ts";

/** The messages of one buffer policy; `atQos0`: the number of them at QoS 0. */
interface PolicyTally extends Tally {
  atQos0: number;
}

const nothing: Readonly<PolicyTally> = { messages: 0, bytes: 0, atQos0: 0 };

/** The state of the present round. */
interface Round {
  /** The number of repetitions in this round. */
  tries: number;
  /** When the first copy was sent, and when the last one was sent. */
  readonly since: Instant;
  sentAt: Instant;
  /** `Session.heard` when the first copy was sent. */
  readonly heardThen: number;
  /** The PINGREQs of an awake client since then. */
  pings: number;
  /** Nothing of the round is sent until this commit is done; undefined = it waits for no commit. */
  behind: CommitToken | undefined;
  /** The message was sent in an earlier round, so the first copy of this round has DUP too. */
  readonly isAgain: boolean;
}

export type InFlight = Round &
  (
    | {
        readonly kind: "register";
        readonly msgId: number;
        readonly topicId: number;
        readonly topicName: string;
      }
    | { readonly kind: "publish"; readonly entry: OutboxEntry }
  );

/**
 * MsgIds towards clients are below 0x8000, because a client that keeps them in signed 16-bit numbers fails with larger
 * ones.
 */
const msgIdMax = 0x7fff;
/**
 * More MsgIds than are given between a commit and the end of the process. The MsgIds repeat after eight such starts.
 */
const givenSince = 4_096;

/** In at most so many consecutive wake-ups, new messages may leave no turn for messages that stand aside. */
const passedOverMax = 3;

/**
 * At most so many messages are sent and not finished. At this limit no new message is begun, so there are always free
 * MsgIds.
 */
const openMax = 1_000;

export class Outbox {
  /** A queue with a moving head, so that taking from the front is cheap. */
  #entries: OutboxEntry[] = [];
  #head = 0;
  #bytes = 0;
  /** The sums of all outboxes together. */
  readonly #total: Tally;
  readonly #byPolicy = new SmallMap<BufferPolicy, PolicyTally>();
  readonly #start: number;
  #lastMsgId: number;
  /** The entries that have a MsgId, by this MsgId. */
  readonly #byMsgId = new IdMap<OutboxEntry>();
  /** Topic names whose REGISTER the client did not answer. */
  readonly names = new SmallMap<string, Unanswered>();
  /** The number of entries that were sent without an answer and may stand aside. */
  #tried = 0;
  /** The number of answers of any kind that the client has given to what it was sent. */
  answers = 0;
  /**
   * The number of wake-ups, and the last wake-up in which a message that stands aside was tried. One such message is
   * tried in each wake-up.
   */
  wakeUps = 0;
  triedAsideIn = 0;
  /** When a round last ended without an answer. */
  vainAt: Instant = Number.NEGATIVE_INFINITY;
  /** `Session.heard` when another message was last tried because nothing was heard in a whole round. */
  silentAt = -1;
  inFlight: InFlight | undefined = undefined;
  /**
   * Messages that were sent at QoS 0 right after the SUBACK that told the topic id. The client may refuse them, see
   * client-answers.ts.
   */
  justSent: OutboxEntry[] = [];
  /** The client has answered "congestion", or it is not ready. Nothing is sent before this time. */
  pausedUntil: Instant = 0;
  /** The number of messages that may still be sent before the client may sleep again; Infinity while it is active. */
  allowance = Number.POSITIVE_INFINITY;

  /**
   * `start`: the first MsgId towards the client. It is random, because the client may hold a QoS 2 message of an
   * earlier run of the gateway, and a new message with the same MsgId would be taken for it. `total`: the sums over all
   * outboxes. Each outbox adds its own.
   */
  constructor(start: number, total: Tally) {
    this.#start = start;
    this.#lastMsgId = start % msgIdMax;
    this.#total = total;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  /** The size of the waiting messages, see `entryBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The waiting messages to which this policy applies. */
  of(policy: BufferPolicy): Readonly<PolicyTally> {
    return this.#byPolicy.get(policy) ?? nothing;
  }

  /** Whether there may be messages that stand aside, see `historyOf`. If not, nothing needs to look for one. */
  get mayHoldAside(): boolean {
    return this.#tried > 0 || this.names.size > 0;
  }

  /** Whether a message at QoS 0 waits; with `policy`, one to which this policy applies. */
  holdsQos0(policy?: BufferPolicy): boolean {
    if (policy) return this.of(policy).atQos0 > 0;
    for (const [, { atQos0 }] of this.#byPolicy) if (atQos0 > 0) return true;
    return false;
  }

  /** The waiting messages, by policy. */
  tallies(): IterableIterator<readonly [BufferPolicy, Readonly<Tally>]> {
    return this.#byPolicy[Symbol.iterator]();
  }

  /** The last MsgId that was given. An outbox with this `start` continues behind it. */
  get lastMsgId(): number {
    return this.#lastMsgId % msgIdMax;
  }

  /**
   * After a restart MsgIds continue far above this one, which was stored. Others were used since then. If a client has just received a QoS
   * 2 message with one of them, it would take a new message with the same MsgId for a repetition. How far above is chosen anew in each run:
   * the same message may still wait after the next restart.
   */
  skipMsgId(msgId: number): void {
    if (msgId !== 0) this.#lastMsgId = (msgId + givenSince + (this.#start % (msgIdMax - 2 * givenSince))) % msgIdMax;
  }

  head(): OutboxEntry | undefined {
    return this.#entries[this.#head];
  }

  push(entry: OutboxEntry): void {
    this.#entries.push(entry);
    this.#count(entry, 1);
    if (entry.msgId !== 0) this.#byMsgId.set(entry.msgId, entry);
    if (entry.unanswered) this.#tried++;
  }

  /** Puts this entry before all others: it was sent just now, and the client was not ready for it. */
  putFirst(entry: OutboxEntry): void {
    this.#entries.splice(this.#head, 0, entry);
    this.#count(entry, 1);
  }

  /** The entry is about to be sent for the first time. It gets a MsgId, which it keeps as long as it waits. */
  giveMsgId(entry: OutboxEntry): void {
    entry.msgId = this.freeMsgId();
    this.#byMsgId.set(entry.msgId, entry);
  }

  /** The record of the unanswered copies of this entry. */
  unansweredOf(entry: OutboxEntry): Unanswered {
    if (!entry.unanswered) {
      entry.unanswered = newUnanswered();
      this.#tried++;
    }
    return entry.unanswered;
  }

  /** The client has answered a step. Unanswered copies of the last step say nothing about the next one. */
  forgetUnanswered(entry: OutboxEntry): void {
    if (!entry.unanswered) return;
    entry.unanswered = undefined;
    this.#tried--;
  }

  /** The record that makes this entry wait: its own, or the record of the REGISTER of its topic name. */
  historyOf(entry: OutboxEntry): Unanswered | undefined {
    return entry.unanswered ?? (entry.released ? undefined : this.names.get(entry.publication.topicName));
  }

  /**
   * The entry to send next: the first one that was not put aside. Otherwise, of those that were put aside and whose time has come, the one
   * that was tried least. Only one of them in each wake-up. `overdueMs`: an entry that waits for so much longer goes first, if others were
   * served for so long.
   * For a sleeping client: if new messages left no turn in one wake-up, an entry that was put aside gets the last place in the next ones,
   * and after `passedOverMax` of them the first place, because the client may not listen until the last one.
   */
  next(now: Instant, { isAwake, overdueMs }: { isAwake: boolean; overdueMs: number }): OutboxEntry | undefined {
    if (!this.mayHoldAside) return this.head();
    const mayBegin = this.#byMsgId.size < openMax;
    let first: OutboxEntry | undefined;
    let due: OutboxEntry | undefined;
    let dueHistory: Unanswered | undefined;
    for (const entry of this) {
      const history = this.historyOf(entry);
      if (!history?.isAside) {
        if (mayBegin || entry.msgId !== 0) first ??= entry;
        continue;
      }
      const isDue = isAwake
        ? history.wakeUp !== this.wakeUps && this.triedAsideIn !== this.wakeUps
        : history.until <= now;
      if (isDue && history.tries < (dueHistory?.tries ?? Number.POSITIVE_INFINITY)) {
        due = entry;
        dueHistory = history;
      }
    }
    if (!dueHistory) return first;
    // Otherwise some messages that are overdue in turn would leave no turn for the others.
    const hasServed = this.vainAt + overdueMs <= now;
    const isOverdue = isAwake ? this.#wasPassedOver(dueHistory) : dueHistory.until + overdueMs < now && hasServed;
    return isOverdue ? due : (first ?? due);
  }

  /**
   * Whether there were wake-ups in which no message that stands aside was tried, and this entry is the next one to try.
   */
  #wasPassedOver({ wakeUp }: Unanswered): boolean {
    const missed = this.wakeUps - Math.max(wakeUp, this.triedAsideIn) - 1;
    return missed >= passedOverMax || (missed > 0 && this.allowance <= 1);
  }

  /** When the first of the messages that stand aside is tried again with an active client; undefined = none is. */
  nextAside(): Instant | undefined {
    if (!this.mayHoldAside) return undefined;
    let next: Instant | undefined;
    for (const entry of this) {
      const history = this.historyOf(entry);
      if (history?.isAside) next = Math.min(next ?? history.until, history.until);
    }
    return next;
  }

  #count(entry: OutboxEntry, messages: 1 | -1): void {
    const bytes = messages * entryBytes(entry);
    this.#bytes += bytes;
    this.#total.messages += messages;
    this.#total.bytes += bytes;
    const atQos0 = entry.publication.qos === 0 ? messages : 0;
    const tally = this.#byPolicy.get(entry.policy);
    if (!tally) this.#byPolicy.set(entry.policy, { messages, bytes, atQos0 });
    else {
      tally.messages += messages;
      tally.bytes += bytes;
      tally.atQos0 += atQos0;
      if (tally.messages === 0) this.#byPolicy.delete(entry.policy);
    }
  }

  /** Removes the first entry. */
  shift(): void {
    const entry = this.#entries[this.#head];
    if (!entry) return;
    this.#forget(entry);
    this.#head++;
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Removes any entry. */
  remove(entry: OutboxEntry): void {
    if (entry === this.head()) return this.shift();
    const at = this.#entries.indexOf(entry, this.#head);
    if (at < 0) return;
    this.#entries.splice(at, 1);
    this.#forget(entry);
  }

  #forget(entry: OutboxEntry): void {
    this.#count(entry, -1);
    if (entry.msgId !== 0) this.#byMsgId.delete(entry.msgId);
    if (entry.unanswered) this.#tried--;
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

  /** Removes all entries. */
  clear(): readonly OutboxEntry[] {
    const all = [...this];
    this.#total.messages -= all.length;
    this.#total.bytes -= this.#bytes;
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#byPolicy.clear();
    this.#byMsgId.clear();
    this.names.clear();
    this.#tried = 0;
    this.inFlight = undefined;
    return all;
  }

  /** The entry that was sent with this MsgId and is not finished: in flight, put back, or standing aside. */
  sentAs(msgId: number): OutboxEntry | undefined {
    return this.#byMsgId.get(msgId);
  }

  /** Returns a MsgId that no unfinished entry uses. */
  freeMsgId(): number {
    do this.#lastMsgId = (this.#lastMsgId % msgIdMax) + 1;
    while (this.#byMsgId.has(this.#lastMsgId));
    return this.#lastMsgId;
  }

  /**
   * Checks that the tallies and MsgIds match the waiting entries, and that at most one entry is in flight. Calls `each`
   * with each entry. For tests.
   */
  check(each: (entry: OutboxEntry) => void, found: Found): void {
    let bytes = 0;
    const byPolicy = new Map<BufferPolicy, PolicyTally>();
    let named = 0;
    let tried = 0;
    let tally: PolicyTally | undefined;
    let policy: BufferPolicy | undefined;
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (!entry) continue;
      if (entry.policy !== policy || !tally) {
        policy = entry.policy;
        tally = byPolicy.get(policy) ?? { messages: 0, bytes: 0, atQos0: 0 };
        byPolicy.set(policy, tally);
      }
      const size = entryBytes(entry);
      bytes += size;
      tally.messages++;
      tally.bytes += size;
      if (entry.publication.qos === 0) tally.atQos0++;
      if (entry.msgId !== 0) named++;
      if (entry.msgId !== 0 && this.#byMsgId.get(entry.msgId) !== entry)
        found(`the message with MsgId ${entry.msgId} is not found under it`);
      if (entry.unanswered) tried++;
      each(entry);
    }
    if (named !== this.#byMsgId.size) found(`${named} messages have a MsgId, ${this.#byMsgId.size} MsgIds are taken`);
    if (tried !== this.#tried) found(`${tried} messages were sent in vain, ${this.#tried} are counted`);
    if (bytes !== this.#bytes) found(`${bytes} octets wait in the outbox, ${this.#bytes} are counted`);
    for (const [policy, { messages }] of this.#byPolicy)
      if (!byPolicy.has(policy)) found(`none wait under a rule that ${messages} are counted for`);
    for (const [policy, { messages, bytes, atQos0 }] of byPolicy) {
      const counted = this.of(policy);
      if (counted.atQos0 !== atQos0)
        found(`${atQos0} messages at QoS 0 wait under a rule, counted are ${counted.atQos0}`);
      if (counted.messages !== messages || counted.bytes !== bytes)
        found(
          `${messages} messages of ${bytes} octets wait under a rule, counted are ${counted.messages} of ${counted.bytes}`,
        );
    }
    if (this.inFlight?.kind !== "publish") return;
    const { entry } = this.inFlight;
    if (!this.has(entry)) found("what is in flight does not wait in the outbox");
    if (entry.msgId === 0) found("what is in flight has no MsgId");
  }
}
