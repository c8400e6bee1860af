/** Datagrams that the kernel dropped on a socket of ours, from the last column of /proc/net/udp and udp6. Linux only. */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";

/** Undefined where the system does not tell. */
export function kernelDrops(socket: { v6: boolean; host: string; port: number }): number | undefined {
  try {
    return dropsIn(readFileSync(socket.v6 ? "/proc/net/udp6" : "/proc/net/udp", "latin1"), socket);
  } catch {
    return undefined;
  }
}

/** The drops column of the line for this local address; where several sockets match, their sum. */
export function dropsIn(table: string, socket: { v6: boolean; host: string; port: number }): number | undefined {
  const port = socket.port.toString(16).toUpperCase().padStart(4, "0");
  const address = socket.v6 ? undefined : hexAddress(socket.host);
  let drops: number | undefined;
  for (const line of table.split("\n").slice(1)) {
    const columns = line.trim().split(/\s+/);
    const [localAddress, localPort] = (columns[1] ?? "").split(":");
    if (localPort !== port || (address !== undefined && localAddress !== address)) continue;
    drops = (drops ?? 0) + Number(columns.at(-1));
  }
  return drops;
}

/** 127.0.0.1 as the kernel prints it: a 32-bit number in the host's byte order. */
function hexAddress(host: string): string {
  const octets = host.split(".").map((octet) => Number(octet).toString(16).toUpperCase().padStart(2, "0"));
  return (endianness() === "LE" ? octets.reverse() : octets).join("");
}
