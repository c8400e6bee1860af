/**
 * A gateway's network and a device's, joined by a cable, as network namespaces of Linux: addresses can be given and taken
 * there without touching those of this machine. Needs root and `ip`.
 */
import { spawnSync } from "node:child_process";

export interface Namespaces {
  /** What to put before a command, so that it runs there. */
  readonly gateway: readonly string[];
  readonly device: readonly string[];
  /** One command of `ip` in the gateway's. */
  ip(...args: string[]): string;
  /** The link-local address of the gateway's end, as the device writes it; "" until there is one. */
  linkLocal(): string;
  remove(): void;
}

/** Undefined where that is not possible. */
export function makeNamespaces(addresses: {
  gateway: readonly string[];
  device: readonly string[];
}): Namespaces | undefined {
  const [gateway, device] = [`sngw${process.pid}`, `sndv${process.pid}`];
  const remove = () => {
    for (const name of [gateway, device]) spawnSync("ip", ["netns", "del", name]);
  };
  try {
    for (const name of [gateway, device]) {
      ip("netns", "add", name);
      ip("-n", name, "link", "set", "lo", "up");
    }
    ip("-n", gateway, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", device);
    for (const [name, own] of [[gateway, addresses.gateway] as const, [device, addresses.device] as const]) {
      ip("-n", name, "link", "set", "cable", "up");
      for (const address of own) ip("-n", name, "addr", "add", address, "dev", "cable", ...withoutProbe(address));
    }
  } catch {
    remove();
    return undefined; // not root, no `ip`, or a kernel without namespaces
  }
  return {
    gateway: ["ip", "netns", "exec", gateway],
    device: ["ip", "netns", "exec", device],
    ip: (...args) => ip("-n", gateway, ...args),
    linkLocal: () => {
      const [, address] =
        /inet6 (fe80:[^/]+)\/64 scope link\s*$/m.exec(ip("-n", gateway, "addr", "show", "cable")) ?? [];
      return address === undefined ? "" : `${address}%cable`;
    },
    remove,
  };
}

/** No other host can have an IPv6 address there, so the address is valid at once. */
function withoutProbe(address: string): string[] {
  return address.includes(":") ? ["nodad"] : ["broadcast", "+"];
}

function ip(...args: string[]): string {
  const { status, error, stdout, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
  return stdout;
}
