/**
 * The recent results of scripts, for users who look at payloads, so that the script is not asked again. Limited; the
 * oldest result is forgotten.
 */

const keptMax = 1_000;
/** Values that are too long for one line are not kept. */
const charactersMax = 4_096;

export class ScriptValues {
  readonly #values = new Map<string, string>();

  /** @param octets as the device sends or receives them; `json`: the decoded value */
  note(way: "in" | "out", clientId: string | undefined, topicName: string, octets: Uint8Array, json: Uint8Array): void {
    if (json.byteLength > charactersMax || octets.byteLength > charactersMax) return;
    const key = keyOf(way, clientId, topicName, octets);
    this.#values.delete(key);
    this.#values.set(key, Buffer.from(json).toString("utf8"));
    if (this.#values.size <= keptMax) return;
    for (const oldest of this.#values.keys()) {
      this.#values.delete(oldest);
      return;
    }
  }

  /** The JSON; undefined: no script was asked for this payload, or the result was forgotten. */
  of(way: "in" | "out", clientId: string | undefined, topicName: string, octets: Uint8Array): string | undefined {
    return this.#values.get(keyOf(way, clientId, topicName, octets));
  }
}

/** No client id is empty, and none contains a zero. */
function keyOf(way: "in" | "out", clientId: string | undefined, topicName: string, octets: Uint8Array): string {
  return `${way}\0${clientId ?? ""}\0${topicName}\0${Buffer.from(octets).toString("latin1")}`;
}
