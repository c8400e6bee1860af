/** Serial ports played by a script: what is plugged in can be opened. */
import { Reassembler } from "../../src/transports/framing.ts";
import type { LineEvents, LineOpener, OpenLine } from "../../src/transports/serial.ts";
import { until } from "./test-gateway.ts";

export class ScriptedPorts {
  readonly #plugged = new Map<string, ScriptedDevice>();
  /** How often each was asked for. */
  readonly attempts: string[] = [];
  /** What opening answers for ports where nothing is plugged in. */
  refusal: Error = new Error("Error: No such file or directory, cannot open");

  readonly open: LineOpener = async (path, _options, events) => {
    this.attempts.push(path);
    const device = this.#plugged.get(path);
    if (!device) throw this.refusal;
    return device.connect(events);
  };

  plug(path: string): ScriptedDevice {
    const device = new ScriptedDevice();
    this.#plugged.set(path, device);
    return device;
  }

  unplug(path: string): void {
    const device = this.#plugged.get(path);
    this.#plugged.delete(path);
    device?.pull();
  }
}

export class ScriptedDevice {
  readonly received: Uint8Array[] = [];
  readonly #reassembler = new Reassembler({ maxMessageBytes: 65_535, resyncMs: 1_000 });
  #events: LineEvents | undefined;
  waitingBytes = 0;

  get isOpen(): boolean {
    return this.#events !== undefined;
  }

  connect(events: LineEvents): OpenLine {
    this.#events = events;
    const device = this;
    return {
      get waitingBytes() {
        return device.waitingBytes;
      },
      write: (bytes) => {
        this.received.push(...this.#reassembler.take(bytes, 0));
      },
      close: async () => {
        this.#events = undefined;
      },
    };
  }

  /** As a UART does: a few octets at a time, however the messages lie. */
  send(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; at += 7) this.#events?.data(bytes.slice(at, at + 7));
  }

  pull(): void {
    this.#events?.gone("it was unplugged");
    this.#events = undefined;
  }

  async opened(): Promise<this> {
    await until("the line to be opened", () => this.isOpen);
    await new Promise((done) => setImmediate(done));
    return this;
  }

  async close(): Promise<void> {}
}
