/**
 * ClientHellos from many addresses, without a cookie: nothing is stored, little is answered, and connected devices are served. [RFC 6347
 * 4.2.1]
 */
import { expect, test } from "vitest";
import { HelloBudget } from "../../../src/secure/hello-budget.ts";
import { SecureWorld } from "../../helpers/secure-world.ts";

/** What a device says first, changed at its random octets for each number. */
function helloOf(world: SecureWorld): (number: number) => Uint8Array {
  let hello: Uint8Array = new Uint8Array(0);
  world.fate = (_way, _count, bytes) => {
    hello = bytes;
    return [];
  };
  world.start(world.device({ identity: "nobody" }, "10.255.0.1:1"));
  world.devices.pop();
  world.fate = () => [5];
  return (number) => {
    const bytes = Uint8Array.from(hello);
    new DataView(bytes.buffer).setUint32(13 + 12 + 2, number);
    return bytes;
  };
}

/** Sends a ClientHello from a new address; returns how many octets were answered. */
function flood(world: SecureWorld, bytes: Uint8Array, number: number): number {
  const address = `127.${64 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}:${1_024 + (number % 60_000)}`;
  const effects = world.server.handle({ kind: "datagram", address, bytes }, world.now);
  return effects.reduce((sum, effect) => {
    if (effect.kind !== "transmit") throw new Error(`a hello without a cookie caused ${effect.kind}`);
    return sum + effect.bytes.length;
  }, 0);
}

test("a flood from 100,000 addresses leaves nothing behind, and is answered within its limit, with less than it sent", () => {
  const world = new SecureWorld({ hellosPerSecondMax: 200 });
  const hello = helloOf(world);
  const device = world.start(world.device());
  world.run(1_000);
  expect(device.said).toEqual(["opened"]);
  const before = { ...world.server.counters };
  let octets = { up: 0, down: 0 };
  for (let number = 0; number < 100_000; number++) {
    if (number % 10 === 0) world.run(1);
    if (number % 1_000 === 0) world.send(device, `${number}`);
    const bytes = hello(number);
    octets = { up: octets.up + bytes.length, down: octets.down + flood(world, bytes, number) };
  }
  world.run(10);
  const { cookies, hellosBeyond } = world.server.counters;
  // In ten seconds, and what a tenth of a second allows at once.
  expect(cookies - before.cookies).toBeGreaterThanOrEqual(2_000);
  expect(cookies - before.cookies).toBeLessThanOrEqual(2_020);
  expect(cookies - before.cookies + hellosBeyond).toBe(100_000);
  expect(octets.down).toBeLessThan(octets.up);
  expect([world.server.size, world.server.handshakes]).toEqual([1, 0]);
  expect(world.delivered).toEqual(Array.from({ length: 100 }, (_, i) => `dev1: ${1_000 * i}`));
  expect(world.store.size).toBe(1);
});

test("whoever has answered with a cookie is not kept out by hellos without one", () => {
  const world = new SecureWorld({ hellosPerSecondMax: 50 });
  const hello = helloOf(world);
  let number = 0;
  const device = world.device();
  world.fate = (way, count) => {
    // From its second hello on (0: of `helloOf`) the limit of those without a cookie is always used up.
    if (way === "up" && count > 1) for (let i = 0; i < 200; i++) flood(world, hello(number), number++);
    return [5];
  };
  world.start(device);
  world.run(200);
  expect(device.said).toEqual(["opened"]);
  expect(world.server.counters.hellosBeyond).toBeGreaterThan(300);
});

test("a device whose first hello was beyond the limit is let in by its repetition", () => {
  const world = new SecureWorld({ hellosPerSecondMax: 100 });
  const hello = helloOf(world);
  for (let number = 0; number < 100; number++) flood(world, hello(number), number);
  const device = world.start(world.device());
  world.run(500);
  expect(device.said).toEqual([]);
  world.run(1_500);
  expect(device.said).toEqual(["opened"]);
});

test("the budget fills with time, to what a tenth of a second allows, and a clock that stands gives nothing", () => {
  const budget = new HelloBudget(1_000, 0);
  const taken = (now: number) => {
    let count = 0;
    while (budget.take(now) && count < 10_000) count++;
    return count;
  };
  expect([taken(0), taken(0), taken(7), taken(7), taken(1_000_000)]).toEqual([100, 0, 7, 0, 100]);
  expect(new HelloBudget(1, 0).take(0)).toBe(true);
});
