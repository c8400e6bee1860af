/**
 * Topic aliases: two octets that replace a topic name, from its second use on. They belong to one network connection,
 * and are assigned when packets are written, in the order of sending. So waiting packets do not contain aliases, and
 * the next connection begins with whole names. [MQTT-5.0 3.3.2.3.4]
 */
import type { IConnackPacket } from "mqtt-packet";
import type { Notice } from "./link.ts";

/**
 * An alias costs three octets each time. With a shorter name, a use would save no more octets than the packet with both
 * has cost in addition.
 */
const nameLengthMin = 7;

interface Held {
  readonly alias: number;
  /** The count of publications at the last use, this one included. */
  usedAt: number;
}

export class TopicAliases {
  readonly #max: number;
  readonly #seenMax: number;
  /**
   * Topic names with an alias, the least recently used first. Created when needed, because most connections rarely
   * publish.
   */
  #held: Map<string, Held> | undefined;
  /** Topic names without an alias, and their last use, the least recently used first. */
  #seen: Map<string, number> | undefined;
  #uses = 0;
  #last = "";

  /** `max`: the most aliases, 1 to 65,535. `seenMax`: names without an alias that are remembered. */
  constructor(max: number, seenMax = max) {
    this.#max = max;
    this.#seenMax = seenMax;
  }

  /** The number of known names. */
  get size(): number {
    return (this.#held?.size ?? 0) + (this.#seen?.size ?? 0);
  }

  /**
   * How the next PUBLISH names its topic. A number greater than 0 is an alias that replaces the name. A number below 0
   * is, without its sign, an alias that is sent together with the name. 0: the name alone.
   *
   * When all aliases are in use, a name gets the least recently used one if the name comes a second time since that
   * use. Otherwise names that come by turns, and are more than the aliases, would take them from each other, and no
   * alias would ever be used.
   */
  of(topicName: string): number {
    const use = ++this.#uses;
    if (topicName.length < nameLengthMin) return 0;
    this.#held ??= new Map();
    const held = this.#held.get(topicName);
    if (held) {
      held.usedAt = use;
      if (topicName !== this.#last) {
        this.#held.delete(topicName);
        this.#hold(this.#held, topicName, held);
      }
      return held.alias;
    }
    if (this.#held.size < this.#max)
      return this.#hold(this.#held, topicName, { alias: this.#held.size + 1, usedAt: use });
    this.#seen ??= new Map();
    const seenAt = this.#seen.get(topicName);
    this.#seen.delete(topicName);
    const [oldest] = this.#held;
    if (seenAt === undefined || oldest === undefined || oldest[1].usedAt > seenAt) {
      this.#note(this.#seen, topicName, use);
      return 0;
    }
    this.#held.delete(oldest[0]);
    return this.#hold(this.#held, topicName, { alias: oldest[1].alias, usedAt: use });
  }

  /** Stores the entry as the newest one. */
  #hold(all: Map<string, Held>, topicName: string, held: Held): number {
    all.set(topicName, held);
    this.#last = topicName;
    return -held.alias;
  }

  #note(all: Map<string, number>, topicName: string, use: number): void {
    all.set(topicName, use);
    const [oldest] = all.keys();
    if (all.size > this.#seenMax && oldest !== undefined) all.delete(oldest);
  }
}

/** Decides if the connections of an upstream have aliases. */
export class AliasRules {
  readonly #max: number;
  readonly #told: Notice;
  #isRefused = false;

  /** `max` for each connection; 0: no aliases. */
  constructor(max: number, told: Notice) {
    this.#max = max;
    this.#told = told;
  }

  /** The topic aliases of a connection that CONNACK has accepted; undefined: it has none. */
  of({ properties }: IConnackPacket): TopicAliases | undefined {
    const max = Math.min(this.#max, properties?.topicAliasMaximum ?? 0);
    return max > 0 && !this.#isRefused ? new TopicAliases(max, this.#max) : undefined;
  }

  /**
   * The broker ended a connection because of an alias, although it had announced how many it accepts.
   * [MQTT-5.0 4.13, 0x94]
   */
  refused(): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#told(
      "warn",
      "the broker ended a connection because of a topic alias; from now on topic names are sent in full",
    );
  }
}
