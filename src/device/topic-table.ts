/** The topic ids that a device knows, both ways. [MQTT-SN 1.2 §6.5, §6.7] */
import { shortNameFromId, shortNameToId } from "../wire/topic.ts";
import type { Publish } from "../wire/v12/messages.ts";
import type { TopicNaming } from "./request.ts";

export interface TopicOnAir {
  readonly type: "normal" | "short" | "predefined";
  readonly id: number;
}

export class TopicTable {
  readonly #idByName = new Map<string, number>();
  readonly #nameById = new Map<number, string>();

  learn(topicName: string, topicId: number): void {
    this.#idByName.set(topicName, topicId);
    this.#nameById.set(topicId, topicName);
  }

  /** The gateway does not know the id of this topic name any more. */
  forget(topicName: string): void {
    this.#idByName.delete(topicName);
  }

  clear(): void {
    this.#idByName.clear();
    this.#nameById.clear();
  }

  /** The topic in messages; undefined: it must be registered first. @throws RangeError if a short name is not valid. */
  idOf(topic: TopicNaming): TopicOnAir | undefined {
    if (topic.by === "predefined") return { type: "predefined", id: topic.topicId };
    if (topic.by === "short") return { type: "short", id: shortId(topic.topicName) };
    const id = this.#idByName.get(topic.topicName);
    return id === undefined ? undefined : { type: "normal", id };
  }

  /** The topic name of a PUBLISH from the gateway; undefined: this device does not know the id. */
  nameOf(message: Publish): string | undefined {
    switch (message.topicIdType) {
      case "normal":
        return this.#nameById.get(message.topicId);
      case "short":
        return shortNameFromId(message.topicId);
      case "predefined":
        return `predefined ${message.topicId}`;
      case "reserved":
        return undefined;
    }
  }
}

/** @throws RangeError when the name has not two octets. */
export function shortId(topicName: string): number {
  const id = shortNameToId(topicName);
  if (id === undefined) throw new RangeError(`"${topicName}" is no short topic name`);
  return id;
}
