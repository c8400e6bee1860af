/** An MQTT-SN device whose network is a Bluetooth link: src/device on a Peripheral. It advertises while it is awake. */
import { performance } from "node:perf_hooks";
import { type AnyDevice, Device, type DeviceEvent } from "../../../src/device/device.ts";
import { Reassembler } from "../../../src/transports/framing.ts";
import { until } from "../../helpers/test-gateway.ts";
import { Peripheral, type PeripheralOptions } from "./peripheral.ts";

export interface BleDeviceOptions extends PeripheralOptions {
  readonly clientId: string;
  readonly retryMs?: number;
  /** Another than src/device. */
  readonly library?: AnyDevice;
}

export class BleDevice {
  readonly device: AnyDevice;
  readonly events: DeviceEvent[] = [];
  readonly #socketPath: string;
  readonly #options: BleDeviceOptions;
  #peripheral: Peripheral | undefined;
  #reassembler = newReassembler();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Whether it comes back by itself when its link is lost. */
  #isOn = false;
  links = 0;

  constructor(socketPath: string, options: BleDeviceOptions) {
    this.#socketPath = socketPath;
    this.#options = options;
    const { clientId, retryMs = 1_000 } = options;
    this.device = options.library ?? new Device({ clientId, retryMs, retryLimit: 30 });
  }

  get peripheral(): Peripheral | undefined {
    return this.#peripheral;
  }

  get isLinked(): boolean {
    return this.#peripheral?.isSubscribed === true;
  }

  /** Texts of the publications that came, in order. */
  get received(): string[] {
    return this.events.flatMap((event) => (event.event === "message" ? [Buffer.from(event.payload).toString()] : []));
  }

  /** Switches the radio on, with another address if one is given. */
  async on(address?: string): Promise<void> {
    this.#isOn = true;
    const own = address ?? this.#options.address;
    const peripheral = new Peripheral(this.#socketPath, {
      ...this.#options,
      ...(own !== undefined && { address: own }),
    });
    this.#peripheral = peripheral;
    peripheral.on("written", (bytes) => {
      for (const message of this.#reassembler.take(bytes, performance.now())) {
        this.act((device, now) => device.receive(message, now));
      }
    });
    peripheral.on("subscribed", () => {
      this.links++;
      this.#reassembler = newReassembler();
      // What was sent into the void is repeated by the device's own timer.
    });
    peripheral.on("disconnected", () => {
      if (this.#isOn && this.#peripheral === peripheral) peripheral.advertise().catch(() => {});
    });
    await peripheral.start();
    await peripheral.advertise();
  }

  /** Switches the radio off without DISCONNECT; state and timers stay, as in a sleeping chip. */
  off(): void {
    this.#isOn = false;
    this.#peripheral?.kill();
    this.#peripheral = undefined;
  }

  /** From now on it does not advertise when its link ends, as the profile asks of sleepers. */
  quiet(): void {
    this.#isOn = false;
  }

  async linked(): Promise<void> {
    await until(`${this.device.clientId}'s link`, () => this.isLinked);
  }

  act(what: (device: AnyDevice, now: number) => void): void {
    what(this.device, performance.now());
    this.#flush();
  }

  async connect(clean = true, keepAliveSeconds = 60): Promise<void> {
    await this.linked();
    this.act((device, now) => device.connect({ clean, keepAliveSeconds }, now));
    await until(`${this.device.clientId} active`, () => this.device.state === "active");
  }

  async subscribe(topicName: string, qos: 0 | 1 | 2): Promise<void> {
    this.act((device, now) => device.subscribe({ by: "name", topicName }, qos, now));
    await until(`${this.device.clientId}'s subscription`, () => this.device.idle);
  }

  async publish(topicName: string, text: string, qos: 0 | 1 | 2): Promise<void> {
    let ref = 0;
    this.act((device, now) => {
      ref = device.publish({ topic: { by: "name", topicName }, payload: Buffer.from(text), qos }, now);
    });
    await until(
      `${text} acknowledged`,
      () => this.events.some((e) => e.event === "published" && e.ref === ref),
      40_000,
    );
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.off();
  }

  #flush(): void {
    if (this.#closed) return;
    for (let output = this.device.take(); output.length > 0; output = this.device.take()) {
      for (const item of output) {
        if (item.kind === "event") this.events.push(item.event);
        else if (this.isLinked) {
          this.#peripheral?.notify(item.bytes);
        }
      }
    }
    clearTimeout(this.#timer);
    const at = this.device.nextDeadline();
    if (at === undefined) return;
    const delay = Math.max(1, at - performance.now());
    this.#timer = setTimeout(() => this.act((device, now) => device.timeout(now)), delay);
  }
}

function newReassembler(): Reassembler {
  return new Reassembler({ maxMessageBytes: 65_535, resyncMs: 8_000 });
}
