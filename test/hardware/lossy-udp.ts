/** A device on a UDP socket that loses datagrams, both ways, by the dice of a seed. */
import { createSocket } from "node:dgram";
import { performance } from "node:perf_hooks";
import type { AnyDevice, DeviceEvent } from "../../src/device/device.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";

export class LossyUdp {
  readonly device: AnyDevice;
  readonly events: DeviceEvent[] = [];
  readonly #socket = createSocket("udp4");
  readonly #port: number;
  readonly #loss: number;
  readonly #rng: Rng;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  carried = 0;
  lost = 0;
  onEvent: (event: DeviceEvent) => void = () => {};

  private constructor(device: AnyDevice, port: number, loss: number, seed: number) {
    this.device = device;
    this.#port = port;
    this.#loss = loss;
    this.#rng = new Rng(seed);
  }

  static async open(device: AnyDevice, port: number, loss = 0, seed = 1): Promise<LossyUdp> {
    const udp = new LossyUdp(device, port, loss, seed);
    udp.#socket.on("message", (bytes) => {
      if (!udp.#loses()) udp.act((each, now) => each.receive(bytes, now));
    });
    udp.#socket.on("error", () => {});
    await new Promise<void>((done) => udp.#socket.bind(0, "127.0.0.1", done));
    return udp;
  }

  get received(): string[] {
    return this.events.flatMap((event) => (event.event === "message" ? [Buffer.from(event.payload).toString()] : []));
  }

  act(what: (device: AnyDevice, now: number) => void): void {
    if (this.#closed) return;
    what(this.device, performance.now());
    for (let output = this.device.take(); output.length > 0; output = this.device.take()) {
      for (const item of output) {
        if (item.kind === "event") {
          this.events.push(item.event);
          this.onEvent(item.event);
        } else if (!this.#loses()) this.#socket.send(item.bytes, this.#port, "127.0.0.1", () => {});
      }
    }
    clearTimeout(this.#timer);
    const at = this.device.nextDeadline();
    if (at === undefined || this.#closed) return;
    this.#timer = setTimeout(() => this.act((device, now) => device.timeout(now)), Math.max(1, at - performance.now()));
  }

  async connect(options: Parameters<AnyDevice["connect"]>[0] = { clean: false, keepAliveSeconds: 60 }): Promise<void> {
    this.act((device, now) => device.connect(options, now));
    await until(`${this.device.clientId} active`, () => this.device.state === "active", 30_000);
  }

  async subscribe(topicName: string, qos: QoS): Promise<void> {
    this.act((device, now) => device.subscribe({ by: "name", topicName }, qos, now));
    await until(`${this.device.clientId}'s subscription`, () => this.device.idle, 30_000);
  }

  async publish(topicName: string, text: string, qos: QoS): Promise<void> {
    let ref = 0;
    this.act((device, now) => {
      ref = device.publish({ topic: { by: "name", topicName }, payload: Buffer.from(text), qos }, now);
    });
    const isDone = (event: DeviceEvent) => event.event === "published" && event.ref === ref;
    await until(`${text} acknowledged`, () => this.events.some(isDone), 30_000);
  }

  async heard(kind: DeviceEvent["event"]): Promise<void> {
    await until(kind, () => this.events.some(({ event }) => event === kind), 30_000);
  }

  /** Without a word, as when the power goes. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket.close();
  }

  #loses(): boolean {
    this.carried++;
    const isLost = this.#rng.chance(this.#loss);
    if (isLost) this.lost++;
    return isLost;
  }
}
