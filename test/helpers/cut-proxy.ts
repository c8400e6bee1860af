/** A TCP proxy whose connections a test can break: by RST, or by silence (nothing passes, nothing is closed). */
import { connect, createServer, type Server, type Socket } from "node:net";

export class CutProxy {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #silent = false;
  /** Connections so far. */
  opened = 0;

  /** `heard`: called with the octets of the client, and the number of its connection, from 1. */
  private constructor(targetPort: number, heard: (chunk: Buffer, connection: number) => void) {
    this.#server = createServer((client) => {
      const upstream = connect({ port: targetPort, host: "127.0.0.1" });
      const pair = [client, upstream] as const;
      this.#pairs.add(pair);
      const connection = ++this.opened;
      const end = () => {
        this.#pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      };
      for (const socket of pair) socket.on("error", end).on("close", end);
      client.on("data", (data) => {
        heard(data, connection);
        if (!this.#silent) upstream.write(data);
      });
      upstream.on("data", (data) => this.#silent || client.write(data));
    });
  }

  static async to(
    targetPort: number,
    heard: (chunk: Buffer, connection: number) => void = () => {},
  ): Promise<CutProxy> {
    const proxy = new CutProxy(targetPort, heard);
    await new Promise<void>((done) => proxy.#server.listen(0, "127.0.0.1", done));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** RST to both sides of every connection. */
  reset(): void {
    for (const [client, upstream] of this.#pairs) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  /** Everything sent is swallowed until `false`. */
  set silent(silent: boolean) {
    this.#silent = silent;
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }
}
