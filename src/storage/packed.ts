/**
 * Records in few octets, for a disk. What JSON repeats in each record (names of fields, quotation marks, usual values)
 * is not written.
 *
 * An octet for the form is followed by the number of fields, and for each its number in `fields` and its value. A value
 * begins with an octet for its type, so a reader can skip unknown fields; what a later version adds is optional. A field
 * with its usual value is left out, and so is what the key tells. The lists below are part of what is stored: they only
 * grow at their ends. A new word is written as text while versions that do not know it must read it.
 */
import type { Kind } from "./keys.ts";
import { version } from "./records.ts";

/** First octet of a packed record. */
export const packedMark = 0x02;

const fields = [
  ...[
    "peer",
    "state",
    "clean",
    "keepAliveSeconds",
    "sleepSeconds",
    "farewell",
    "spoke",
    "dialect",
    "vouched",
    "boundTo",
  ],
  ...["unproven", "will", "brokerWill", "shown", "topics", "nextTopicId", "home", "movingTo", "subscriptions"],
  ...["id", "name", "known", "told", "hash", "isRetained", "filter", "qos", "by", "predefinedId", "isRefused"],
  ...["publication", "topicName", "payload", "retain", "meta", "originAt", "userProperties", "contentType"],
  ...["responseTopic", "correlationData", "expirySeconds", "msgId", "released", "since", "left", "due", "unanswered"],
  ...["tries", "rounds", "proofs", "fullProofs", "origin", "topicId", "heard", "stage", "isWill", "seq", "at"],
  ...["direction", "reason", "mayBeThere", "key", "deaths", "epochs", "ordinal", "firstDeath", "isKind", "retired"],
  ...["taken", "until", "spanMs", "shortest", "hasShorterAnswered", "longestAnswered", "lastTaken", "contents"],
] as const;
const numberOf: ReadonlyMap<string, number> = new Map(fields.map((name, i) => [name, i]));

/** Texts that are written as one octet. */
const words = [
  "active",
  "asleep",
  "disconnected",
  "lost",
  "open",
  "released",
  "name",
  "predefined",
  "short",
  "up",
  "down",
];
const wordOf: ReadonlyMap<string, number> = new Map(words.map((word, i) => [word, i]));

/** For each kind: the value of a field that is left out. An empty list stands for any empty list. */
const usual: { readonly [Of in Kind]?: Readonly<Record<string, unknown>> } = {
  session: {
    state: "active",
    clean: false,
    keepAliveSeconds: 0,
    sleepSeconds: 0,
    farewell: false,
    topics: [],
    nextTopicId: 1,
    subscriptions: [],
  },
  topic: { known: false },
  queued: { msgId: 0, released: false },
  uplink: { stage: "open", isWill: false },
  received: { seq: 0 },
};

/** The type of a value, by its first octet. An octet below `smallNumbers` is itself the number. */
const smallNumbers = 0x80;
const tag = {
  false: 0x80,
  true: 0x81,
  nothing: 0x82,
  number: 0x83,
  below: 0x84,
  float: 0x85,
  text: 0x86,
  octets: 0x87,
  list: 0x88,
  object: 0x89,
  publication: 0x8a,
  subscription: 0x8b,
} as const;
/** A text of up to 63 octets: its length is added to this. */
const shortTexts = 0x90;
const shortTextMax = 0x3f;
const wordsFrom = 0xd0;
/** Precedes a name that is not in `fields`. */
const namedField = 0xff;
const depthMax = 10;

const ways: readonly unknown[] = ["name", "predefined", "short"];

/** The octets of a record, with the form first; undefined: the record has something that this form cannot hold. */
export function pack(of: Kind, clientId: string, record: object): Buffer | undefined {
  const into = new Writer();
  into.octet(packedMark);
  const absent = usual[of];
  return into.fields(
    record,
    (name, value) => isUsual(absent?.[name], value) || (name === "clientId" && value === clientId),
  )
    ? into.written()
    : undefined;
}

/** Returns the record as JSON would give it; undefined: `pack` did not write these octets. */
export function unpack(of: Kind, clientId: string, body: Buffer): Readonly<Record<string, unknown>> | undefined {
  const from = new Reader(body, 1);
  const found = from.fields(0);
  if (!found || !from.isAtEnd) return undefined;
  return { v: version, ...(of === "session" && { clientId }), ...usual[of], ...found };
}

function isUsual(usually: unknown, value: unknown): boolean {
  return Array.isArray(usually)
    ? Array.isArray(value) && value.length === 0
    : usually !== undefined && value === usually;
}

/** All records are packed into this buffer, one at a time, because packing is synchronous. */
let scratch = Buffer.allocUnsafeSlow(16_384);

class Writer {
  #at = 0;
  #depth = 0;

  written(): Buffer {
    return Buffer.from(scratch.subarray(0, this.#at));
  }

  /** Writes the fields of a record. False: this form cannot hold them. */
  fields(record: object, isLeftOut: (name: string, value: unknown) => boolean): boolean {
    this.#need(1);
    const countAt = this.#at++;
    let count = 0;
    for (const [name, value] of Object.entries(record)) {
      if (value === undefined || isLeftOut(name, value)) continue;
      this.#name(name);
      if (!this.#value(value)) return false;
      count++;
    }
    scratch[countAt] = count;
    return count <= 0xff;
  }

  #name(name: string): void {
    const number = numberOf.get(name);
    if (number !== undefined) return this.octet(number);
    this.octet(namedField);
    this.#text(name);
  }

  #value(value: unknown): boolean {
    switch (typeof value) {
      case "number":
        this.#number(value);
        return Number.isFinite(value);
      case "string": {
        const word = wordOf.get(value);
        if (word === undefined) this.#text(value);
        else this.octet(wordsFrom + word);
        return true;
      }
      case "boolean":
        this.octet(value ? tag.true : tag.false);
        return true;
      case "object": {
        this.#depth++;
        const isWhole = this.#depth <= depthMax && this.#object(value);
        this.#depth--;
        return isWhole;
      }
      default:
        return false;
    }
  }

  #object(value: object | null): boolean {
    if (value === null) {
      this.octet(tag.nothing);
      return true;
    }
    if (value instanceof Uint8Array) {
      this.octet(tag.octets);
      this.#octets(value);
      return true;
    }
    if (Array.isArray(value)) {
      this.octet(tag.list);
      this.#count(value.length);
      return value.every((each) => this.#value(each));
    }
    const special = this.#publication(value) ?? this.#subscription(value);
    if (special !== undefined) return special;
    this.octet(tag.object);
    return this.fields(value, () => false);
  }

  /** Writes QoS and flags, topic name, payload, and further fields; undefined: the value is not a publication. */
  #publication(value: object): boolean | undefined {
    if (!("topicName" in value && "payload" in value && "qos" in value && "retain" in value)) return undefined;
    const { topicName, payload, qos, retain, ...more } = value;
    const isSo = typeof topicName === "string" && payload instanceof Uint8Array && typeof retain === "boolean";
    if (!isSo || (qos !== 0 && qos !== 1 && qos !== 2)) return undefined;
    const has = Object.values(more).some((each) => each !== undefined);
    this.octet(tag.publication);
    this.octet(qos | (retain ? 4 : 0) | (has ? 8 : 0));
    this.#text(topicName);
    this.#octets(payload);
    return !has || this.fields(more, () => false);
  }

  /** Writes QoS, way and flags, filter, and the predefined id; undefined: the value is not a subscription. */
  #subscription(value: object): boolean | undefined {
    if (!("filter" in value && "qos" in value && "by" in value && "predefinedId" in value)) return undefined;
    const { filter, qos, by, predefinedId, ...more } = value;
    const way = ways.indexOf(by);
    const isSo = typeof filter === "string" && Number.isSafeInteger(predefinedId) && way >= 0;
    const id = Number(predefinedId);
    if (!isSo || id < 0 || (qos !== 0 && qos !== 1 && qos !== 2)) return undefined;
    const has = Object.values(more).some((each) => each !== undefined);
    this.octet(tag.subscription);
    this.octet(qos | (way << 2) | (id > 0 ? 16 : 0) | (has ? 32 : 0));
    this.#text(filter);
    if (id > 0) this.#count(id);
    return !has || this.fields(more, () => false);
  }

  octet(octet: number): void {
    this.#need(1);
    scratch[this.#at++] = octet;
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value)) {
      this.octet(tag.float);
      this.#need(8);
      this.#at = scratch.writeDoubleBE(value, this.#at);
    } else if (value >= 0 && value < smallNumbers) this.octet(value);
    else {
      this.octet(value < 0 ? tag.below : tag.number);
      this.#count(value < 0 ? -1 - value : value);
    }
  }

  /** Writes a count: seven bits in each octet, the lowest bits first. */
  #count(count: number): void {
    this.#need(8);
    let rest = count;
    while (rest >= 0x80) {
      scratch[this.#at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    scratch[this.#at++] = rest;
  }

  #text(text: string): void {
    const bytes = Buffer.byteLength(text);
    if (bytes <= shortTextMax) this.octet(shortTexts + bytes);
    else {
      this.octet(tag.text);
      this.#count(bytes);
    }
    this.#need(bytes);
    this.#at += scratch.write(text, this.#at);
  }

  #octets(octets: Uint8Array): void {
    this.#count(octets.byteLength);
    this.#need(octets.byteLength);
    scratch.set(octets, this.#at);
    this.#at += octets.byteLength;
  }

  #need(more: number): void {
    if (this.#at + more <= scratch.length) return;
    const grown = Buffer.allocUnsafeSlow(2 * (this.#at + more));
    scratch.copy(grown, 0, 0, this.#at);
    scratch = grown;
  }
}

/** Reads packed fields. Returns undefined at the first invalid octet: any process may have written the octets. */
class Reader {
  readonly #bytes: Buffer;
  #at: number;
  #isWrong = false;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return !this.#isWrong && this.#at === this.#bytes.length;
  }

  fields(depth: number): Record<string, unknown> | undefined {
    const count = this.#octet();
    const found: Record<string, unknown> = {};
    for (let i = 0; i < count && !this.#isWrong; i++) {
      const number = this.#octet();
      const name = number === namedField ? this.#text(this.#octet()) : fields[number];
      const value = this.#value(this.#octet(), depth);
      if (name !== undefined && name !== "__proto__") found[name] = value;
    }
    return this.#isWrong ? undefined : found;
  }

  #value(kind: number, depth: number): unknown {
    if (kind < smallNumbers) return kind;
    if (kind >= wordsFrom) return words[kind - wordsFrom] ?? this.#wrong();
    switch (kind) {
      case tag.false:
      case tag.true:
        return kind === tag.true;
      case tag.nothing:
        return null;
      case tag.number:
        return this.#count();
      case tag.below:
        return -1 - this.#count();
      case tag.float:
        return this.#take(8)?.readDoubleBE(0);
      case tag.octets:
        return this.#octets();
      case tag.list:
      case tag.object:
      case tag.publication:
      case tag.subscription:
        return depth < depthMax ? this.#inner(kind, depth + 1) : this.#wrong();
      default:
        return this.#text(kind);
    }
  }

  #inner(kind: number, depth: number): unknown {
    if (kind === tag.object) return this.fields(depth);
    if (kind === tag.list) {
      const list: unknown[] = [];
      for (let left = this.#count(); left > 0 && !this.#isWrong; left--) list.push(this.#value(this.#octet(), depth));
      return list;
    }
    const flags = this.#octet();
    const text = this.#text(this.#octet());
    if (kind === tag.publication) {
      const payload = this.#octets();
      const publication = { topicName: text, payload, qos: flags & 3, retain: (flags & 4) !== 0 };
      return flags & 8 ? { ...publication, ...this.fields(depth) } : publication;
    }
    const predefinedId = flags & 16 ? this.#count() : 0;
    const subscription = { filter: text, qos: flags & 3, by: ways[(flags >> 2) & 3], predefinedId };
    return flags & 32 ? { ...subscription, ...this.fields(depth) } : subscription;
  }

  #octet(): number {
    const octet = this.#bytes[this.#at++];
    return octet ?? this.#wrong() ?? 0;
  }

  #count(): number {
    let count = 0;
    for (let unit = 1; unit < 2 ** 53; unit *= 0x80) {
      const octet = this.#octet();
      count += (octet & 0x7f) * unit;
      if (octet < 0x80) return Number.isSafeInteger(count) ? count : (this.#wrong() ?? 0);
    }
    return this.#wrong() ?? 0;
  }

  #text(kind: number): string | undefined {
    if (kind !== tag.text && (kind < shortTexts || kind > shortTexts + shortTextMax)) return this.#wrong();
    return this.#take(kind === tag.text ? this.#count() : kind - shortTexts)?.toString("utf8");
  }

  #octets(): Uint8Array | undefined {
    const taken = this.#take(this.#count());
    return taken && new Uint8Array(taken);
  }

  #take(length: number): Buffer | undefined {
    const from = this.#at;
    if (length > this.#bytes.length - from) return this.#wrong();
    this.#at += length;
    return this.#bytes.subarray(from, this.#at);
  }

  #wrong(): undefined {
    this.#isWrong = true;
    return undefined;
  }
}
