/** Where the other gateways of a fleet reach this one, if the configuration takes all addresses of the machine. */
import { expect, test } from "vitest";
import { ownPlace } from "../../../src/fleet/own-place.ts";

test("an address that was configured stays", async () => {
  expect(await ownPlace("192.0.2.1:1884", "redis://redis.example:6379")).toBe("192.0.2.1:1884");
  expect(await ownPlace("[2001:db8::1]:1884", "redis://redis.example:6379")).toBe("[2001:db8::1]:1884");
});

test("all addresses: the one from which this machine reaches Redis, with the same port", async () => {
  expect(await ownPlace("0.0.0.0:1884", "redis://127.0.0.1:6379")).toBe("127.0.0.1:1884");
  expect(await ownPlace("0.0.0.0:1884", "rediss://localhost/2")).toBe("127.0.0.1:1884");
  const either = await ownPlace("[::]:1884", "redis://127.0.0.1:6379");
  expect(either).toBe("127.0.0.1:1884");
});

test("IPv6, where the machine has it", async () => {
  const place = await ownPlace("[::]:1884", "redis://[::1]:6379").catch((error: unknown) => String(error));
  if (place.startsWith("[")) expect(place).toBe("[::1]:1884");
  else expect(place).toMatch(/EADDRNOTAVAIL|ENETUNREACH|EAFNOSUPPORT|ENOTFOUND/);
});
