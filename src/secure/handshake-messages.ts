/** Handshake messages and their fragments. [RFC 6347 4.2.2, 4.2.3] */
import { joined, none, readNumber, writeNumber } from "./octets.ts";

export const messageTypes = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

const headOctets = 12;

export interface Fragment {
  readonly type: number;
  /** Counted by the sender from 0. */
  readonly seq: number;
  /** The length of the whole message. */
  readonly total: number;
  readonly offset: number;
  readonly body: Uint8Array;
}

export interface Message {
  readonly type: number;
  readonly seq: number;
  readonly body: Uint8Array;
}

/** A whole message in one fragment, in the form for sending and for the transcript. [RFC 6347 4.2.6] */
export function encodeMessage({ type, seq, body }: Message): Uint8Array {
  const head = new Uint8Array(headOctets);
  head[0] = type;
  writeNumber(head, 1, body.length, 3);
  writeNumber(head, 4, seq, 2);
  writeNumber(head, 9, body.length, 3);
  return joined(head, body);
}

/** Divides an encoded message into fragments with at most so many octets of its body. */
export function inFragments(message: Uint8Array, octetsMax: number): readonly Uint8Array[] {
  const total = message.length - headOctets;
  if (total <= octetsMax) return [message];
  const fragments: Uint8Array[] = [];
  for (let offset = 0; offset < total; offset += octetsMax) {
    const body = message.subarray(headOctets + offset, headOctets + Math.min(offset + octetsMax, total));
    const head = message.slice(0, headOctets);
    writeNumber(head, 6, offset, 3);
    writeNumber(head, 9, body.length, 3);
    fragments.push(joined(head, body));
  }
  return fragments;
}

/** All fragments in a record; undefined: the lengths do not fit. */
export function readFragments(content: Uint8Array): readonly Fragment[] | undefined {
  const fragments: Fragment[] = [];
  for (let at = 0; at < content.length; ) {
    if (content.length - at < headOctets) return undefined;
    const total = readNumber(content, at + 1, 3);
    const offset = readNumber(content, at + 6, 3);
    const length = readNumber(content, at + 9, 3);
    const end = at + headOctets + length;
    if (end > content.length || offset + length > total) return undefined;
    const body = content.subarray(at + headOctets, end);
    fragments.push({ type: content[at] ?? 0, seq: readNumber(content, at + 4, 2), total, offset, body });
    at = end;
  }
  return fragments;
}

/** Reassembles the one expected message. Fragments of others are dropped, because the sender repeats them. */
export class Assembly {
  readonly #octetsMax: number;
  #next: number;
  #parts: { readonly type: number; readonly body: Uint8Array; readonly has: Uint8Array; missing: number } | undefined;

  constructor(next: number, octetsMax: number) {
    this.#next = next;
    this.#octetsMax = octetsMax;
  }

  /** The number of the message that is waited for. */
  get next(): number {
    return this.#next;
  }

  /** Returns the message when it is complete. */
  take({ type, seq, total, offset, body }: Fragment): Message | undefined {
    if (seq !== this.#next || total > this.#octetsMax) return undefined;
    if (body.length === total) return this.#whole({ type, seq, body: total === 0 ? none : body });
    this.#parts ??= { type, body: new Uint8Array(total), has: new Uint8Array(total), missing: total };
    const parts = this.#parts;
    // Two messages have the same number. Only fragments of the first one are used.
    if (parts.type !== type || parts.body.length !== total) return undefined;
    for (let i = 0; i < body.length; i++) {
      if (parts.has[offset + i] === 1) continue;
      parts.has[offset + i] = 1;
      parts.body[offset + i] = body[i] ?? 0;
      parts.missing--;
    }
    return parts.missing === 0 ? this.#whole({ type, seq, body: parts.body }) : undefined;
  }

  #whole(message: Message): Message {
    this.#next++;
    this.#parts = undefined;
    return message;
  }
}
