/** A stranger with IPv6 has a whole network: limits per host count it as one. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hostForLimits } from "../../src/config/host-network.ts";

const networkOf = (host: string) => hostForLimits(host, () => false);

describe("the network of a host", () => {
  test.each([
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:0:0:1:2:3:4", "2001:db8:0:0::/64"],
    ["2001:db8:a:b::", "2001:db8:a:b::/64"],
    ["2001:db8:a:b:c::9%eth0", "2001:db8:a:b::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["192.0.2.1", "192.0.2.1"],
    ["d0:4a:00:11:22:33", "d0:4a:00:11:22:33"],
    ["/dev/ttyUSB0", "/dev/ttyUSB0"],
  ])("%s -> %s", (host, network) => {
    expect(networkOf(host)).toBe(network);
  });

  test("it is the same for all addresses of one /64, and another for the next, however they are written", () => {
    fc.assert(
      fc.property(fc.ipV6(), fc.ipV6(), (one, other) => {
        const same = expand(one).slice(0, 4).join() === expand(other).slice(0, 4).join();
        const clothed = [one, other].some(
          (each) => each.includes(".") && expand(each).slice(0, 4).join() === "0,0,0,0",
        );
        if (!clothed) expect(networkOf(one) === networkOf(other)).toBe(same);
      }),
    );
  });
});

test("of the own site each address counts", () => {
  expect(hostForLimits("fd00::1:2:3:4", () => true)).toBe("fd00::1:2:3:4");
});

/** By another way: as the URL parser writes it. */
function expand(address: string): string[] {
  const plain = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = "", tail] = plain.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  return [...before, ...Array<string>(tail === undefined ? 0 : 8 - before.length - after.length).fill("0"), ...after];
}
