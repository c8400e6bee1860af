/**
 * Finds out whether a broker answers: over TCP, and TLS if it is used. No MQTT packet is sent, so no session is
 * affected.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocketOptions } from "node:tls";
import { type BrokerUrl, usualPorts } from "./broker-url.ts";
import { SocketMeter, type WireOctets } from "./wire-octets.ts";

export interface ProbeParts {
  readonly tls: (TLSSocketOptions & { servername?: string }) | undefined;
  readonly timeoutMs: number;
  /** Counts the octets of the probe. */
  readonly wire: WireOctets;
  /** Called once. */
  readonly done: (isThere: boolean) => void;
}

export function probe(url: BrokerUrl, { tls, timeoutMs, wire, done }: ProbeParts): void {
  const { host } = url;
  const port = url.port ?? usualPorts[url.scheme];
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket: Socket = tls ? connectTls({ ...servername, ...tls, host, port }) : connectTcp({ host, port });
  const meter = new SocketMeter(socket);
  wire.begin(meter);
  const end = (isThere: boolean) => {
    clearTimeout(deadline);
    socket.removeAllListeners();
    socket.on("error", () => {});
    socket.destroy();
    wire.end(meter);
    done(isThere);
  };
  const deadline = setTimeout(() => end(false), timeoutMs);
  socket.once("error", () => end(false));
  socket.once("close", () => end(false));
  socket.once(tls ? "secureConnect" : "connect", () => end(true));
}
