/**
 * Topic aliases: two octets that stand for a topic name, from its second use on. They belong to one network connection, and are
 * given out where packets are written, in the order in which they leave. So nothing that waits knows of them, and the
 * next connection begins with whole names. [MQTT-5.0 3.3.2.3.4]
 */
import type { IConnackPacket } from "mqtt-packet";
import type { Notice } from "./link.ts";

/** An alias costs three octets each time: with a shorter name it would save no more than saying both has cost. */
const nameLengthMin = 7;

interface Held {
  readonly alias: number;
  /** How many publications there had been, itself included. */
  usedAt: number;
}

export class TopicAliases {
  readonly #max: number;
  readonly #seenMax: number;
  /** Names that have one, the one used longest ago first. */
  readonly #held = new Map<string, Held>();
  /** Names that have none, and when they were used last, the one used longest ago first. */
  readonly #seen = new Map<string, number>();
  #uses = 0;
  #last = "";

  /** `max` aliases at most, 1 to 65,535; so many names without one are remembered. */
  constructor(max: number, seenMax = max) {
    this.#max = max;
    this.#seenMax = seenMax;
  }

  /** Names that it knows. */
  get size(): number {
    return this.#held.size + this.#seen.size;
  }

  /**
   * What the next PUBLISH says of its topic name: a number greater than 0 stands in place of it; one below 0, without its sign, is to be said
   * beside the name; 0: the name alone.
   *
   * Where all are given out, a name takes that of the one used longest ago, if it comes a second time since then. Names that come by
   * turns, and are more than aliases, would otherwise take them from each other each time, and none would ever be used.
   */
  of(topicName: string): number {
    const use = ++this.#uses;
    const held = this.#held.get(topicName);
    if (held) {
      held.usedAt = use;
      if (topicName !== this.#last) {
        this.#held.delete(topicName);
        this.#hold(topicName, held);
      }
      return held.alias;
    }
    if (topicName.length < nameLengthMin) return 0;
    if (this.#held.size < this.#max) return this.#hold(topicName, { alias: this.#held.size + 1, usedAt: use });
    const seenAt = this.#seen.get(topicName);
    const [oldest] = this.#held;
    if (seenAt === undefined || oldest === undefined || oldest[1].usedAt > seenAt) return this.#note(topicName, use);
    this.#seen.delete(topicName);
    this.#held.delete(oldest[0]);
    return this.#hold(topicName, { alias: oldest[1].alias, usedAt: use });
  }

  #hold(topicName: string, held: Held): number {
    this.#held.set(topicName, held);
    this.#last = topicName;
    return -held.alias;
  }

  #note(topicName: string, use: number): number {
    this.#seen.delete(topicName);
    this.#seen.set(topicName, use);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > this.#seenMax && oldest !== undefined) this.#seen.delete(oldest);
    return 0;
  }
}

/** Whether the connections of an upstream have aliases. */
export class AliasRules {
  readonly #max: number;
  readonly #told: Notice;
  #isRefused = false;

  /** `max` for each connection; 0: none. */
  constructor(max: number, told: Notice) {
    this.#max = max;
    this.#told = told;
  }

  /** For a connection that CONNACK has accepted. */
  of({ properties }: IConnackPacket): TopicAliases | undefined {
    const max = Math.min(this.#max, properties?.topicAliasMaximum ?? 0);
    return max > 0 && !this.#isRefused ? new TopicAliases(max, this.#max) : undefined;
  }

  /** The broker ended a connection over an alias, though it had said how many it takes. [MQTT-5.0 4.13, 0x94] */
  refused(): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#told("warn", "the broker ended a connection over a topic alias: topic names are sent whole from now on");
  }
}
