/** A device over DTLS on a real socket, that can change its port: its messages as octets. */
import { createSocket, type Socket } from "node:dgram";
import { SecureDevice, type SecureDeviceOptions } from "../../src/device/secure.ts";
import { nodeCrypto } from "../../src/transports/dtls/node-crypto.ts";

export class SecureSocket {
  readonly dtls: SecureDevice;
  readonly received: Uint8Array[] = [];
  /** Gets the messages in place of `received`. */
  heard: ((bytes: Uint8Array) => void) | undefined;
  /** How the handshake ended; undefined: it has not yet. */
  outcome: string | undefined;
  #socket: Socket;
  readonly #port: number;
  #timer: NodeJS.Timeout | undefined;
  /** Datagrams that left. */
  sent = 0;

  constructor(port: number, options: SecureDeviceOptions) {
    this.#port = port;
    this.dtls = new SecureDevice(nodeCrypto, options);
    this.#socket = this.#open();
  }

  start(): void {
    this.dtls.start(performance.now());
    this.#flush();
  }

  send(bytes: Uint8Array): void {
    this.dtls.send(bytes);
    this.#flush();
  }

  /** Continues from another port, as after a long sleep behind a router. */
  rebind(): void {
    this.#socket.close();
    this.#socket = this.#open();
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await new Promise<void>((done) => this.#socket.close(() => done()));
  }

  #open(): Socket {
    const socket = createSocket("udp4");
    socket.on("error", () => {});
    socket.on("message", (bytes) => {
      this.dtls.receive(bytes, performance.now());
      this.#flush();
    });
    return socket;
  }

  #flush(): void {
    for (const output of this.dtls.take()) {
      if (output.kind === "send") {
        this.sent++;
        this.#socket.send(output.bytes, this.#port, "127.0.0.1");
      } else if (output.kind === "message") {
        if (this.heard) this.heard(output.bytes);
        else this.received.push(output.bytes);
      } else this.outcome = output.kind === "opened" ? "opened" : output.why;
    }
    clearTimeout(this.#timer);
    const at = this.dtls.nextDeadline();
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.dtls.timeout(performance.now());
        this.#flush();
      },
      Math.max(1, at - performance.now()),
    );
  }
}
