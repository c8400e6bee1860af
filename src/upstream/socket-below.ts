/** The socket below a connection of MQTT.js: its creation, and the events of its TLS handshake. */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, TLSSocket } from "node:tls";
import type { IClientOptions } from "mqtt";
import type { BrokerUrl } from "./broker-url.ts";
import type { TlsSession } from "./tls-session.ts";

/** Events of the socket. None of them comes before the socket was handed over. */
export interface SocketBelowEvents {
  /** The broker's certificate was verified, now or in the handshake that this one resumed. */
  onSecured(socket: TLSSocket): void;
  /**
   * The broker ended a handshake that began with a ticket. No ticket is offered any more, so the next attempt may
   * succeed.
   */
  onTicketRefused(): void;
}

type Offer = { readonly session?: Buffer };

/**
 * Options for MQTT.js, so that the connection offers a TLS ticket if there is one, and `onSocket` is called with the socket below
 * WebSocket. With mqtt:// and mqtts:// this socket is MQTT.js's stream itself.
 */
export function optionsBelow(
  url: BrokerUrl,
  identity: IClientOptions,
  ticket: Buffer | undefined,
  onSocket: (socket: Socket) => void,
): IClientOptions {
  const offer: Offer = ticket ? { session: ticket } : {};
  if (!url.scheme.startsWith("ws")) return { ...identity, ...offer } as IClientOptions;
  // As the package `ws` does it.
  const createConnection = (options: ConnectionOptions): Socket => {
    const { host = "", path: _, ...rest } = options;
    const servername = options.servername ?? (isIP(host) === 0 ? host : "");
    const socket = url.isSecure
      ? connectTls({ ...rest, host, servername, ...offer })
      : connectTcp({ host, port: options.port ?? 0 });
    onSocket(socket);
    return socket;
  };
  return { ...identity, wsOptions: { ...identity.wsOptions, createConnection } } as IClientOptions;
}

/**
 * Keeps the tickets of the broker, and reports the result of the handshake; `offered`: the handshake began with a
 * ticket.
 */
export function watchHandshake(
  socket: Socket,
  session: TlsSession | undefined,
  offered: boolean,
  events: SocketBelowEvents,
): void {
  if (!(socket instanceof TLSSocket)) return;
  let isSecured = false;
  socket.once("secureConnect", () => {
    isSecured = true;
    if (!socket.isSessionReused()) session?.noteWhole(certificateEnd(socket));
    events.onSecured(socket);
  });
  if (!session) return;
  // Node emits this event only after the certificate was verified.
  socket.on("session", (ticket) => session.keep(ticket));
  if (!offered) return;
  socket.once("error", (error) => {
    const code = "code" in error ? String(error.code) : "";
    // EPROTO: an alert that came while CONNECT waited behind the handshake.
    const isOfTls = code.startsWith("ERR_SSL_") || code === "EPROTO";
    if (isSecured || (!isOfTls && code !== "ECONNRESET")) return;
    if (!isOfTls) return session.forget();
    session.giveUp();
    events.onTicketRefused();
  });
}

/** Milliseconds since 1970; undefined: none was shown, as with a pre-shared key. */
export function certificateEnd(socket: TLSSocket): number | undefined {
  const until = Date.parse(socket.getPeerCertificate().valid_to);
  return Number.isFinite(until) ? until : undefined;
}
