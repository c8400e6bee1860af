/**
 * Sensors that broadcast in the format of BTHome v2, as many products do. Each advertisement becomes a PUBLISH at QoS
 * -1 to the topic that a rule of the configuration names. The topic name is before the payload. [interpretation 20]
 */
import type { Instant } from "../../core/types.ts";
import { type BthomeReading, decryptBthome, packetIdOf, parseBthome, readBthome } from "../../payload/bthome.ts";
import { matcher } from "./admission.ts";
import type { Advertisement } from "./advertisement.ts";
import { type BroadcastDrop, publishMinusOne } from "./broadcast.ts";
import type { BleOptions } from "./options.ts";

export const bthomeUuid = "fcd2";

/** Without a packet id or a counter, equal octets within this time are the same reading, sent again. */
const repeatsMs = 10_000;
/** A packet id has one octet: after this time it may be used again. */
const packetIdMs = 60_000;

export type BthomeOutcome =
  | {
      readonly messages: readonly Uint8Array[];
      /** The counter of an encrypted sensor; undefined: the sensor does not encrypt. */
      readonly counter: number | undefined;
    }
  | { readonly dropped: BroadcastDrop };

interface Sender {
  /** Recognizes a packet that is received again. */
  mark: string | undefined;
  markAt: Instant;
  /** Messages since `minuteAt`. */
  inMinute: number;
  minuteAt: Instant;
}

type Known = Pick<Advertisement, "address" | "name" | "services" | "rssi">;

/** The BTHome service data of an advertisement; undefined: there are none, or no rule needs them. */
export function bthomeData(seen: Pick<Advertisement, "serviceData">, isWanted: boolean): Uint8Array | undefined {
  return isWanted ? seen.serviceData.find(({ uuid }) => uuid === bthomeUuid)?.data : undefined;
}

/** The name of its counter in the store. The sensor may have a counter of the gateway's own format, too. */
export function bthomeCounterName(address: string): string {
  return `bthome/${address}`;
}

export class BthomeReceiver {
  readonly #options: BleOptions["broadcast"];
  readonly #rules: readonly { fits: (device: Known) => boolean; topic: string; retain: boolean }[];
  readonly #keys: ReadonlyMap<string, Uint8Array>;
  /** Senders, ordered by the time of their last message, the oldest first. */
  readonly #senders = new Map<string, Sender>();
  /** Counters of encrypted senders. They are never forgotten, because there are only as many as keys. */
  readonly #counters = new Map<string, number>();

  /** `counters`: the stored counters, each under `bthomeCounterName`. */
  constructor(
    options: BleOptions["broadcast"],
    keys: ReadonlyMap<string, Uint8Array>,
    counters: ReadonlyMap<string, number> = new Map(),
  ) {
    this.#options = options;
    this.#rules = options.bthome.rules.map(({ topic, retain, ...rule }) => ({ fits: matcher(rule), topic, retain }));
    this.#keys = keys;
    for (const address of keys.keys()) {
      const counter = counters.get(bthomeCounterName(address));
      if (counter !== undefined) this.#counters.set(address, counter);
    }
  }

  get isWanted(): boolean {
    return this.#options.enabled && this.#rules.length > 0;
  }

  get senders(): number {
    return this.#senders.size;
  }

  /** Forgets the sensor's counter, so that its next packet is accepted as new. False: the sensor was not known. */
  forget(address: string): boolean {
    const wasKept = this.#counters.delete(address);
    return this.#senders.delete(address) || wasKept;
  }

  receive(device: Known, serviceData: Uint8Array, now: Instant): BthomeOutcome {
    const { address } = device;
    const rule = this.#rules.find(({ fits }) => fits(device));
    if (!rule) return { dropped: "no-rule" };
    const frame = parseBthome(serviceData);
    if (!frame) return { dropped: "malformed" };
    const key = this.#keys.get(address);
    let objects: Uint8Array;
    if (frame.encrypted) {
      if (!key) return { dropped: "no-key" };
      const deciphered = decryptBthome(serviceData, address, key);
      if (!deciphered) return { dropped: "wrong-tag" };
      const last = this.#counters.get(address);
      if (last === frame.counter) return { dropped: "duplicate" };
      if (last !== undefined && frame.counter < last) return { dropped: "replayed" };
      objects = deciphered;
    } else {
      if (key || !this.#options.unknownSenders) return { dropped: "not-authenticated" };
      objects = frame.objects;
    }
    const { readings } = readBthome(objects);
    const told = readings.filter(({ id }) => id !== 0);
    if (told.length === 0) return { dropped: "malformed" };
    const mark = frame.encrypted ? undefined : markOf(readings, objects);
    const dropped = this.#admit(address, mark, now);
    if (dropped) return { dropped };
    const counter = frame.encrypted ? frame.counter : undefined;
    if (counter !== undefined) this.#counters.set(address, counter);
    return { messages: messagesOf(rule, address, told), counter };
  }

  #admit(address: string, mark: Mark | undefined, now: Instant): BroadcastDrop | undefined {
    const sender = this.#senderOf(address, now);
    if (mark && sender.mark === mark.text && now - sender.markAt < mark.holdsMs) return "duplicate";
    if (now - sender.minuteAt >= 60_000) {
      sender.minuteAt = now;
      sender.inMinute = 0;
    }
    if (sender.inMinute >= this.#options.perMinuteMax) return "too-many";
    sender.inMinute++;
    sender.mark = mark?.text;
    sender.markAt = now;
    return undefined;
  }

  #senderOf(address: string, now: Instant): Sender {
    const sender = this.#senders.get(address) ?? { mark: undefined, markAt: now, inMinute: 0, minuteAt: now };
    this.#senders.delete(address);
    this.#senders.set(address, sender);
    if (this.#senders.size > this.#options.sendersMax) {
      const oldest = this.#senders.keys().next();
      if (!oldest.done) this.#senders.delete(oldest.value);
    }
    return sender;
  }
}

interface Mark {
  readonly text: string;
  readonly holdsMs: number;
}

function markOf(readings: readonly BthomeReading[], objects: Uint8Array): Mark {
  const packetId = packetIdOf(readings);
  if (packetId !== undefined) return { text: `packet ${packetId}`, holdsMs: packetIdMs };
  return { text: Buffer.from(objects).toString("hex"), holdsMs: repeatsMs };
}

/** One message with all readings as JSON; one for each reading if the topic names the reading. */
function messagesOf(
  { topic, retain }: { readonly topic: string; readonly retain: boolean },
  address: string,
  readings: readonly BthomeReading[],
): readonly Uint8Array[] {
  const ofSensor = topic.replaceAll("{address}", address.replaceAll(":", ""));
  if (!ofSensor.includes("{reading}")) {
    const all = Object.fromEntries(readings.map(({ name, value }) => [name, value]));
    return [publish(ofSensor, JSON.stringify(all), retain)];
  }
  return readings.map(({ name, value }) => {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return publish(ofSensor.replaceAll("{reading}", name), text, retain);
  });
}

function publish(topicName: string, payload: string, retain: boolean): Uint8Array {
  const name = Buffer.from(topicName);
  return publishMinusOne({
    retain,
    topicIdType: 0,
    topicId: name.byteLength,
    data: Buffer.concat([name, Buffer.from(payload)]),
  });
}
