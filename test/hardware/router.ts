/** A router between one device and the gateway, on loopback: it loses and damages datagrams as a test says, and changes ports. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";

export type Way = "up" | "down";

export class Router {
  readonly #inside = createSocket("udp4");
  #outside: Socket;
  #device: RemoteInfo | undefined;
  readonly #gatewayPort: number;
  /** Datagrams that came, in this order: number of each way from 0. */
  readonly passed = { up: 0, down: 0 };
  lost = 0;
  /** Answers which datagrams do not arrive. */
  loses: (way: Way, number: number) => boolean = () => false;
  /** Beside each datagram: what else arrives there. */
  adds: (bytes: Buffer) => readonly Buffer[] = () => [];

  private constructor(gatewayPort: number) {
    this.#gatewayPort = gatewayPort;
    this.#outside = this.#open();
    this.#inside.on("message", (bytes, from) => {
      this.#device = from;
      for (const each of this.#through("up", bytes)) this.#outside.send(each, this.#gatewayPort, "127.0.0.1", () => {});
    });
    this.#inside.on("error", () => {});
  }

  static async before(gatewayPort: number): Promise<Router> {
    const router = new Router(gatewayPort);
    await new Promise<void>((done) => router.#inside.bind(0, "127.0.0.1", done));
    return router;
  }

  get port(): number {
    return this.#inside.address().port;
  }

  /** From now on the gateway sees the device at another port; datagrams to the old port are dropped. */
  move(): void {
    this.#outside.close();
    this.#outside = this.#open();
  }

  close(): void {
    this.#inside.close();
    this.#outside.close();
  }

  #open(): Socket {
    const socket = createSocket("udp4");
    socket.on("error", () => {});
    socket.on("message", (bytes) => {
      const to = this.#device;
      if (to) for (const each of this.#through("down", bytes)) this.#inside.send(each, to.port, to.address, () => {});
    });
    return socket;
  }

  #through(way: Way, bytes: Buffer): readonly Buffer[] {
    const more = this.adds(bytes);
    if (!this.loses(way, this.passed[way]++)) return [...more, bytes];
    this.lost++;
    return more;
  }
}
