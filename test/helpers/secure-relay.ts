/**
 * Lets a test's device, which speaks MQTT-SN alone, speak DTLS: the device writes to the relay's own port, and the relay
 * to the gateway. What comes before the handshake is done waits.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { SecureDeviceOptions } from "../../src/device/secure.ts";
import { SecureSocket } from "./secure-socket.ts";

const waitingMax = 32;

export class SecureRelay {
  readonly #target: number;
  readonly #options: SecureDeviceOptions;
  readonly #plain = createSocket("udp4");
  #device = 0;
  #secure: SecureSocket | undefined;
  #waiting: Uint8Array[] = [];
  #look: NodeJS.Timeout | undefined;
  /** Handshakes that were begun. */
  handshakes = 0;

  /** `target`: the port that the encrypted datagrams go to. */
  constructor(target: number, options: SecureDeviceOptions) {
    this.#target = target;
    this.#options = options;
  }

  /** The port for the device. */
  async open(): Promise<number> {
    this.#plain.on("message", (bytes, { port }) => {
      this.#device = port;
      if (this.outcome === "opened") this.#secure?.send(bytes);
      else if (this.#waiting.push(bytes) > waitingMax) this.#waiting.shift();
    });
    this.#plain.bind(0, "127.0.0.1");
    await once(this.#plain, "listening");
    this.handshake();
    return this.#plain.address().port;
  }

  /** As a device that was switched on: it knows nothing of an earlier handshake. */
  handshake(): void {
    const before = this.#secure;
    void before?.close();
    const secure = new SecureSocket(this.#target, this.#options);
    secure.heard = (bytes) => this.#plain.send(bytes, this.#device, "127.0.0.1");
    this.#secure = secure;
    this.handshakes++;
    secure.start();
    clearInterval(this.#look);
    this.#look = setInterval(() => this.#opened(secure), 5);
  }

  /** How the handshake ended; undefined: it has not yet. */
  get outcome(): string | undefined {
    return this.#secure?.outcome;
  }

  /** Continues from another port, as after a long sleep behind a router. */
  rebind(): void {
    this.#secure?.rebind();
  }

  async close(): Promise<void> {
    clearInterval(this.#look);
    this.#plain.close();
    await this.#secure?.close();
  }

  #opened(secure: SecureSocket): void {
    if (secure.outcome === undefined) return;
    clearInterval(this.#look);
    if (secure.outcome !== "opened") return this.handshake();
    for (const bytes of this.#waiting.splice(0)) secure.send(bytes);
  }
}
