/**
 * A hash of the last message of each topic name that was sent to a client. With it, the gateway distinguishes a new
 * retained message from one that the broker sends only because the gateway subscribed again. MQTT 3.1.1 has no
 * SUBSCRIBE without retained messages. [MQTT 3.1.1 §3.8.4]
 */

import type { ShownRecord } from "../record.ts";
import { SmallMap } from "../small-map.ts";
import type { Publication } from "../types.ts";

/**
 * Limit of names for each client; beyond it the oldest is forgotten. Longer names and larger payloads are not
 * remembered.
 */
const namesMax = 32;
const nameLengthMax = 128;
const payloadBytesMax = 1_024;

export class Shown {
  readonly #byName = new SmallMap<string, ShownRecord>();
  /** There is a change that is not written yet. */
  isNew = false;

  /**
   * Notes that the client has this message. Returns whether this should be written soon, because the message is known
   * to be retained.
   */
  note({ topicName: name, payload, retain }: Publication): boolean {
    if (payload.byteLength > payloadBytesMax || name.length > nameLengthMax) {
      this.#byName.delete(name);
      return false;
    }
    const before = this.#byName.get(name);
    const hash = hashOf(payload);
    const isRetained = retain || before?.isRetained === true;
    if (before?.hash === hash && (before.isRetained === true) === isRetained) return false;
    this.restore(isRetained ? { name, hash, isRetained } : { name, hash });
    this.isNew = true;
    return isRetained;
  }

  /** Whether this was the last message with this name that the client got. */
  has({ topicName, payload }: Publication): boolean {
    return this.#byName.get(topicName)?.hash === hashOf(payload);
  }

  restore(record: ShownRecord): void {
    this.#byName.set(record.name, record);
    if (this.#byName.size <= namesMax) return;
    for (const name of this.#byName.keys()) return void this.#byName.delete(name);
  }

  records(): readonly ShownRecord[] {
    return [...this.#byName.values()];
  }

  get size(): number {
    return this.#byName.size;
  }
}

/** FNV-1a over all octets and their number. */
function hashOf(payload: Uint8Array): number {
  let hash = 0x811c9dc5 ^ payload.byteLength;
  for (const octet of payload) hash = Math.imul(hash ^ octet, 0x01000193);
  return hash;
}
