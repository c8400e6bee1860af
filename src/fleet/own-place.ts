/** Finds the address of this machine that the other gateways of the fleet can use. */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";

const unspecified = /^(0\.0\.0\.0|\[::\]):(\d+)$/;

/**
 * The address and port of this gateway for the others. If `listen` takes all addresses of the machine, it is the address
 * from which the machine reaches Redis, because all gateways reach the same Redis. No packet is sent for that.
 * @param listen as `fleet.listen`
 * @param redisUrl as `store.redis.url`
 * @throws {Error} when the host in `redisUrl` has no address, or no route leads to it.
 */
export async function ownPlace(listen: string, redisUrl: string): Promise<string> {
  const port = unspecified.exec(listen)?.[2];
  if (port === undefined) return listen;
  // `[::]` takes IPv4, too, as the system has it by default.
  const family = listen.startsWith("[") ? 0 : 4;
  const host = new URL(redisUrl).hostname.replace(/^\[|\]$/g, "");
  const { address } = await lookup(host, { family });
  const own = await addressTowards(address);
  return isIPv6(own) ? `[${own}]:${port}` : `${own}:${port}`;
}

/** The address of this machine for datagrams to `address`. */
async function addressTowards(address: string): Promise<string> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  try {
    await connected(socket, address);
    return socket.address().address;
  } finally {
    socket.close();
  }
}

function connected(socket: Socket, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    // Any port, because nothing is sent.
    socket.connect(9, address, resolve);
  });
}
