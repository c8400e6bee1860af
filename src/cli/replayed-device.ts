/**
 * Repeats the messages of one device in a capture. A gateway assigns other topic ids and MsgIds the next time, so the
 * messages are sent with the present ones. The file does no I/O, so a capture can be played to a gateway over UDP, or
 * to a core in a test.
 */
import { decode, encode } from "../wire/v12/codec.ts";
import type { Message } from "../wire/v12/messages.ts";
import { type Difference, differenceOf } from "./expected-answers.ts";

/** Messages that a device may send without being connected. */
const opening: readonly Message["type"][] = ["CONNECT", "SEARCHGW", "GWINFO", "ADVERTISE"];

interface Ids {
  readonly topicId: number | undefined;
  readonly msgId: number;
}

export class ReplayedDevice {
  readonly #expected: Uint8Array[] = [];
  readonly #answers: Uint8Array[] = [];
  #givenUp = 0;
  #first: Message["type"] | undefined;
  /** Ids of the same message in the capture and now, by what the message contains, in its order. */
  readonly #before = new Map<string, Ids[]>();
  readonly #now = new Map<string, Ids[]>();
  readonly #topicIds = new Map<number, number>();
  /** Message ids of exchanges that the gateway began: from the capture to now. */
  readonly #msgIds = new Map<number, number>();

  /** Notes an answer of the gateway in the capture. */
  expect(bytes: Uint8Array): void {
    this.#expected.push(bytes);
    this.#note(bytes, this.#before);
  }

  /** Notes a present answer. */
  hear(bytes: Uint8Array): void {
    this.#answers.push(bytes);
    this.#note(bytes, this.#now);
  }

  get answers(): number {
    return this.#answers.length;
  }

  /** True if as many datagrams were received as the capture has up to now. */
  get isAnswered(): boolean {
    return this.#answers.length + this.#givenUp >= this.#expected.length;
  }

  /** Stops waiting for the answers that are missing now. */
  giveUp(): void {
    this.#givenUp = Math.max(0, this.#expected.length - this.#answers.length);
  }

  /** The datagram of the device in the capture, with the present ids. An invalid message is not changed. */
  say(bytes: Uint8Array): Uint8Array {
    const decoded = decode(bytes);
    if (!decoded.ok) return bytes;
    this.#first ??= decoded.message.type;
    const message = this.#translated(decoded.message);
    return message === decoded.message ? bytes : encode(message, decoded.forwarded);
  }

  /** True if the device's session began before the capture. A gateway without this session gives other answers. */
  get isWithinSession(): boolean {
    return this.#first !== undefined && !opening.includes(this.#first);
  }

  difference(): Difference | undefined {
    return differenceOf(this.#expected, this.#answers);
  }

  #translated(message: Message): Message {
    switch (message.type) {
      case "PUBLISH":
        return message.topicIdType === "normal" ? { ...message, topicId: this.#topicIdOf(message.topicId) } : message;
      case "REGACK":
      case "PUBACK":
        return { ...message, topicId: this.#topicIdOf(message.topicId), msgId: this.#msgIdOf(message.msgId) };
      case "PUBREC":
      case "PUBCOMP":
        return { ...message, msgId: this.#msgIdOf(message.msgId) };
      default:
        return message;
    }
  }

  #topicIdOf(id: number): number {
    return this.#topicIds.get(id) ?? id;
  }

  #msgIdOf(id: number): number {
    return this.#msgIds.get(id) ?? id;
  }

  #note(bytes: Uint8Array, ids: Map<string, Ids[]>): void {
    const decoded = decode(bytes);
    if (!decoded.ok) return;
    const { message } = decoded;
    const key = keyOf(message);
    if (key === undefined || !("msgId" in message)) return;
    const same = ids.get(key) ?? [];
    ids.set(key, same);
    const place = same.push({ topicId: "topicId" in message ? message.topicId : undefined, msgId: message.msgId }) - 1;
    const [before, now] = [this.#before.get(key)?.[place], this.#now.get(key)?.[place]];
    if (!before || !now) return;
    if (before.topicId && now.topicId && !isFixed(message)) this.#topicIds.set(before.topicId, now.topicId);
    if (message.type === "REGISTER" || message.type === "PUBLISH") this.#msgIds.set(before.msgId, now.msgId);
  }
}

/**
 * The key by which a message in the capture and a present one are recognized as the same; undefined: the message maps
 * no ids.
 */
function keyOf(message: Message): string | undefined {
  switch (message.type) {
    case "REGACK":
    case "SUBACK":
      return `${message.type} ${message.msgId}`;
    case "REGISTER":
      return `REGISTER ${String(message.topicName)}`;
    case "PUBLISH":
      return message.dup ? undefined : `PUBLISH ${message.qos} ${Buffer.from(message.data).toString("hex")}`;
    default:
      return undefined;
  }
}

/** Whether the gateway did not assign this id. */
function isFixed(message: Message): boolean {
  return message.type === "PUBLISH" && message.topicIdType !== "normal";
}
