/**
 * The process in which a gateway runs. It can be stopped for a time, as by SIGSTOP. Its timers and inputs then wait, and all of them happen
 * when it continues: timers first, as in Node, then what waits to be read.
 */
import type { Instant, PeerId } from "../../src/core/types.ts";
import type { Plans } from "./broker.ts";

/** Datagrams that a socket holds for a process that does not read; the rest is lost. */
const socketMax = 60;

export class SimProcess implements Plans {
  readonly #time: Plans;
  #isStopped = false;
  #isDead = false;
  #timers: (() => void)[] = [];
  #waiting: (() => void)[] = [];
  readonly #unread: PeerId[] = [];
  /** What it sets a clock by. */
  readonly timers: Plans;

  constructor(time: Plans) {
    this.#time = time;
    this.timers = {
      now: () => this.now(),
      plan: (inMs, what) => time.plan(inMs, () => (this.#isStopped ? this.#timers.push(what) : what())),
    };
  }

  now(): Instant {
    return this.#time.now();
  }

  plan(inMs: number, what: () => void): void {
    this.#time.plan(inMs, () => this.comes(what));
  }

  /** Something comes from outside. */
  comes(what: () => void): void {
    if (this.#isStopped) this.#waiting.push(what);
    else what();
  }

  /** A datagram comes. */
  datagram(from: PeerId, what: () => void): void {
    if (!this.#isStopped) return what();
    if (this.#unread.length >= socketMax) return;
    this.#unread.push(from);
    this.#waiting.push(() => {
      this.#unread.shift();
      what();
    });
  }

  /** Is there something from this peer that was not read? */
  hasUnread(from: PeerId): boolean {
    return this.#unread.includes(from);
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  stop(): void {
    this.#isStopped = true;
  }

  goOn(): void {
    this.#isStopped = false;
    for (const what of [...this.#timers.splice(0), ...this.#waiting.splice(0)]) if (!this.#isDead) what();
  }

  /** What waited for it is dropped. */
  die(): void {
    this.#isDead = true;
    this.#isStopped = false;
    this.#timers = [];
    this.#waiting = [];
  }
}
