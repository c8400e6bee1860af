/**
 * One address for the gateways of a pair, like keepalived's: each datagram of a device goes to both gateways, also to one whose process is
 * stopped and reads it later. Datagrams of the gateways go to the device. Records which gateway sends, and which must not.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Server } from "node:net";

export class OneAddress {
  readonly #socket = createSocket("udp4");
  readonly #gateways: ReadonlyMap<number, string>;
  readonly #devices = new Map<number, Socket>();
  /** Who may speak; "": all may. */
  speaker = "";
  readonly said = new Map<string, number>();
  /** What another one said. */
  readonly wrong: string[] = [];
  /** Called with each datagram of a gateway. */
  heard: (gateway: string, bytes: Buffer) => void = () => {};

  /** `gateways`: names by port. */
  constructor(gateways: ReadonlyMap<number, string>) {
    this.#gateways = gateways;
    this.#socket.on("message", (bytes, { port }) => {
      for (const gateway of this.#gateways.keys()) this.#deviceAt(port).send(bytes, gateway, "127.0.0.1");
    });
  }

  async open(): Promise<number> {
    this.#socket.bind(0, "127.0.0.1");
    await once(this.#socket, "listening");
    return this.#socket.address().port;
  }

  close(): void {
    this.#socket.close();
    for (const each of this.#devices.values()) each.close();
  }

  #deviceAt(port: number): Socket {
    const known = this.#devices.get(port);
    if (known) return known;
    const socket = createSocket("udp4");
    this.#devices.set(port, socket);
    socket.on("error", () => {}); // no gateway listens there at the moment
    socket.on("message", (bytes, from) => {
      const name = this.#gateways.get(from.port) ?? "?";
      this.said.set(name, (this.said.get(name) ?? 0) + 1);
      if (this.speaker !== "" && name !== this.speaker) this.wrong.push(`${name}: ${bytes.toString("hex")}`);
      this.heard(name, bytes);
      this.#socket.send(bytes, port, "127.0.0.1");
    });
    return socket;
  }
}

/** The way of one gateway to the broker, listened to. */
export class BrokerWay {
  readonly #server: Server;
  /** From then on nothing may come. */
  mustBeSilent = false;
  readonly wrong: string[] = [];

  constructor(target: number) {
    this.#server = createServer((client) => {
      const there = connect({ port: target, host: "127.0.0.1" });
      for (const socket of [client, there]) socket.on("error", () => socket.destroy());
      client.on("close", () => there.destroy());
      there.on("close", () => client.destroy());
      client.on("data", (data) => {
        if (this.mustBeSilent) this.wrong.push(data.toString("hex", 0, 40));
        there.write(data);
      });
      there.on("data", (data) => client.write(data));
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((done) => this.#server.listen(0, "127.0.0.1", done));
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  close(): void {
    this.#server.close();
  }
}
