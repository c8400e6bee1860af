/**
 * Finds the origin of a request. A proxy names it in headers, but any sender could write them. So the headers are used
 * only if the connection comes from a proxy that the configuration names.
 */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

export interface Asked {
  /** The address of the client, as far as it is known; undefined: a configured proxy sent an invalid one. */
  readonly address: string | undefined;
  /** The connection comes from a named proxy. */
  readonly isByProxy: boolean;
  /** The request reached a named proxy over https. */
  readonly isHttps: boolean;
}

/** @param proxies addresses and networks of proxies that are believed */
export function askedFrom(request: IncomingMessage, proxies: BlockList): Asked {
  const peer = peerOf(request);
  if (!holds(proxies, peer)) return { address: peer, isByProxy: false, isHttps: false };
  const isHttps = entriesOf(request, "x-forwarded-proto").at(-1)?.toLowerCase() === "https";
  // Each proxy adds the address of its client at the end. Addresses before the first unknown proxy are not trusted.
  let address: string | undefined = peer;
  for (const entry of entriesOf(request, "x-forwarded-for").reverse()) {
    address = plainAddress(entry);
    if (address === undefined || !holds(proxies, address)) break;
  }
  return { address, isByProxy: true, isHttps };
}

/** The address of the connection itself; "" = it has none. */
export function peerOf({ socket }: IncomingMessage): string {
  return plainAddress(socket.remoteAddress ?? "") ?? "";
}

/** @param networks as `192.0.2.1` and `192.0.2.0/24`, already checked by the schema */
export function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", length] = network.split("/");
    const kind = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (length === undefined) list.addAddress(address, kind);
    else list.addSubnet(address, Number(length), kind);
  }
  return list;
}

export function holds(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** The IPv4 address in one form, for both families of sockets; without port and zone. */
function plainAddress(text: string): string | undefined {
  const bare = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? text.replace(/^([\d.]+):\d+$/, "$1");
  const address = bare.replace(/^::ffff:(?=\d+\.)/i, "").replace(/%.*$/, "");
  return isIP(address) === 0 ? undefined : address.toLowerCase();
}

/** The entries of a header that may occur several times; the last one is from the nearest proxy. */
function entriesOf({ headers }: IncomingMessage, name: string): string[] {
  const all = [headers[name] ?? []].flat().join(",");
  return all.split(",").flatMap((entry) => entry.trim() || []);
}
