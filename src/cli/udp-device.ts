/** A device over UDP for the command line: a socket and a timer around src/device. */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { performance } from "node:perf_hooks";
import { Device, type DeviceEvent, type DeviceOptions } from "../device/device.ts";
import { SecureDevice, type SecureDeviceOptions } from "../device/secure.ts";
import { nodeCrypto } from "../transports/dtls/node-crypto.ts";
import { decode, encode, type Forwarded } from "../wire/v12/codec.ts";
import { describe } from "../wire/v12/words.ts";
import { err } from "./output.ts";

export interface UdpDeviceOptions extends DeviceOptions {
  readonly host: string;
  readonly port: number;
  /** The device uses DTLS with this key. */
  readonly secure?: SecureDeviceOptions | undefined;
  /** The device behaves as if it was behind a forwarder: every message is encapsulated with this Wireless Node Id. */
  readonly forwarderNode?: Uint8Array | undefined;
  /** Writes every message in words on standard error. */
  readonly debug: boolean;
}

export class UdpDevice {
  readonly device: Device;
  readonly #options: UdpDeviceOptions;
  #socket: Socket | undefined;
  #address = "";
  #timer: NodeJS.Timeout | undefined;
  #onEvent: (event: DeviceEvent) => void = () => {};
  readonly #secure: SecureDevice | undefined;
  /** Called with the result of the handshake. The argument is undefined if it succeeded. */
  #onSecure: (failure: Error | undefined) => void = () => {};

  constructor(options: UdpDeviceOptions) {
    this.#options = options;
    this.#secure = options.secure && new SecureDevice(nodeCrypto, options.secure);
    this.device = new Device(options);
  }

  now(): number {
    return performance.now();
  }

  async open(onEvent: (event: DeviceEvent) => void): Promise<void> {
    this.#onEvent = onEvent;
    const { host } = this.#options;
    this.#address = isIP(host.replace(/%.*/, "")) ? host : (await lookup(host)).address;
    const socket = createSocket(this.#address.includes(":") ? "udp6" : "udp4");
    this.#socket = socket;
    socket.on("message", (bytes) => this.#receive(bytes));
    // An unconnected socket gets no errors of the peer. Other errors (no route, ...) have the same effect as a lost
    // datagram; the retries then end.
    socket.on("error", () => {});
    await new Promise<void>((resolve) => socket.bind(0, resolve));
    if (this.#secure) await this.#shakeHands(this.#secure);
  }

  #shakeHands(secure: SecureDevice): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onSecure = (failure) => (failure ? reject(failure) : resolve());
      secure.start(this.now());
      this.#flush();
    });
  }

  /** Runs an action on the device, and sends the resulting datagrams. */
  act(what: (device: Device, now: number) => void): void {
    what(this.device, this.now());
    this.#flush();
  }

  close(): void {
    this.#secure?.close();
    this.#flushSecure();
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#socket = undefined;
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#secure) return this.#take(bytes);
    this.#secure.receive(bytes, this.now());
    this.#flush();
  }

  #take(bytes: Uint8Array): void {
    if (this.#options.debug) this.#show("<", bytes);
    let message: Uint8Array = bytes;
    if (this.#options.forwarderNode) {
      const decoded = decode(bytes);
      if (!decoded.forwarded) return;
      message = bytes.subarray(bytes[0] ?? 0);
    }
    this.act((device, now) => device.receive(message, now));
  }

  #flush(): void {
    for (let output = this.device.take(); output.length > 0; output = this.device.take()) {
      for (const item of output) {
        if (item.kind === "send") this.#send(item.bytes);
        else this.#onEvent(item.event);
      }
    }
    this.#flushSecure();
    clearTimeout(this.#timer);
    const deadlines = [this.device.nextDeadline(), this.#secure?.nextDeadline()].filter((at) => at !== undefined);
    if (deadlines.length === 0 || !this.#socket) return;
    this.#timer = setTimeout(() => this.#timeout(), Math.max(1, Math.min(...deadlines) - this.now()));
  }

  #timeout(): void {
    this.#secure?.timeout(this.now());
    this.act((device, now) => device.timeout(now));
  }

  #flushSecure(): void {
    for (const output of this.#secure?.take() ?? []) {
      if (output.kind === "send") this.#transmit(output.bytes);
      else if (output.kind === "message") this.#take(output.bytes);
      else if (output.kind === "opened") this.#onSecure(undefined);
      else this.#onSecure(new Error(`DTLS with ${this.#options.host}:${this.#options.port}: ${output.why}`));
    }
  }

  #transmit(bytes: Uint8Array): void {
    this.#socket?.send(bytes, this.#options.port, this.#address, () => {});
  }

  #send(bytes: Uint8Array): void {
    const { forwarderNode, debug } = this.#options;
    const datagram = forwarderNode ? encapsulate(bytes, { nodeId: forwarderNode, radius: 0 }) : bytes;
    if (debug) this.#show(">", datagram);
    if (!this.#secure) return this.#transmit(datagram);
    this.#secure.send(datagram);
    this.#flushSecure();
  }

  #show(direction: string, bytes: Uint8Array): void {
    const time = new Date().toISOString().slice(11, 23);
    err(`${time} ${direction} ${describe(bytes).join("\n               ")}\n`);
  }
}

function encapsulate(bytes: Uint8Array, forwarded: Forwarded): Uint8Array {
  const decoded = decode(bytes);
  if (!decoded.ok) throw new RangeError("a device sends whole messages");
  return encode(decoded.message, forwarded);
}
