/**
 * One connection to a broker, as a link needs it: it is made, CONNECT is answered, it is kept alive, and it ends. What
 * carries messages goes past it, by the link's reader and writer. Two make one: `tcp-connection.ts` by itself over TCP, and
 * `mqtt-js-connection.ts` with MQTT.js over everything else.
 */
import type { Duplex } from "node:stream";
import type { IConnackPacket, IConnectPacket } from "mqtt-packet";
import type { SocketBelowEvents } from "./socket-below.ts";
import type { Carrier } from "./wire-octets.ts";

export interface Connection extends Carrier {
  /** Where the link writes once CONNACK came. */
  readonly stream: Duplex;
  /** A packet that carries no message, whole, in its order among the others. */
  take(octets: Buffer): void;
  /** Ends it at once. Again: nothing happens. */
  destroy(): void;
}

/** None comes before the connection was handed over. */
export interface ConnectionEvents extends SocketBelowEvents {
  /** CONNECT has left. */
  onAsked(): void;
  /** Octets of the broker, all of them. */
  onOctets(chunk: Buffer): void;
  /** CONNACK, be it a refusal; then it ends by itself. */
  onConnAck(packet: IConnackPacket): void;
  /** DISCONNECT of the broker. */
  onDisconnect(reasonCode: number): void;
  /** PINGREQ is written now, for the keep-alive. */
  onPing(): void;
  /** What waited in the stream has left. */
  onDrain(): void;
  /** FIN of the broker, or what stands for it in TLS or WebSocket. */
  onFinished(): void;
  /** It ends over this. */
  onFailed(error: Error): void;
  /** The last event. */
  onClosed(): void;
}

/** What CONNECT says, and how long its answer may take. */
export interface ConnectWords {
  readonly packet: IConnectPacket & { readonly protocolVersion: 4 | 5; readonly keepalive: number };
  readonly timeoutMs: number;
  /** The connection writes PINGREQ every keep alive, and ends if no answer comes; false: the caller does this. */
  readonly isPinging: boolean;
}
