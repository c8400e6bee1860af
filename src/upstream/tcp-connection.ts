/**
 * A connection over TCP, without a library: CONNECT, CONNACK, PINGREQ for the keep-alive. If every device has its own
 * connection, this class determines the cost of a device, so it keeps only one timer and little else. It reports an end
 * with the same texts as MQTT.js (`connection-end.ts`).
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";
import { generate, type Packet, type Parser, parser } from "mqtt-packet";
import { type BrokerUrl, usualPorts } from "./broker-url.ts";
import type { Connection, ConnectionEvents, ConnectWords } from "./connection.ts";
import { noConnAck, noPingResp } from "./connection-end.ts";
import type { ReadPlace, TcpReads } from "./tcp-reads.ts";
import { carriedBy, type Octets } from "./wire-octets.ts";

const pingReq = Uint8Array.of(0xc0, 0);

export class TcpConnection implements Connection {
  readonly stream: BrokerSocket;
  readonly #events: ConnectionEvents;
  readonly #isV5: boolean;
  /** The packet until it is written; undefined afterwards. */
  #connect: Buffer | undefined;
  /** Keep Alive of CONNECT, or the broker's Server Keep Alive if it sends one. 0: no PINGREQ is sent. */
  #keepAliveSeconds: number;
  #isAnswered = false;
  /** Waits for CONNACK; afterwards it is the timer of the keep-alive. */
  #timer: NodeJS.Timeout;
  /** Undefined: the stream reads. */
  #place: ReadPlace | undefined;
  /** Halves of the keep-alive since the last PINGRESP. */
  #halves = 0;

  /** @throws an error for values that CONNECT cannot contain: a password without a user. */
  constructor(url: BrokerUrl, words: ConnectWords, events: ConnectionEvents) {
    const { packet, timeoutMs, isPinging } = words;
    this.#connect = generate(packet);
    this.#isV5 = packet.protocolVersion === 5;
    this.#keepAliveSeconds = isPinging ? packet.keepalive : 0;
    this.#events = events;
    this.#timer = setTimeout(onNoConnAck, timeoutMs, this);
    this.stream = new BrokerSocket(this, events);
    this.stream.connect({ host: url.host, port: url.port ?? usualPorts.mqtt });
  }

  onConnected(): void {
    if (this.#connect) this.stream.write(this.#connect);
    this.#connect = undefined;
    this.#events.onAsked();
  }

  onClosed(): void {
    clearTimeout(this.#timer);
    this.#events.onClosed();
  }

  destroy(): void {
    this.stream.destroy();
  }

  joinReads(reads: TcpReads): void {
    this.#place = reads.join(this.stream, this.#events);
  }

  get carried(): Octets {
    const { in: octetsIn, out } = carriedBy(this.stream);
    return { in: octetsIn + (this.#place?.readBytes ?? 0), out };
  }

  take(octets: Buffer): void {
    if (this.stream.destroyed) return;
    const packet = packetOf(octets, this.#isV5);
    if (packet instanceof Error) return this.fail(packet.message);
    if (!this.#isAnswered && packet.cmd !== "connack") return this.fail(`${packet.cmd} before CONNACK`);
    switch (packet.cmd) {
      case "connack": {
        if (this.#isAnswered) return this.fail("a second CONNACK");
        this.#isAnswered = true;
        clearTimeout(this.#timer);
        this.#events.onConnAck(packet);
        const isAccepted = (this.#isV5 ? packet.reasonCode : packet.returnCode) === 0;
        if (!isAccepted) return this.destroy();
        if (this.#keepAliveSeconds === 0) return;
        this.#keepAliveSeconds = packet.properties?.serverKeepAlive || this.#keepAliveSeconds;
        if (!this.stream.destroyed) this.#timer = setInterval(onHalf, this.#keepAliveSeconds * 500, this);
        return;
      }
      case "pingresp":
        this.#halves = 0;
        this.#timer.refresh();
        return;
      case "disconnect":
        return this.#events.onDisconnect(packet.reasonCode ?? 0);
      default:
        return this.fail(`the broker sent ${packet.cmd}`);
    }
  }

  /** Half of the keep-alive has passed. */
  onHalf(): void {
    this.#halves++;
    if (this.#halves > 2) return this.fail(noPingResp);
    if (this.#halves < 2 || !this.stream.writable) return;
    this.#events.onPing();
    this.stream.write(pingReq);
  }

  fail(why: string): void {
    clearTimeout(this.#timer);
    this.#events.onFailed(new Error(why));
    this.destroy();
  }
}

/**
 * All connections are read into this memory, one after the other: what comes is handled before the next read. Otherwise
 * Node would reserve 64 KB for each read and make an object of them, which takes longer than to read a small packet.
 */
const reading = Buffer.allocUnsafeSlow(65_536);
/** `net.connect` passes this option on to the constructor; the types know it there only. */
const socketOptions: SocketConstructorOpts & { readonly onread: OnReadOpts } = {
  onread: { buffer: reading, callback: onRead },
};

/** All connections use the same functions as listeners. Otherwise ten thousand idle connections would have sixty thousand functions. */
class BrokerSocket extends Socket {
  readonly of: TcpConnection;
  readonly events: ConnectionEvents;

  constructor(of: TcpConnection, events: ConnectionEvents) {
    super(socketOptions);
    this.of = of;
    this.events = events;
    this.on("connect", onConnect);
    this.on("drain", onDrain);
    this.on("end", onEnd);
    this.on("error", onError);
    this.on("close", onClose);
  }
}

function onConnect(this: BrokerSocket): void {
  // All octets of a turn are written at once. With Nagle's algorithm, a piece could wait 40 ms for the broker's
  // acknowledgement.
  this.setNoDelay(true);
  this.of.onConnected();
}

/** Node calls it as a method of the socket. Returns true, because `false` would stop the reading. */
function onRead(this: BrokerSocket, length: number): boolean {
  this.events.onOctets(reading.subarray(0, length));
  return true;
}

function onDrain(this: BrokerSocket): void {
  this.events.onDrain();
}

function onEnd(this: BrokerSocket): void {
  this.events.onFinished();
}

function onError(this: BrokerSocket, error: Error): void {
  this.events.onFailed(error);
}

function onClose(this: BrokerSocket): void {
  this.of.onClosed();
}

function onNoConnAck(of: TcpConnection): void {
  of.fail(noConnAck);
}

function onHalf(of: TcpConnection): void {
  of.onHalf();
}

/** Parsers of mqtt-packet, one for each version. They get whole packets only, so no rest of a packet stays in them. */
const parsers = new Map<4 | 5, Parser>();
let found: Packet | Error | undefined;

function parserOf(version: 4 | 5): Parser {
  const known = parsers.get(version);
  if (known) return known;
  const made = parser({ protocolVersion: version });
  made.on("packet", (packet: Packet) => {
    found = packet;
  });
  made.on("error", (error: Error) => {
    found = error;
    parsers.delete(version); // the parser accepts no more packets
  });
  parsers.set(version, made);
  return made;
}

/** The packet that these octets are. */
function packetOf(octets: Buffer, isV5: boolean): Packet | Error {
  found = undefined;
  parserOf(isV5 ? 5 : 4).parse(octets);
  return found ?? new Error("no packet");
}
