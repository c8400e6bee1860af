/**
 * DTLS with unexpected inputs: datagrams that were changed on the way, and ends at any moment. MUTATIONS=1000000 and SEED=n run more and
 * other ones.
 */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jumpOctets } from "../../src/secure/context.ts";
import { certificateSuites, suites } from "../../src/secure/suites.ts";
import { type CertificateRing, readCertificateRing } from "../../src/transports/dtls/certificates.ts";
import { type Authority, deviceWith, type Made, makeAuthority, makeCertificate } from "../helpers/make-certificate.ts";
import { type Fate, SecureWorld, testKey } from "../helpers/secure-world.ts";

const firstSeed = Number(process.env["SEED"] ?? 0);
const mutations = Number(process.env["MUTATIONS"] ?? 50_000);

let authority: Authority;
let own: Made;
let ring: CertificateRing;
beforeAll(() => {
  authority = makeAuthority();
  own = makeCertificate({ name: "dev1", by: authority.authority });
  ring = readCertificateRing(authority.options, () => Date.parse("2030-06-01"));
});
afterAll(() => rmSync(authority.folder, { recursive: true }));

function diceOf(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) % 2_147_483_647 || 1;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** Bits, octets, lengths, cuts, and pieces of other datagrams. */
function mutated(bytes: Uint8Array, other: Uint8Array, dice: (below: number) => number): Uint8Array {
  let changed = Uint8Array.from(bytes);
  for (let i = 0; i <= dice(3); i++) {
    const at = dice(Math.max(1, changed.length));
    switch (dice(6)) {
      case 0:
        changed[at] = (changed[at] ?? 0) ^ (1 << dice(8));
        break;
      case 1:
        changed[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][dice(6)] ?? 0;
        break;
      case 2:
        changed = changed.slice(0, at);
        break;
      case 3:
        changed = Uint8Array.from([...changed.slice(0, at), ...other.slice(dice(Math.max(1, other.length)))]);
        break;
      case 4:
        changed = Uint8Array.from([...changed, ...other]);
        break;
      default:
        changed = Uint8Array.from([...changed.slice(0, at), ...new Uint8Array(dice(40)), ...changed.slice(at)]);
    }
  }
  return changed;
}

test(`${mutations} changed datagrams: no exception, nothing left, and the device that is there is heard`, () => {
  const limits = { handshakesMax: 50, handshakesPerHostMax: 50 };
  const seen: Uint8Array[] = [];
  for (const cidOctets of [undefined, 0, 8]) {
    for (const identity of ["dev1", "nobody"]) {
      const recorder = new SecureWorld(limits);
      recorder.fate = (_way, _count, bytes) => {
        seen.push(bytes);
        return [1];
      };
      const device = recorder.start(recorder.device({ identity, cidOctets, suites: [suites.gcm] }));
      recorder.run(3_000);
      if (device.dtls.isOpen) recorder.send(device, "text");
    }
  }
  const withCertificates = { ...limits, credentials: () => ring.credentials };
  const certificate = { suites: [certificateSuites.ccm8], certificate: deviceWith(own, authority.authority) };
  const recorder = new SecureWorld(withCertificates);
  recorder.fate = (_way, _count, bytes) => {
    seen.push(bytes);
    return [1];
  };
  recorder.start(recorder.device(certificate));
  recorder.run(3_000);
  const dice = diceOf(1 + firstSeed);
  let left = mutations;
  for (let round = 0; left > 0; round++) {
    // Changed datagrams of other connections, and of the present one, before it, within it and after it.
    const world = new SecureWorld(withCertificates, round + firstSeed);
    const device = world.device({ cidOctets: round % 2 === 0 ? 0 : undefined, ...(round % 3 === 0 && certificate) });
    let isAttacking = false;
    const attack = (own: Uint8Array, times: number) => {
      if (isAttacking) return;
      isAttacking = true;
      for (let i = 0; i < times && left > 0; i++, left--) {
        const from = dice(3) === 0 ? (seen[dice(seen.length)] ?? own) : own;
        const bytes = mutated(from, seen[dice(seen.length)] ?? own, dice);
        if (dice(4) === 0) device.dtls.receive(bytes, world.now);
        else world.input({ kind: "datagram", address: dice(3) === 0 ? "6.6.6.6:6" : device.address, bytes });
      }
      isAttacking = false;
    };
    world.fate = (_way, _count, bytes) => {
      attack(bytes, 60);
      return [1];
    };
    world.start(device);
    world.run(100);
    for (let i = 0; i < 5 && device.dtls.isOpen; i++) world.send(device, `${i}`);
    world.run(200_000);
    expect(world.server.handshakes).toBe(0);
    expect(world.delivered.every((line) => /^dev1: [0-4]$/.test(line))).toBe(true);
    expect(new Set(world.delivered).size).toBe(world.delivered.length);
    expect(world.server.size).toBe(device.dtls.isOpen ? 1 : world.server.size);
    if (device.dtls.isOpen) expect(world.delivered).toHaveLength(5);
    expect(world.judge.twice).toEqual([]);
  }
}, 3_600_000);

/** A run in which everything happens; answers how often a number was used twice. */
function runOf(seed: number, plant: (world: SecureWorld) => void = () => {}): { twice: number; seals: number } {
  const dice = diceOf(seed);
  const world = new SecureWorld({ storeTopEveryMs: 200 }, seed);
  plant(world);
  const lossy: Fate = () => (dice(10) === 0 ? [] : dice(10) === 0 ? [5, dice(400)] : [5 + dice(30)]);
  world.fate = lossy;
  const names = ["dev1", "dev2", "dev3"];
  const open = (identity: string, address?: string) => {
    world.keys.set(identity, testKey);
    return world.start(world.device({ identity, cidOctets: dice(3) === 0 ? undefined : 0 }, address));
  };
  for (const identity of names) open(identity);
  /** Older than what is stored: as if commits had been lost. */
  let old = new Map(world.store);
  for (let step = 0; step < 60; step++) {
    const identity = names[dice(3)] ?? "dev1";
    const device = world.devices[dice(world.devices.length)];
    switch (dice(9)) {
      case 0:
        world.restart();
        break;
      case 1:
        old = new Map(world.store);
        break;
      case 2:
        // What the store lost with the power, or a copy of it that is used a second time.
        world.restart(old);
        break;
      case 3:
        for (let i = dice(1_500); i > 0; i--) world.answer(identity, "a burst");
        break;
      case 4:
        world.storeMs = [undefined, 5, 300][dice(3)];
        break;
      case 5:
        world.storeOk = dice(3) > 0;
        break;
      case 6:
        if (world.devices.length < 12) open(identity);
        break;
      case 7:
        if (device) device.address = `10.1.${dice(250)}.${dice(250)}:${1 + dice(60_000)}`;
        break;
      default:
        if (device?.dtls.isOpen) world.send(device, "up");
        world.answer(identity, "down");
    }
    world.run(dice(3_000));
  }
  return { twice: world.judge.twice.length, seals: world.judge.seals };
}

const runs = 60;

test("no number is used twice under one key, whatever ends when, with a store that is slow, refuses, or lost its last commits", () => {
  let seals = 0;
  for (let seed = 1 + firstSeed; seed <= runs + firstSeed; seed++) {
    const run = runOf(seed);
    expect(run.twice, `seed ${seed}`).toBe(0);
    seals += run.seals;
  }
  expect(seals).toBeGreaterThan(20_000);
});

test("and that test sees a gateway that goes on at the ceiling that it finds", () => {
  let found = 0;
  for (let seed = 1; seed <= runs && found === 0; seed++) {
    const planted = runOf(seed, (world) => {
      const { random } = world.judge.crypto;
      world.judge.crypto.random = (octets) => (octets === jumpOctets ? new Uint8Array(octets) : random(octets));
      const restart = world.restart.bind(world);
      world.restart = (store) =>
        restart(new Map([...(store ?? world.store)].map(([name, record]) => [name, withoutJump(record)])));
    });
    found += planted.twice;
  }
  expect(found).toBeGreaterThan(0);
});

/** The record of a gateway that would jump 2^24 numbers less. */
function withoutJump(record: Uint8Array): Uint8Array {
  const changed = Buffer.from(record);
  // version, flags, suite; identity behind its length of two; address and both ids behind theirs of one; keys; mark
  let at = 4;
  at += 2 + changed.readUInt16BE(at);
  for (let i = 0; i < 3; i++) at += 1 + changed.readUInt8(at);
  at += 16 + 16 + 4 + 4 + 8;
  // Where it would begin below zero, numbers are used again all the more.
  changed.writeUIntBE(Math.max(0, changed.readUIntBE(at, 6) - 2 ** 24), at, 6);
  return changed;
}
