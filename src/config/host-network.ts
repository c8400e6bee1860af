/**
 * Names a host for limits per host: its IPv4 address, or with IPv6 the /64 network that one host usually has for
 * itself.
 */
import { isIPv6 } from "node:net";

/**
 * The groups of an IPv6 address (16 bits each) that belong to the network. One host may use any address in it.
 * [RFC 6177, RFC 4291 2.5.1]
 */
const groupsOfNetwork = 4;

/**
 * The /64 network of an IPv6 address, as `2001:db8:0:1::/64`; every other host stays unchanged. An attacker with IPv6
 * has 2^64 addresses, so limits that count addresses would have no effect. Sensors of one site share a /64, so each
 * address of the own site counts separately.
 */
function networkOf(host: string): string {
  const address = host.replace(/%.*$/, "");
  if (!isIPv6(address)) return host;
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  // An IPv4 address at the end stands for two groups.
  const size = (groups: readonly string[]) => groups.length + (groups.at(-1)?.includes(".") ? 1 : 0);
  const zeros = tail === undefined ? 0 : 8 - size(before) - size(after);
  const groups = [...before, ...Array<string>(Math.max(0, zeros)).fill("0"), ...after].slice(0, groupsOfNetwork);
  // The kernel writes addresses without leading zeros; so does this.
  const plain = groups.map((group) => (Number.parseInt(group, 16) || 0).toString(16));
  if (plain.every((group) => group === "0") && address.includes(".")) return host; // an IPv4 address in the form of IPv6
  return `${plain.join(":")}::/64`;
}

/**
 * The name under which limits count this host. `isInside` tells whether the host is in the gateway's own site; it is
 * called for IPv6 only.
 */
export function hostForLimits(host: string, isInside: () => boolean): string {
  return host.includes(":") && isIPv6(host.replace(/%.*$/, "")) && !isInside() ? networkOf(host) : host;
}
