/** Home Assistant, as far as tests need it: it keeps the last of each topic, and judges each discovery message as it comes. */
import mqtt from "mqtt";
import { deviceDiscovery, discoveryTopicOf } from "./home-assistant-schema.ts";

/** A model of Home Assistant: the messages that it gets, the topics that it reads, and what the devices of the tests send. */
export const homeFilters: readonly string[] = ["homeassistant/#", "mqtt-sn/#", "barn/#"];

export class HomeAssistant {
  readonly kept = new Map<string, string>();
  readonly wrong: string[] = [];
  /** Called after each message. */
  onChange: () => void = () => {};
  readonly #client: mqtt.MqttClient;

  constructor(port: number, filters: readonly string[] = homeFilters) {
    this.#client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 200 });
    this.#client.on("connect", () => {
      this.kept.clear();
      this.#client.subscribe([...filters]);
    });
    this.#client.on("message", (topicName, payload) => {
      const text = payload.toString();
      if (text === "") this.kept.delete(topicName);
      else this.kept.set(topicName, text);
      if (text !== "" && topicName.startsWith("homeassistant/device/")) this.#judge(topicName, text);
      this.onChange();
    });
  }

  #judge(topicName: string, text: string): void {
    const judged = deviceDiscovery.safeParse(JSON.parse(text));
    if (!judged.success || !discoveryTopicOf("homeassistant").test(topicName))
      this.wrong.push(`${topicName}: ${judged.error?.message}`);
  }

  get devices(): string[] {
    return [...this.kept].flatMap(([topicName, text]) =>
      topicName.startsWith("homeassistant/device/") ? [deviceDiscovery.parse(JSON.parse(text)).device.name] : [],
    );
  }

  /** As Home Assistant reckons it: the gateway and the client, both. */
  isAvailable(name: string): boolean {
    const text = [...this.kept].find(([, each]) => each.includes(`"serial_number":"${name}"`))?.[1];
    if (text === undefined) return false;
    const { availability = [] } = deviceDiscovery.parse(JSON.parse(text));
    return availability.every(({ topic, value_template, payload_available }) => {
      const state = this.kept.get(topic);
      if (value_template === undefined) return state === payload_available;
      const [, list = ""] = /in \[(.*?)\]/.exec(value_template) ?? [];
      return list.includes(`'${state}'`);
    });
  }

  /** What a new subscriber gets: the retained messages of the broker, and nothing else. */
  static async retainedAt(port: number, filters: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`);
    const all = new Promise<void>((done) => {
      client.on("message", (topicName, payload, { retain }) => {
        if (topicName === "end-of-retained") done();
        else if (retain) found.set(topicName, payload.toString());
      });
    });
    await client.subscribeAsync([...filters, "end-of-retained"], { qos: 1 });
    // Comes behind the retained messages, over the same connection.
    await client.publishAsync("end-of-retained", "", { qos: 1 });
    await all;
    await client.endAsync();
    return found;
  }

  say(topicName: string, text: string): void {
    this.#client.publish(topicName, text);
  }

  close(): Promise<void> {
    return this.#client.endAsync(true);
  }
}
