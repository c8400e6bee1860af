/** An MQTT-SN device whose network is a serial line, alone on it or one of many behind a radio module. */
import { performance } from "node:perf_hooks";
import { type AnyDevice, Device, type DeviceEvent } from "../../src/device/device.ts";
import { Reassembler } from "../../src/transports/framing.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { until } from "../helpers/test-gateway.ts";
import type { PtyLine } from "./pty-line.ts";

/** What hangs on the far end of a line: every piece that comes goes to all devices, as on a radio channel. */
export class RadioModule {
  readonly pieces: Uint8Array[] = [];
  readonly #devices: LineDevice[] = [];
  #line: PtyLine | undefined;
  #reassembler = new Reassembler({ maxMessageBytes: 2_000, resyncMs: 500 });

  attach(line: PtyLine): void {
    this.#line = line;
    this.#reassembler = new Reassembler({ maxMessageBytes: 2_000, resyncMs: 500 });
    line.onData = (chunk) => {
      for (const piece of this.#reassembler.take(chunk, performance.now())) {
        this.pieces.push(piece);
        for (const device of this.#devices) device.hear(piece);
      }
    };
  }

  send(bytes: Uint8Array): void {
    this.#line?.send(bytes);
  }

  /** With a node id its messages are encapsulated [MQTT-SN 1.2 §5.5]; without, they are plain. */
  /** `library`: another than src/device. */
  device(clientId: string, nodeId?: Uint8Array, library?: AnyDevice): LineDevice {
    const device = new LineDevice(this, clientId, nodeId, library);
    this.#devices.push(device);
    return device;
  }
}

export class LineDevice {
  readonly device: AnyDevice;
  readonly events: DeviceEvent[] = [];
  readonly #module: RadioModule;
  readonly #nodeId: Uint8Array | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(module: RadioModule, clientId: string, nodeId?: Uint8Array, library?: AnyDevice) {
    this.#module = module;
    this.#nodeId = nodeId;
    this.device = library ?? new Device({ clientId, retryMs: 800, retryLimit: 30 });
  }

  get received(): string[] {
    return this.events.flatMap((event) => (event.event === "message" ? [Buffer.from(event.payload).toString()] : []));
  }

  hear(piece: Uint8Array): void {
    const { forwarded } = decode(piece);
    if (Buffer.compare(forwarded?.nodeId ?? new Uint8Array(0), this.#nodeId ?? new Uint8Array(0)) !== 0) return;
    const message = forwarded ? piece.subarray(piece[0]) : piece;
    this.#act((device, now) => device.receive(message, now));
  }

  /** Again, if it is refused: noise on the line may have been a CONNECT, too. */
  async connect(): Promise<void> {
    await until(`${this.device.clientId} active`, () => {
      if (this.device.state === "disconnected" && this.device.idle) {
        this.#act((device, now) => device.connect({ clean: false, keepAliveSeconds: 60 }, now));
      }
      return this.device.state === "active";
    });
  }

  async subscribe(topicName: string): Promise<void> {
    this.#act((device, now) => device.subscribe({ by: "name", topicName }, 1, now));
    await until(`${this.device.clientId}'s subscription`, () =>
      this.events.some(({ event }) => event === "subscribed"),
    );
  }

  /** Resolves when the gateway has acknowledged. */
  async publish(topicName: string, text: string): Promise<void> {
    let ref = 0;
    this.#act((device, now) => {
      ref = device.publish({ topic: { by: "name", topicName }, payload: Buffer.from(text), qos: 1 }, now);
    });
    await until(
      `${text} acknowledged`,
      () => this.events.some((e) => e.event === "published" && e.ref === ref),
      30_000,
    );
  }

  async got(text: string): Promise<void> {
    await until(`${text} at ${this.device.clientId}`, () => this.received.includes(text), 30_000);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #act(what: (device: AnyDevice, now: number) => void): void {
    what(this.device, performance.now());
    for (let output = this.device.take(); output.length > 0; output = this.device.take()) {
      for (const item of output) {
        if (item.kind === "event") this.events.push(item.event);
        else this.#module.send(this.#nodeId ? encapsulated(this.#nodeId, item.bytes) : item.bytes);
      }
    }
    clearTimeout(this.#timer);
    const at = this.device.nextDeadline();
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => this.#act((device, now) => device.timeout(now)),
      Math.max(1, at - performance.now()),
    );
  }
}

function encapsulated(nodeId: Uint8Array, message: Uint8Array): Uint8Array {
  return Uint8Array.of(3 + nodeId.length, 0xfe, 0, ...nodeId, ...message);
}
