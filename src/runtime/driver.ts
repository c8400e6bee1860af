/**
 * Connects the core and the edges: passes inputs to the core, carries out its effects, and keeps its one timer.
 *
 * The effects of one input are carried out in order. An effect with `after` is held until that commit is done; held effects are released in
 * their order. If an edge answers while its effect is carried out, the answer waits for the end of the turn.
 *
 * While the store fails, steps of QoS 2 exchanges are held until a commit succeeds, which then has all missing changes. Everything else
 * continues.
 *
 * Node runs timers before it reads sockets. So if a timer is late, the sockets are read first: no client is declared silent while its
 * messages wait in a socket. If a timer is very late, the process stood still, and the core is told this before anything else.
 */
import type { Core } from "../core/core.ts";
import { type Effect, isExactlyOnce } from "../core/effect.ts";
import type { Input } from "../core/input.ts";
import { ownerOfLink } from "../core/link-id.ts";
import type { CommitToken, Instant, LinkId, PeerId } from "../core/types.ts";
import type { ToClient } from "../core/words.ts";
import type { Clock } from "./clock.ts";
import { type Edges, perform } from "./perform.ts";
import type { Steps } from "./steps.ts";

/** After these messages a client may sleep. */
const endsListening: ReadonlySet<ToClient["type"]> = new Set(["DISCONNECT", "PINGRESP"]);

/** The longest time of the timer. It limits the error with which a standstill of the process is measured. */
const lookEveryMs = 1_000;
/** If the timer is late by more than this, the process stood still. */
const stillMs = 1_000;
/** If the timer is late by more than this, the sockets are read first. Smaller delays are normal. */
const lateMs = 50;
/**
 * Milliseconds for which the sockets are read before a late timer is served. Without this limit, a flood would delay
 * deadlines without end.
 */
const readMsMax = 200;

interface Held {
  readonly effect: Effect;
  /** See `destinationOf`. */
  readonly to: string | undefined;
  /** The effect was for a connection that has ended. It keeps its place in the order, and is not sent. */
  isVoid: boolean;
}

export interface DriverWatches {
  /** Called before each step. If the answer is false, another gateway serves, and this driver stops. */
  readonly owns?: (() => boolean) | undefined;
  /** Records how long the steps take. */
  readonly steps?: Steps | undefined;
}

export class Driver {
  readonly #core: Core;
  readonly #edges: Edges;
  readonly #clock: Clock;
  readonly #steps: Steps | undefined;
  readonly #waiting: Input[] = [];
  readonly #owns: () => boolean;
  readonly #answer = (input: Input): void => this.handle(input);
  /** Effects that wait for a commit, by that commit. The core counts its commits up by one. */
  readonly #held = new Map<CommitToken, Held[]>();
  /**
   * The last commit that an effect for this peer or link waits for. Later effects for the same destination wait too.
   */
  readonly #lastHeld = new Map<string, CommitToken>();
  /** All commits up to this one are answered. The store commits in order. */
  #committed: CommitToken = 0;
  /** The first failed commit after the last successful one; undefined: the last commit succeeded. */
  #failedFrom: CommitToken | undefined;
  /** Steps of QoS 2 exchanges whose commit failed, the latest copy of each. */
  readonly #stuck = new Map<string, Held>();
  /** Clients with a publication among them. Further publications of these clients wait behind it. */
  readonly #stuckClients = new Set<string>();
  #armed: Instant | undefined;
  /** The time when the timer should fire. A deadline may already be overdue when the timer is set. */
  #expected: Instant = 0;
  /** The time of the last input of the core. */
  #seenAt: Instant;
  /** The number of inputs so far. */
  #inputs = 0;
  /** The timer was late, and the waiting data of the sockets are being read. */
  #reading = false;
  #busy = false;
  #started = false;
  #stopped = false;

  constructor(core: Core, edges: Edges, clock: Clock, { owns, steps }: DriverWatches = {}) {
    this.#owns = owns ?? (() => true);
    this.#steps = steps;
    this.#core = core;
    this.#edges = edges;
    this.#clock = clock;
    this.#seenAt = clock.now();
  }

  /** Arms the first timer. Before this call, inputs are handled, but no deadline is: see `restored`. */
  start(): void {
    this.#started = true;
    this.#rearm();
  }

  /** Hands one input to the core, and carries out the effects. */
  handle(input: Input): void {
    if (this.#stopped) return;
    if (this.#busy) {
      this.#waiting.push(input);
      return;
    }
    this.#busy = true;
    const began = this.#steps?.begin();
    try {
      let next: Input | undefined = input;
      while (next) {
        this.#one(next);
        next = this.#waiting.shift();
      }
    } finally {
      this.#busy = false;
      this.#steps?.end("input", began);
    }
    this.#rearm();
  }

  /** From now on no inputs are handled, and no timer is set. */
  stop(): void {
    this.#stopped = true;
    this.#clock.wakeAt(undefined, () => {});
  }

  #one(input: Input): void {
    if (!this.#mayGoOn()) return;
    const now = this.#clock.now();
    this.#inputs++;
    this.#look(now);
    const effects = this.#core.handle(input, now);
    if (input.kind === "linkDown") this.#voidAcks(input.linkId);
    if (input.kind === "persisted") this.#done(input.token);
    if (input.kind === "persistFailed") this.#discard(input.token);
    this.#run(effects);
  }

  #run(effects: readonly Effect[]): void {
    for (const effect of effects) {
      // An effect that must wait for a commit waits for it first, because effects that were kept back are older.
      const token = this.#awaited(effect);
      if (token !== undefined) this.#hold(effect, token);
      else if (this.#failedFrom === undefined || !this.#isStuck(effect)) this.#perform(effect);
    }
  }

  #perform(effect: Effect): void {
    perform(effect, this.#edges, this.#answer);
    if (this.#stuck.size > 0 && effect.kind === "send" && endsListening.has(effect.message.type))
      this.#voidNews(effect.to);
  }

  #hold(effect: Effect, token: CommitToken): void {
    const to = destinationOf(effect);
    const held = { effect, to, isVoid: false };
    const list = this.#held.get(token);
    if (list) list.push(held);
    else this.#held.set(token, [held]);
    if (to !== undefined) this.#lastHeld.set(to, token);
  }

  /**
   * The commit that this effect must wait for: its own, or that of an earlier effect for the same destination.
   * Undefined: none.
   */
  #awaited(effect: Effect): CommitToken | undefined {
    const own = commitOf(effect);
    if (this.#held.size === 0) return own > this.#committed ? own : undefined;
    const to = destinationOf(effect);
    const before = to === undefined ? 0 : (this.#lastHeld.get(to) ?? 0);
    const token = Math.max(own, before);
    return token > this.#committed ? token : undefined;
  }

  /**
   * Keeps the effect back if it must not be sent while the store fails. This includes a repetition of an effect that is
   * kept back.
   */
  #isStuck(effect: Effect, isVoid = false): boolean {
    const isFollower =
      effect.kind === "publish" && effect.publication.qos > 0 && this.#stuckClients.has(ownerOfLink(effect.linkId));
    if (!isFollower && !isExactlyOnce(effect)) return false;
    const token = "behind" in effect ? (effect.behind ?? 0) : 0;
    const key = stepOf(effect);
    const isFailed = this.#failedFrom !== undefined && token >= this.#failedFrom && token <= this.#committed;
    if (!isFollower && !isFailed && !this.#stuck.has(key)) return false;
    this.#stuck.set(key, { effect, to: destinationOf(effect), isVoid });
    if (effect.kind === "publish") this.#stuckClients.add(ownerOfLink(effect.linkId));
    return true;
  }

  /** A commit is done, and with it the changes that earlier commits could not write. */
  #done(token: CommitToken): void {
    if (this.#failedFrom === undefined) return this.#release(token);
    // Effects that were kept back are older than all effects that are held, so they are sent first.
    const owed = [...this.#stuck.values(), ...this.#allHeld()].flatMap(({ effect, isVoid }) =>
      isVoid || this.#isOfBefore(effect) ? [] : [effect],
    );
    this.#failedFrom = undefined;
    this.#stuck.clear();
    this.#stuckClients.clear();
    this.#held.clear();
    this.#lastHeld.clear();
    this.#committed = Math.max(this.#committed, token);
    this.#run(owed);
  }

  #release(token: CommitToken): void {
    const first = this.#committed + 1;
    this.#committed = Math.max(this.#committed, token);
    for (let at = first; at <= token && this.#held.size > 0; at++) {
      const held = this.#held.get(at);
      if (!held) continue;
      this.#held.delete(at);
      for (const { effect, to, isVoid } of held) {
        if (to !== undefined && this.#lastHeld.get(to) === at) this.#lastHeld.delete(to);
        if (this.#failedFrom !== undefined && this.#isStuck(effect, isVoid)) continue;
        if (!isVoid) this.#perform(effect);
      }
    }
  }

  /** Effects that wait for a failed commit are dropped. The core gets the failure as an input, and decides again. */
  #discard(token: CommitToken): void {
    this.#failedFrom ??= token;
    for (const [at, held] of this.#held) {
      this.#held.set(
        at,
        held.filter(({ effect }) => !("after" in effect) || effect.after !== token),
      );
    }
    this.#release(token);
  }

  /** The held effects in the order of their commits. For one destination this is the order of sending. */
  #allHeld(): Held[] {
    return [...this.#held].sort(([a], [b]) => a - b).flatMap(([, held]) => held);
  }

  /**
   * The client may sleep from now on. Messages to it that were kept back wait until it wakes; the core has decided the
   * same. [§6.14]
   */
  #voidNews(to: PeerId): void {
    for (const held of this.#stuck.values()) {
      const { effect } = held;
      if (effect.kind === "send" && effect.to === to && isNews(effect.message)) held.isVoid = true;
    }
  }

  /** The device has sent CONNECT meanwhile. Messages on the way to it are sent again when it is connected. [§6.3] */
  #isOfBefore(effect: Effect): boolean {
    return effect.kind === "send" && isNews(effect.message) && this.#core.isConnecting(effect.to);
  }

  /**
   * An acknowledgement belongs to the connection of the delivery. Over the next connection the broker sends the message
   * again, if it still has it, and gets its answer then. On a new connection, the old acknowledgement could belong to
   * another message with the same id.
   */
  #voidAcks(linkId: LinkId): void {
    // Ten thousand connections may end at once, so held effects are searched only if some wait for this connection.
    const held = this.#lastHeld.has(ownerOfLink(linkId)) ? [...this.#held.values()].flat() : [];
    for (const each of [...this.#stuck.values(), ...held]) {
      if (each.effect.kind === "ackBroker" && each.effect.linkId === linkId) each.isVoid = true;
    }
  }

  /** Detects if the process stood still. Then the timer is overdue, although it may not have fired yet. */
  #look(now: Instant): void {
    const ms = now - this.#seenAt;
    this.#seenAt = now;
    if (this.#armed === undefined || now - this.#expected < stillMs) return;
    this.#expected = now;
    this.#run(this.#core.handle({ kind: "stoodStill", ms }, now));
  }

  /** Before `start` the sessions are read, and nothing is sent. */
  #mayGoOn(): boolean {
    if (!this.#stopped && this.#started && !this.#owns()) this.stop();
    return !this.#stopped;
  }

  #due = (): void => {
    if (!this.#mayGoOn()) return;
    const now = this.#clock.now();
    const isLate = now - this.#expected >= lateMs;
    if (isLate) this.#turn(() => this.#look(now));
    this.#armed = undefined;
    if (!isLate) return this.#timeout();
    this.#reading = true;
    this.#readFirst(now + readMsMax);
  };

  /** Reads the sockets until a read brings no more input, or until this instant. Then the deadlines are served. */
  #readFirst(until: Instant): void {
    const before = this.#inputs;
    this.#clock.afterReading(() => {
      if (!this.#mayGoOn()) return;
      if (this.#inputs > before && this.#clock.now() < until) return this.#readFirst(until);
      this.#reading = false;
      this.#timeout();
    });
  }

  /**
   * Calls the core only if a deadline is due. An unnecessary call would hide that the core forgot to set a deadline.
   */
  #timeout(): void {
    const now = this.#clock.now();
    const next = this.#core.nextDeadline();
    this.#seenAt = now;
    if (next !== undefined && next <= now) this.#turn(() => this.#run(this.#core.timeout(now)));
    this.#rearm();
  }

  /** Inputs that the edges give during the work are handled after it. */
  #turn(work: () => void): void {
    this.#busy = true;
    const began = this.#steps?.begin();
    try {
      work();
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) this.#one(next);
    } finally {
      this.#busy = false;
      this.#steps?.end("deadlines", began);
    }
  }

  /** The timer is set again only if the earliest deadline became earlier. If it fires too early, nothing happens. */
  #rearm(): void {
    if (!this.#started || this.#stopped || this.#reading) return;
    const next = this.#core.nextDeadline() ?? Number.POSITIVE_INFINITY;
    if (this.#armed !== undefined && this.#armed <= next) return;
    const now = this.#clock.now();
    this.#armed = Math.min(next, now + lookEveryMs);
    this.#expected = Math.max(this.#armed, now);
    this.#clock.wakeAt(this.#armed, this.#due);
  }
}

/** True for a message that begins or continues an exchange of the gateway. The core repeats such a message. */
function isNews({ type }: ToClient): boolean {
  return type === "PUBLISH" || type === "PUBREL" || type === "REGISTER";
}

/** The commit that this effect itself waits for; 0 = none. */
function commitOf(effect: Effect): CommitToken {
  switch (effect.kind) {
    case "send":
    case "publish":
    case "release":
    case "ackBroker":
      return effect.after ?? effect.behind ?? 0;
    default:
      return 0;
  }
}

/** A key that is the same for each repetition of a step of an exchange. */
function stepOf(effect: Effect): string {
  switch (effect.kind) {
    case "publish":
    case "release":
    case "ackBroker":
      return `${effect.kind} ${ownerOfLink(effect.linkId)} ${effect.packetId}`;
    case "send":
      return `${effect.to} ${effect.message.type} ${"msgId" in effect.message ? effect.message.msgId : 0}`;
    default:
      return effect.kind;
  }
}

/**
 * The destination of an effect that must stay in order with others. All links of a client are one destination, because
 * the next link opens when the last one is closed.
 */
function destinationOf(effect: Effect): string | undefined {
  switch (effect.kind) {
    case "send":
      return effect.to;
    case "publish":
    case "release":
    case "ackBroker":
    case "subscribe":
    case "unsubscribe":
    case "ping":
    case "closeLink":
      return ownerOfLink(effect.linkId);
    case "openLink":
      return ownerOfLink(effect.link.linkId);
    default:
      return undefined;
  }
}
