/** Is somebody there? TCP, and TLS where that is spoken; not a word of MQTT, so no session is touched. */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocketOptions } from "node:tls";
import { type BrokerUrl, usualPorts } from "./broker-url.ts";

/** Calls back once. */
export function probe(
  url: BrokerUrl,
  tls: (TLSSocketOptions & { servername?: string }) | undefined,
  timeoutMs: number,
  done: (isThere: boolean) => void,
): void {
  const { host } = url;
  const port = url.port ?? usualPorts[url.scheme];
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket: Socket = tls ? connectTls({ ...servername, ...tls, host, port }) : connectTcp({ host, port });
  const end = (isThere: boolean) => {
    clearTimeout(deadline);
    socket.removeAllListeners();
    socket.on("error", () => {});
    socket.destroy();
    done(isThere);
  };
  const deadline = setTimeout(() => end(false), timeoutMs);
  socket.once("error", () => end(false));
  socket.once("close", () => end(false));
  socket.once(tls ? "secureConnect" : "connect", () => end(true));
}
