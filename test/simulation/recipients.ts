/** To whom of the devices a message goes that the broker hands to a connection, which may be one that clients share. */
import { hashOfText } from "../../src/core/state/shared-connection.ts";
import type { Publication } from "../../src/core/types.ts";
import { matches } from "../../src/wire/topic.ts";
import { testOptions } from "./options.ts";
import { isForAll, textOf } from "./texts.ts";
import type { World } from "./world.ts";

export class Recipients {
  readonly #world: World;
  readonly #known = new Map<string, readonly string[]>();

  constructor(world: World) {
    this.#world = world;
  }

  /** To whom a packet of the broker goes, as far as they were told that they are subscribed; noted when it comes first. */
  of(mqttClientId: string, publication: Publication): readonly string[] {
    if (!isSharedId(mqttClientId)) return [mqttClientId];
    const { topicName, retain } = publication;
    if (!isForAll(topicName)) return [topicName.split("/")[1] ?? ""];
    if (retain) return []; // the clients that wait for it: see the judge
    const key = `${mqttClientId} ${textOf(publication)}`;
    let recipients = this.#known.get(key);
    if (!recipients) {
      recipients = this.#world.devices
        .map(({ clientId }) => clientId)
        .filter(
          (clientId) =>
            this.sharedOf(clientId) === mainOf(mqttClientId) && this.#world.judge.isOwed(clientId, topicName),
        )
        .filter((clientId) => this.#world.options.copies !== "each" || this.#goesBy(clientId, mqttClientId, topicName));
      this.#known.set(key, recipients);
    }
    return recipients;
  }

  /** Where a copy comes for each filter: is this the connection on which the client's one stands? */
  #goesBy(clientId: string, mqttClientId: string, topicName: string): boolean {
    const joins = this.#world.devices.find((device) => device.clientId === clientId)?.habits.joins ?? [];
    const standing = this.#world.broker.filtersOf(mqttClientId);
    return joins.some((filter) => matches(filter, topicName) && standing.includes(filter));
  }

  /** A client keeps to one of the connections. */
  sharedOf(clientId: string): string {
    const { upstream } = this.#world.options.core;
    const index = hashOfText(clientId) % (upstream?.connections ?? 1);
    return testOptions.upstream.serviceClientId + (index === 0 ? "" : `-${index}`);
  }
}

/** MQTT client ids of shared connections begin like the gateway's own. */
export function isSharedId(mqttClientId: string): boolean {
  return mqttClientId.startsWith(testOptions.upstream.serviceClientId);
}

/** Of a lane that of its main connection. */
function mainOf(mqttClientId: string): string {
  return mqttClientId.replace(/-lane-\d+$/, "");
}
