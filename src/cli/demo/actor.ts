/**
 * One simulated device of the demonstration: a device of src/device on a socket, with functions that repeat actions.
 */
import { createSocket, type Socket } from "node:dgram";
import type { DeviceEvent } from "../../device/device.ts";
import type { QoS } from "../../wire/fields.ts";
import { UdpDevice } from "../udp-device.ts";

const host = "127.0.0.1";
const text = new TextEncoder();

export class Actor {
  readonly name: string;
  readonly #port: number;
  readonly #timers = new Set<NodeJS.Timeout>();
  #device: UdpDevice;
  #raw: Socket | undefined;
  #hear: (event: DeviceEvent) => void = () => {};
  #isOver = false;

  constructor(name: string, port: number) {
    this.name = name;
    this.#port = port;
    this.#device = this.#newDevice();
  }

  /** `hear`: called with each message of the gateway. */
  async begin(hear: (event: DeviceEvent) => void = () => {}): Promise<void> {
    this.#hear = hear;
    await this.#device.open((event) => this.#hear(event));
  }

  connect(keepAliveSeconds = 30, clean = false): void {
    const will = { topicName: `demo/${this.name}/state`, payload: text.encode("gone"), qos: 1, retain: false } as const;
    this.#device.act((device, now) => device.connect({ clean, keepAliveSeconds, will }, now));
  }

  publish(what: string, value: string | number, qos: QoS = 1): void {
    const topic = { by: "name", topicName: `demo/${this.name}/${what}` } as const;
    this.#device.act((device, now) => device.publish({ topic, payload: text.encode(String(value)), qos }, now));
  }

  publishTo(topicName: string, value: string, qos: QoS): void {
    const topic = { by: "name", topicName } as const;
    this.#device.act((device, now) => device.publish({ topic, payload: text.encode(value), qos }, now));
  }

  /** Publishes without a connection, under a predefined topic id. */
  press(topicId: number): void {
    const message = { topic: { by: "predefined", topicId }, payload: text.encode("pressed") } as const;
    this.#device.act((device, now) => device.publishWithoutConnection(message, now));
  }

  subscribe(topicName: string): void {
    this.#device.act((device, now) => device.subscribe({ by: "name", topicName }, 1, now));
  }

  sleep(seconds: number): void {
    this.#device.act((device, now) => device.sleep(seconds, now));
  }

  wake(): void {
    this.#device.act((device, now) => device.wake(now));
  }

  disconnect(): void {
    this.#device.act((device, now) => device.disconnect(now));
  }

  /** The device does not answer any more, and sends no DISCONNECT. */
  vanish(): void {
    this.#device.close();
    this.#device = this.#newDevice();
  }

  /** Sends octets unchanged. */
  say(octets: readonly number[]): void {
    this.#raw ??= createSocket("udp4").on("error", () => {});
    this.#raw.send(Uint8Array.from(octets), this.#port, host, () => {});
  }

  /** Repeats an action. The intervals vary a little, as with real devices. */
  every(seconds: number, work: () => void): void {
    const again = () => {
      work();
      this.after(seconds * (0.9 + 0.2 * Math.random()), again);
    };
    this.after(seconds * Math.random(), again);
  }

  after(seconds: number, work: () => void): void {
    if (this.#isOver) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, seconds * 1_000);
    this.#timers.add(timer);
  }

  end(): void {
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#device.close();
    this.#raw?.close();
  }

  #newDevice(): UdpDevice {
    return new UdpDevice({ clientId: this.name, host, port: this.#port, debug: false, retryMs: 5_000 });
  }
}
