import { UdpDevice } from "../../src/cli/udp-device.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import type { DeviceWill } from "../../src/device/request.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { until } from "./test-gateway.ts";

/** A device over UDP that subscribes, publishes, sleeps and wakes, and notes what comes. */
export class Listener {
  readonly received: string[] = [];
  readonly #udp: UdpDevice;
  #subscribed = 0;
  #connected = false;
  /** What became of publications, by their number: 0 = accepted, else the return code; -1 = no answer. */
  readonly #published = new Map<number, number>();

  constructor(clientId: string, port: number, retry: { ms: number; limit: number } = { ms: 500, limit: 20 }) {
    const [retryMs, retryLimit] = [retry.ms, retry.limit];
    this.#udp = new UdpDevice({ clientId, host: "127.0.0.1", port, retryMs, retryLimit, debug: false });
  }

  async connect(with_: { keepAliveSeconds?: number; will?: DeviceWill } = {}): Promise<this> {
    await this.#udp.open((event) => this.#on(event));
    const { keepAliveSeconds = 60, will } = with_;
    this.#udp.act((device, now) => device.connect({ clean: false, keepAliveSeconds, will }, now));
    await until("CONNACK", () => this.#connected);
    return this;
  }

  #on(event: DeviceEvent): void {
    if (event.event === "connected") this.#connected = true;
    if (event.event === "subscribed") this.#subscribed++;
    if (event.event === "published") this.#published.set(event.ref, 0);
    if (event.event === "failed" && event.request.kind === "publish")
      this.#published.set(event.request.ref, event.returnCode ?? -1);
    if (event.event === "message") {
      const retained = event.retain ? " retained" : "";
      this.received.push(`${event.topicName} ${Buffer.from(event.payload)} QoS ${event.qos}${retained}`);
    }
  }

  async subscribe(topicName: string, qos: QoS): Promise<void> {
    const before = this.#subscribed;
    this.#udp.act((device, now) => device.subscribe({ by: "name", topicName }, qos, now));
    await until("SUBACK", () => this.#subscribed > before && this.#udp.device.idle);
  }

  /** Answers the return code, 0 = accepted; -1: no answer. */
  async publish(topicName: string, payload: string, qos: QoS, retain = false): Promise<number> {
    let ref = 0;
    const octets = new TextEncoder().encode(payload);
    this.#udp.act((device, now) => {
      ref = device.publish({ topic: { by: "name", topicName }, payload: octets, qos, retain }, now);
    });
    await until(`the answer to ${topicName}`, () => this.#published.has(ref), 40_000);
    return this.#published.get(ref) ?? -1;
  }

  sleep(): void {
    this.#udp.act((device, now) => device.sleep(300, now));
  }

  wake(): void {
    this.#udp.act((device, now) => device.wake(now));
  }

  /**
   * Wakes until `holds`, and once at least; then it is asleep again. Once may be too early: in transparent mode a sleeper has a
   * connection of its own, so what another device has got may not have come for this one yet.
   */
  async wakeUntil(what: string, holds: () => boolean, patienceMs?: number): Promise<void> {
    this.wake();
    const handedOver = () => {
      if (!this.isAsleep) return false;
      if (holds()) return true;
      this.wake();
      return false;
    };
    await until(what, handedOver, patienceMs).catch((error: unknown) => {
      throw new Error(`${error}; received: ${JSON.stringify(this.received.slice(-20))}`);
    });
  }

  get isConnected(): boolean {
    return this.#udp.device.state === "active";
  }

  get isAsleep(): boolean {
    return this.#udp.device.state === "asleep" && this.#udp.device.idle;
  }

  /** Without a word. */
  close(): void {
    this.#udp.close();
  }
}
