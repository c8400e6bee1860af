/** A device that sleeps most of the time. */
import { UdpDevice } from "../../src/cli/udp-device.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import type { Request } from "../../src/device/request.ts";
import { until } from "../helpers/test-gateway.ts";

/** Sleeps most of the time, and fetches what waits. */
export class Sleeper {
  readonly received: string[] = [];
  readonly #udp: UdpDevice;
  readonly #topic: string;
  readonly #clean: boolean;
  #timer: NodeJS.Timeout | undefined;
  connects = 0;
  isSubscribed = false;
  #isStopped = false;
  /** Why it is not connected any more: events of the device. */
  readonly ends: string[] = [];

  constructor(clientId: string, port: number, topic: string, clean: boolean, retryLimit: number) {
    this.#topic = topic;
    this.#clean = clean;
    this.#udp = new UdpDevice({ clientId, host: "127.0.0.1", port, retryMs: 300, retryLimit, debug: false });
  }

  async start(): Promise<void> {
    await this.#udp.open((event) => this.#on(event));
    this.#connect();
    await until("the sleeper's subscription", () => this.isSubscribed);
    this.#udp.act((device, now) => device.sleep(120, now));
    this.#timer = setInterval(() => {
      if (this.#udp.device.state === "asleep" && this.#udp.device.idle)
        this.#udp.act((device, now) => device.wake(now));
    }, 400);
  }

  /** Without an answer for so long, it does not wake again. */
  get gaveUp(): boolean {
    return this.#udp.device.state === "disconnected";
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#udp.close();
  }

  #on(event: DeviceEvent): void {
    if (event.event === "message") this.received.push(Buffer.from(event.payload).toString());
    if (event.event === "subscribed") this.isSubscribed = true;
    if (event.event === "disconnected" || event.event === "failed") this.ends.push(JSON.stringify(event));
    if (event.event === "failed" && event.returnCode !== undefined && !this.isSubscribed)
      this.#askAgain(event.request.kind);
    if (event.event !== "connected") return;
    this.connects++;
    if (!this.isSubscribed) this.#subscribe();
  }

  #connect(): void {
    this.#udp.act((device, now) => device.connect({ clean: this.#clean, keepAliveSeconds: 60 }, now));
  }

  #subscribe(): void {
    this.#udp.act((device, now) => device.subscribe({ by: "name", topicName: this.#topic }, 2, now));
  }

  /** It was told 'congestion', as while a gateway has no connection to its broker yet. */
  #askAgain(kind: Request["kind"]): void {
    setTimeout(() => {
      if (this.#isStopped || this.isSubscribed || !this.#udp.device.idle) return;
      if (kind === "connect") this.#connect();
      else if (kind === "subscribe") this.#subscribe();
    }, 50);
  }
}
