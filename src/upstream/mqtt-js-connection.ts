/**
 * A connection that MQTT.js makes: TCP, TLS or WebSocket, CONNECT, CONNACK, keep-alive. The link's reader is between
 * the socket and MQTT.js, which gets only CONNACK, PINGRESP, DISCONNECT and AUTH. So none of its stores, callbacks and
 * queues can lose or delay a message. The reader replaces the listener with which MQTT.js's pipe reads the socket;
 * `mqtt` is pinned, and the test "MQTT.js sees no packet that carries a message" checks this.
 */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import type { BrokerUrl } from "./broker-url.ts";
import type { Connection, ConnectionEvents, ConnectWords } from "./connection.ts";
import { optionsBelow, watchHandshake } from "./socket-below.ts";
import type { TlsSession } from "./tls-session.ts";
import { type Octets, SocketMeter } from "./wire-octets.ts";

export class MqttJsConnection implements Connection {
  readonly stream: Duplex;
  readonly #client: MqttClient;
  /** The data listeners of MQTT.js. */
  readonly #theirs: readonly ((chunk: Buffer) => void)[];
  /** Counts the octets of the socket. */
  #meter: SocketMeter | undefined;

  /** @throws errors for options that MQTT.js does not accept. */
  constructor(
    url: BrokerUrl,
    words: ConnectWords,
    identity: IClientOptions,
    events: ConnectionEvents,
    session?: TlsSession,
  ) {
    const ticket = session?.offer();
    const watch = (socket: Socket) => {
      this.#meter = new SocketMeter(socket);
      watchHandshake(socket, session, ticket !== undefined, events);
    };
    const client = mqtt.connect(clientOptions(url, words, optionsBelow(url, identity, ticket, watch)));
    const { stream } = client;
    this.#client = client;
    this.stream = stream;
    client.on("error", (error) => {
      events.onFailed(error);
      // MQTT.js has read octets that are no packet, and would wait for the rest of it without end.
      if (!("code" in error)) stream.destroy();
    });
    stream.on("error", (error) => events.onFailed(error)); // MQTT.js does not report errors without a code
    // MQTT.js has written CONNECT before. It is sent with the connection, or after its TLS handshake.
    stream.once(url.scheme === "mqtts" ? "secureConnect" : "connect", () => events.onAsked());
    // Set as for our own connections. For WebSocket, `ws` sets it. The test "no piece waits in the kernel" checks this.
    if (stream instanceof Socket) stream.once("connect", () => stream.setNoDelay(true));
    stream.on("end", () => events.onFinished());
    if (stream instanceof Socket) watch(stream);
    client.on("packetsend", ({ cmd }) => {
      if (cmd === "pingreq") events.onPing();
    });
    client.on("packetreceive", (packet) => {
      if (packet.cmd === "connack") events.onConnAck(packet);
      else if (packet.cmd === "disconnect") events.onDisconnect(packet.reasonCode ?? 0);
    });
    client.on("close", () => events.onClosed());
    stream.on("drain", () => events.onDrain());
    this.#theirs = stream.listeners("data") as ((chunk: Buffer) => void)[];
    stream.on("data", (chunk: Buffer) => events.onOctets(chunk));
    for (const listener of this.#theirs) stream.removeListener("data", listener);
  }

  take(octets: Buffer): void {
    for (const listener of this.#theirs) listener.call(this.stream, octets);
  }

  destroy(): void {
    this.#client.end(true);
  }

  get carried(): Octets {
    return this.#meter?.carried ?? { in: 0, out: 0 };
  }
}

/** Replaces the timers of MQTT.js's keep-alive where MQTT.js must not send PINGREQ. */
const noTimers = { set: () => 0, clear: () => {} };

function clientOptions(
  url: BrokerUrl,
  { packet, timeoutMs, isPinging }: ConnectWords,
  identity: IClientOptions,
): IClientOptions {
  const { clientId, protocolVersion, clean, keepalive, properties, will } = packet;
  return {
    // The parts of the url are passed separately, so that MQTT.js does not read user, password and client id out of it.
    protocol: url.scheme,
    host: url.host,
    ...(url.port !== undefined && { port: url.port }),
    transformWsUrl: () => url.webSocketUrl,
    ...identity,
    clientId,
    protocolVersion,
    ...(clean !== undefined && { clean }),
    keepalive,
    connectTimeout: timeoutMs,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    reschedulePings: false,
    ...(!isPinging && { timerVariant: noTimers }),
    log: () => {},
    ...(properties && { properties }),
    ...(will && { will }),
  } as IClientOptions;
}
