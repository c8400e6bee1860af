/**
 * Datagrams that the kernel dropped on a socket of this process, from the last column of /proc/net/udp and udp6. Linux
 * only.
 */
import { readFileSync } from "node:fs";
import { endianness } from "node:os";

/** The sockets bound to this port at these addresses; IPv6: at any address. */
export interface LocalSockets {
  readonly v6: boolean;
  readonly hosts: readonly string[];
  readonly port: number;
}

/** Undefined: the system does not report drops. */
export function kernelDrops(socket: LocalSockets): number | undefined {
  try {
    return dropsIn(readFileSync(socket.v6 ? "/proc/net/udp6" : "/proc/net/udp", "latin1"), socket);
  } catch {
    return undefined;
  }
}

/** The drops column of the lines for these local addresses; where several sockets match, their sum. */
export function dropsIn(table: string, socket: LocalSockets): number | undefined {
  const port = socket.port.toString(16).toUpperCase().padStart(4, "0");
  const addresses = socket.v6 ? undefined : socket.hosts.map(hexAddress);
  let drops: number | undefined;
  for (const line of table.split("\n").slice(1)) {
    const columns = line.trim().split(/\s+/);
    const [localAddress, localPort] = (columns[1] ?? "").split(":");
    if (localPort !== port || (addresses !== undefined && !addresses.includes(localAddress ?? ""))) continue;
    drops = (drops ?? 0) + Number(columns.at(-1));
  }
  return drops;
}

/** 127.0.0.1 as the kernel prints it: a 32-bit number in the host's byte order. */
function hexAddress(host: string): string {
  const octets = host.split(".").map((octet) => Number(octet).toString(16).toUpperCase().padStart(2, "0"));
  return (endianness() === "LE" ? octets.reverse() : octets).join("");
}
