/**
 * One connection to a broker, as a link needs it: connecting, CONNACK, keep-alive, and the end. Packets with messages
 * do not pass through it, but through the link's reader and writer. There are two implementations: `tcp-connection.ts`
 * for TCP, and `mqtt-js-connection.ts` with MQTT.js for everything else.
 */
import type { Duplex } from "node:stream";
import type { IConnackPacket, IConnectPacket } from "mqtt-packet";
import type { SocketBelowEvents } from "./socket-below.ts";
import type { TcpReads } from "./tcp-reads.ts";
import type { Carrier } from "./wire-octets.ts";

export interface Connection extends Carrier {
  /** The stream that the link writes to after CONNACK. */
  readonly stream: Duplex;
  /** A packet that carries no message, whole, in its order among the others. */
  take(octets: Buffer): void;
  /** From now on this connection is read together with others. Undefined: this kind of connection cannot be. */
  joinReads?(reads: TcpReads): void;
  /** Ends the connection immediately. Idempotent. */
  destroy(): void;
}

/** Events of a connection. None comes before the connection was handed over. */
export interface ConnectionEvents extends SocketBelowEvents {
  /** CONNECT was sent. */
  onAsked(): void;
  /** All octets from the broker. They are valid during the call. */
  onOctets(chunk: Buffer): void;
  /** CONNACK, with success or a refusal. After a refusal the connection ends by itself. */
  onConnAck(packet: IConnackPacket): void;
  /** The broker's DISCONNECT. */
  onDisconnect(reasonCode: number): void;
  /** PINGREQ is written now, for the keep-alive. */
  onPing(): void;
  /** The octets that waited in the stream have been sent. */
  onDrain(): void;
  /** FIN of the broker, or what stands for it in TLS or WebSocket. */
  onFinished(): void;
  /** The connection ends because of this error. */
  onFailed(error: Error): void;
  /** The last event. */
  onClosed(): void;
}

/** The CONNECT packet, and how long its answer may take. */
export interface ConnectWords {
  readonly packet: IConnectPacket & { readonly protocolVersion: 4 | 5; readonly keepalive: number };
  readonly timeoutMs: number;
  /** The connection writes PINGREQ every keep alive, and ends if no answer comes; false: the caller does this. */
  readonly isPinging: boolean;
}
