import { UdpDevice } from "../../src/cli/udp-device.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { until } from "./test-gateway.ts";

/** A device over UDP that subscribes, sleeps and wakes, and notes what comes. */
export class Listener {
  readonly received: string[] = [];
  readonly #udp: UdpDevice;
  #subscribed = 0;
  #connected = false;

  constructor(clientId: string, port: number) {
    this.#udp = new UdpDevice({ clientId, host: "127.0.0.1", port, retryMs: 500, retryLimit: 20, debug: false });
  }

  async connect(): Promise<this> {
    await this.#udp.open((event) => {
      if (event.event === "connected") this.#connected = true;
      if (event.event === "subscribed") this.#subscribed++;
      if (event.event === "message") {
        const retained = event.retain ? " retained" : "";
        this.received.push(`${event.topicName} ${Buffer.from(event.payload)} QoS ${event.qos}${retained}`);
      }
    });
    this.#udp.act((device, now) => device.connect({ clean: false, keepAliveSeconds: 60 }, now));
    await until("CONNACK", () => this.#connected);
    return this;
  }

  async subscribe(topicName: string, qos: QoS): Promise<void> {
    const before = this.#subscribed;
    this.#udp.act((device, now) => device.subscribe({ by: "name", topicName }, qos, now));
    await until("SUBACK", () => this.#subscribed > before && this.#udp.device.idle);
  }

  sleep(): void {
    this.#udp.act((device, now) => device.sleep(300, now));
  }

  wake(): void {
    this.#udp.act((device, now) => device.wake(now));
  }

  get isAsleep(): boolean {
    return this.#udp.device.state === "asleep" && this.#udp.device.idle;
  }

  close(): void {
    this.#udp.close();
  }
}
