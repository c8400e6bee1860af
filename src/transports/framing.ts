/**
 * MQTT-SN messages in a stream of octets: the Length at the beginning of each message determines its end.
 * [MQTT-SN 1.2 §5.2.1]
 *
 * Bluetooth LE loses no octet within a link, so a stream that begins with a message stays synchronous. A device that gives up in the middle
 * of a message, or noise on a serial line, breaks it. Then, after silence (`resyncMs`) or with the next chunk, reading begins with a new
 * message.
 */
import type { Instant } from "../core/types.ts";

export interface ReassemblerOptions {
  /** The longest message that is accepted, in octets. */
  readonly maxMessageBytes: number;
  /** After this silence in the middle of a message, the part that was received is discarded. Milliseconds. */
  readonly resyncMs: number;
}

/** MsgType of the forwarder encapsulation. */
const encapsulated = 0xfe;

/**
 * Length of the message that begins here: 0 = more octets are needed, -1 = no message begins so. The Length of an
 * encapsulation ends before the message that it carries; this function counts both. [MQTT-SN 1.2 §5.5]
 */
export function messageLength(bytes: Uint8Array): number {
  const [header, type] = bytes;
  if (header === undefined || header < 2 || type !== encapsulated) return plainLength(bytes);
  if (header < 3) return -1;
  const inner = plainLength(bytes.subarray(header));
  return inner > 0 ? header + inner : inner;
}

function plainLength(bytes: Uint8Array): number {
  const [first, high, low] = bytes;
  if (first === undefined) return 0;
  if (first !== 1) return first >= 2 ? first : -1;
  if (high === undefined || low === undefined) return 0;
  const length = high * 256 + low;
  return length >= 4 ? length : -1;
}

export class Reassembler {
  readonly #options: ReassemblerOptions;
  #part: Uint8Array = new Uint8Array(0);
  #lastAt: Instant = 0;
  /** Octets that were discarded: parts of messages, and noise. */
  discardedBytes = 0;

  constructor(options: ReassemblerOptions) {
    this.#options = options;
  }

  /** Octets of a message that is not complete. */
  get pendingBytes(): number {
    return this.#part.byteLength;
  }

  /**
   * The reader of the stream stood still. So the silence was not on the line, and the rest of the message may still be
   * waiting.
   */
  excuse(now: Instant): void {
    this.#lastAt = now;
  }

  /** Takes the octets of one notification or one read. Returns the messages that are complete now. */
  take(chunk: Uint8Array, now: Instant): Uint8Array[] {
    if (this.#part.byteLength > 0 && now - this.#lastAt >= this.#options.resyncMs) this.#discard();
    this.#lastAt = now;
    const messages: Uint8Array[] = [];
    let rest = this.#part.byteLength > 0 ? joined(this.#part, chunk) : chunk;
    while (rest.byteLength > 0) {
      const length = messageLength(rest);
      if (length < 0 || length > this.#options.maxMessageBytes) {
        // The octets do not begin with the head of a message. The next chunk may.
        this.discardedBytes += rest.byteLength;
        rest = rest.subarray(rest.byteLength);
      } else if (length === 0 || length > rest.byteLength) {
        break;
      } else {
        messages.push(rest.slice(0, length));
        rest = rest.subarray(length);
      }
    }
    this.#part = rest.slice();
    return messages;
  }

  #discard(): void {
    this.discardedBytes += this.#part.byteLength;
    this.#part = new Uint8Array(0);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.byteLength + second.byteLength);
  all.set(first);
  all.set(second, first.byteLength);
  return all;
}

/** Divides a message into writes of at most `size` octets. */
export function* pieces(message: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < message.byteLength; at += size) yield message.subarray(at, at + size);
}
