/**
 * A connection over TCP, without a library: CONNECT, CONNACK, PINGREQ for the keep-alive. Where every device has a connection of its
 * own, this is what a device costs, so it keeps one timer and as little else as can be. What it says of an end is what MQTT.js
 * would say (`connection-end.ts`).
 */
import { connect, type Socket } from "node:net";
import { generate, type Packet, type Parser, parser } from "mqtt-packet";
import { type BrokerUrl, usualPorts } from "./broker-url.ts";
import type { Connection, ConnectionEvents, ConnectWords } from "./connection.ts";
import { noConnAck, noPingResp } from "./connection-end.ts";

const pingReq = Uint8Array.of(0xc0, 0);

export class TcpConnection implements Connection {
  readonly stream: Socket;
  readonly #events: ConnectionEvents;
  readonly #isV5: boolean;
  /** Of CONNECT; the broker's counts more. */
  #keepAliveSeconds: number;
  #isAnswered = false;
  /** For CONNACK, then for the keep-alive. */
  #timer: NodeJS.Timeout;
  /** Halves of the keep-alive since the last PINGRESP. */
  #halves = 0;

  /** @throws what cannot be said in CONNECT: a password without a user. */
  constructor(url: BrokerUrl, words: ConnectWords, events: ConnectionEvents) {
    const { packet, timeoutMs } = words;
    const octets = generate(packet);
    this.#isV5 = packet.protocolVersion === 5;
    this.#keepAliveSeconds = packet.keepalive;
    this.#events = events;
    const stream = connect({ host: url.host, port: url.port ?? usualPorts.mqtt });
    this.stream = stream;
    this.#timer = setTimeout(() => this.#fail(noConnAck), timeoutMs);
    stream.on("connect", () => {
      stream.write(octets);
      events.asked();
    });
    stream.on("data", (chunk) => events.octets(chunk));
    stream.on("end", () => events.finished());
    stream.on("error", (error) => events.failed(error));
    stream.on("close", () => {
      clearTimeout(this.#timer);
      events.closed();
    });
  }

  destroy(): void {
    this.stream.destroy();
  }

  take(octets: Buffer): void {
    if (this.stream.destroyed) return;
    const packet = packetOf(octets, this.#isV5);
    if (packet instanceof Error) return this.#fail(packet.message);
    if (!this.#isAnswered && packet.cmd !== "connack") return this.#fail(`${packet.cmd} before CONNACK`);
    switch (packet.cmd) {
      case "connack": {
        if (this.#isAnswered) return this.#fail("a second CONNACK");
        this.#isAnswered = true;
        clearTimeout(this.#timer);
        this.#events.connAck(packet);
        const isAccepted = (this.#isV5 ? packet.reasonCode : packet.returnCode) === 0;
        if (!isAccepted) return this.destroy();
        this.#keepAliveSeconds = packet.properties?.serverKeepAlive || this.#keepAliveSeconds;
        if (!this.stream.destroyed) this.#timer = setInterval(() => this.#onHalf(), this.#keepAliveSeconds * 500);
        return;
      }
      case "pingresp":
        this.#halves = 0;
        this.#timer.refresh();
        return;
      case "disconnect":
        return this.#events.disconnected(packet.reasonCode ?? 0);
      default:
        return this.#fail(`the broker sent ${packet.cmd}`);
    }
  }

  /** Half of the keep-alive has passed. */
  #onHalf(): void {
    this.#halves++;
    if (this.#halves > 2) return this.#fail(noPingResp);
    if (this.#halves < 2 || !this.stream.writable) return;
    this.#events.pings();
    this.stream.write(pingReq);
  }

  #fail(why: string): void {
    clearTimeout(this.#timer);
    this.#events.failed(new Error(why));
    this.destroy();
  }
}

/** mqtt-packet's, one for each version: it is given whole packets, and nothing of one is left when the next one comes. */
const parsers: Record<"4" | "5", Parser | undefined> = { 4: undefined, 5: undefined };

/** The packet that these octets are. */
function packetOf(octets: Buffer, isV5: boolean): Packet | Error {
  const version = isV5 ? 5 : 4;
  let found: Packet | Error = new Error("no packet");
  const reader = parsers[version] ?? parser({ protocolVersion: version });
  parsers[version] = reader;
  reader.removeAllListeners();
  reader.on("packet", (packet: Packet) => {
    found = packet;
  });
  reader.on("error", (error: Error) => {
    found = error;
  });
  reader.parse(octets);
  if ((found as Packet | Error) instanceof Error) parsers[version] = undefined; // it is of no use any more
  return found;
}
