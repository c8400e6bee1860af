/** Between the gateway's child and btvirt: passes all packets, changed if a test wants it, and inserts advertising reports of the test. */
import { connect, createServer, type Server, type Socket } from "node:net";

export class Injector {
  readonly path: string;
  readonly #server: Server;
  readonly #change: (packet: Buffer) => Buffer;
  #clients = new Set<Socket>();

  private constructor(path: string, airSocket: string, change: (packet: Buffer) => Buffer) {
    this.path = path;
    this.#change = change;
    this.#server = createServer((client) => this.#pass(client, connect(airSocket)));
  }

  /** `change`: makes the packet for the child from the packet of the controller. */
  static async start(
    path: string,
    airSocket: string,
    change: (packet: Buffer) => Buffer = (packet) => packet,
  ): Promise<Injector> {
    const injector = new Injector(path, airSocket, change);
    await new Promise<void>((resolve) => injector.#server.listen(path, resolve));
    return injector;
  }

  /** An LE advertising report. It is lost while there is no controller. */
  advertise(address: string, type: "connectable" | "not connectable", data: Uint8Array): void {
    const body = Buffer.alloc(12 + data.length);
    body.set([0x02, 1, type === "connectable" ? 0 : 3, 1]);
    Buffer.from(address.replaceAll(":", ""), "hex").reverse().copy(body, 4);
    body[10] = data.length;
    body.set(data, 11);
    body.writeInt8(-70, 11 + data.length);
    const packet = Buffer.concat([Buffer.from([0x04, 0x3e, body.length]), body]);
    for (const client of this.#clients) client.write(packet);
  }

  /** One piece of a report of extended advertising, not connectable. */
  advertiseExtended(address: string, data: Uint8Array, state: "complete" | "more"): void {
    const head = Buffer.alloc(24);
    head.writeUInt16LE(state === "more" ? 0x20 : 0, 0);
    head[2] = 1;
    Buffer.from(address.replaceAll(":", ""), "hex").reverse().copy(head, 3);
    head.set([1, 1], 9);
    head[23] = data.length;
    const body = Buffer.concat([Buffer.of(0x0d, 1), head, data]);
    const packet = Buffer.concat([Buffer.from([0x04, 0x3e, body.length]), body]);
    for (const client of this.#clients) client.write(packet);
  }

  /** Octets that the child has not taken yet. */
  get backlog(): number {
    let most = 0;
    for (const client of this.#clients) most = Math.max(most, client.writableLength);
    return most;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Towards the client whole packets only, so that nothing is put in the middle of one. */
  #pass(client: Socket, air: Socket): void {
    this.#clients.add(client);
    let bytes: Buffer = Buffer.alloc(0);
    air.on("data", (more) => {
      bytes = Buffer.concat([bytes, more]);
      while (bytes.length >= 5 || (bytes.length >= 3 && bytes[0] === 4)) {
        const length = bytes[0] === 4 ? 3 + bytes.readUInt8(2) : 5 + bytes.readUInt16LE(3);
        if (bytes.length < length) return;
        client.write(this.#change(bytes.subarray(0, length)));
        bytes = bytes.subarray(length);
      }
    });
    client.pipe(air);
    for (const [one, other] of [
      [client, air],
      [air, client],
    ] as const) {
      one.on("error", () => {});
      one.on("close", () => {
        this.#clients.delete(client);
        other.destroy();
      });
    }
  }
}
