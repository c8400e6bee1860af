/**
 * A gateway begins a handshake, and another one continues it: the devices that get in, those that do not, and the rule
 * that no handshake is continued twice.
 */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { messageTypes } from "../../../src/secure/handshake-messages.ts";
import type { Begun } from "../../../src/secure/messages.ts";
import { readRecord } from "../../../src/secure/record.ts";
import { certificateSuites, suites } from "../../../src/secure/suites.ts";
import { type CertificateRing, readCertificateRing } from "../../../src/transports/dtls/certificates.ts";
import { HandedWorld, type HandedWorldOptions } from "../../helpers/handed-world.ts";
import {
  type Authority,
  deviceWith,
  type Made,
  makeAuthority,
  makeCertificate,
} from "../../helpers/make-certificate.ts";
import type { WorldDevice } from "../../helpers/secure-world.ts";

let authority: Authority;
let dev1: Made;
let certificates: CertificateRing;
beforeAll(() => {
  authority = makeAuthority();
  dev1 = makeCertificate({ name: "dev1", by: authority.authority, uses: ["client"] });
  certificates = readCertificateRing(authority.options, () => Date.parse("2030-06-01"));
});
afterAll(() => rmSync(authority.folder, { recursive: true }));

const withCertificate = (own: Made | undefined = dev1, key = own?.key) => ({
  ...{ identity: "", key: new Uint8Array(0), suites: [certificateSuites.ccm8] },
  certificate: deviceWith(own, authority.authority, key),
});
const newWorld = (options: HandedWorldOptions = {}) => new HandedWorld({ certificates, ...options });
const alert80 = "closed: the gateway refuses (alert 80)";

function talks(world: HandedWorld, device: WorldDevice, identity = "dev1"): void {
  world.send(device, "hello");
  world.run(100);
  world.answer(identity, "well heard");
  world.run(100);
  expect(world.delivered.at(-1)).toBe(`${identity}: hello`);
  expect(device.got.at(-1)).toBe("well heard");
  expect(world.judge.twice).toEqual([]);
}

/** Exactly one context was made, and no number of a record was used twice. */
function isOnce(world: HandedWorld): void {
  expect(world.said.filter(({ kind }) => kind === "opened")).toHaveLength(1);
  expect(world.said.filter(({ kind }) => kind === "closed")).toEqual([]);
  expect([world.owner.size, world.owner.handshakes, world.door.report().handshakes]).toEqual([1, 0, 0]);
  expect(new Set(world.numbers).size).toBe(world.numbers.length);
  expect(world.judge.twice).toEqual([]);
}

const kinds = {
  "a key, without connection id": () => ({ cidOctets: undefined }),
  "a key and a connection id": () => ({ cidOctets: 0 }),
  "a key, and connection ids of both sides": () => ({ cidOctets: 4 }),
  "a certificate, without connection id": () => ({ ...withCertificate(), cidOctets: undefined }),
  "a certificate and a connection id": () => ({ ...withCertificate(), cidOctets: 0 }),
};
const kindNames = Object.keys(kinds) as (keyof typeof kinds)[];

describe.each(kindNames)("a device with %s", (kind) => {
  test("is let in by the owner, and both hear each other", () => {
    const world = newWorld();
    const device = world.start(world.device(kinds[kind]()));
    world.run(300);
    expect(device.said).toEqual(["opened"]);
    const isPsk = kind.startsWith("a key");
    expect(world.said).toEqual([
      {
        ...{ kind: "opened", identity: "dev1", address: device.address, suite: "ccm8" },
        ...{ by: isPsk ? "psk" : "certificate", hasCid: !kind.includes("without") },
      },
    ]);
    expect(world.handOvers).toHaveLength(1);
    talks(world, device);
    isOnce(world);
    expect([...world.store.keys()]).toEqual(["dev1"]);
  });

  test("is let in by its repetition, if the hand-over is lost", () => {
    const world = newWorld();
    let isLost = true;
    world.fate = (way) => (way === "over" && isLost ? [] : [5]);
    const device = world.start(world.device(kinds[kind]()));
    world.run(900);
    isLost = false;
    world.run(100);
    expect(device.said).toEqual([]);
    world.run(200);
    expect(device.said).toEqual(["opened"]);
    expect(world.handOvers.length).toBeGreaterThan(1);
    talks(world, device);
    isOnce(world);
  });

  test.each(["up", "over", "down"] as const)("is let in once if each datagram comes three times: %s", (way) => {
    const world = newWorld();
    world.fate = (its) => (its === way ? [5, 30, 1_300] : [5]);
    const device = world.start(world.device(kinds[kind]()));
    world.run(20_000);
    expect(device.said).toEqual(["opened"]);
    talks(world, device);
    world.run(70_000);
    isOnce(world);
  });

  test("any one datagram may be lost", () => {
    for (const way of ["up", "over", "down"] as const)
      for (let place = 0; place < 6; place++) {
        const world = newWorld();
        world.fate = (its, count) => (its === way && count === place ? [] : [5]);
        const device = world.start(world.device(kinds[kind]()));
        world.run(10_000);
        expect(device.said, `${way} ${place}`).toEqual(["opened"]);
        world.fate = () => [5];
        talks(world, device);
        isOnce(world);
      }
  });

  test("repeats its last flight, also after its first message: there is no second context", () => {
    const world = newWorld();
    const device = world.start(world.device(kinds[kind]()));
    world.run(300);
    const flight = world.sent.slice(2);
    const repeat = () => {
      for (const { from, bytes } of flight) world.heard(from, bytes);
      for (const { from, bytes } of world.handOvers.slice(0, 1)) world.heardByOwner(from, bytes);
      world.run(500);
    };
    repeat();
    talks(world, device);
    for (let i = 0; i < 3; i++) repeat();
    world.run(50_000);
    repeat();
    talks(world, device);
    isOnce(world);
    expect(world.handOvers.length).toBeGreaterThan(2);
  });

  test("the numbers of the owner's records begin anywhere", () => {
    const firsts = [1, 2, 3].map((seed) => {
      const world = newWorld({ seed });
      world.start(world.device({ ...kinds[kind](), cidOctets: kind.includes("without") ? undefined : 0 }));
      world.run(300);
      return world.numbers[0] ?? 0;
    });
    expect(new Set(firsts).size).toBe(3);
    for (const first of firsts) {
      expect(first).toBeGreaterThan(1_000_000);
      expect(first).toBeLessThan(2 ** 36);
    }
  });
});

test("a flight in fragments is continued, also if the identity comes with a later datagram than other parts", () => {
  const world = newWorld();
  world.fate = (way, count) => (way === "up" && count === 2 ? [] : [5]);
  const device = world.start(world.device());
  world.run(100);
  const { from, bytes } = world.sent[2] ?? { from: "", bytes: new Uint8Array(0) };
  const exchange = readRecord(bytes, 0, 0);
  if (!exchange) throw new Error("the flight begins with ClientKeyExchange");
  expect(exchange.body[0]).toBe(messageTypes.clientKeyExchange);
  // ClientKeyExchange in two fragments, each in a datagram of its own; the rest of the flight is between them.
  const total = exchange.body.length - 12;
  const fragment = (offset: number, end: number) => {
    const head = bytes.slice(0, 13 + 12);
    head[12] = 12 + end - offset;
    head[13 + 8] = offset;
    head[13 + 11] = end - offset;
    return Uint8Array.of(...head, ...exchange.body.subarray(12 + offset, 12 + end));
  };
  for (const each of [fragment(0, 3), bytes.subarray(exchange.end), fragment(3, total)]) world.heard(from, each);
  expect(world.handOvers).toHaveLength(1);
  expect(world.seal.opened(world.handOvers[0]?.bytes ?? new Uint8Array(0))?.datagrams).toHaveLength(3);
  world.run(100);
  expect(device.said).toEqual(["opened"]);
  talks(world, device);
  isOnce(world);
});

describe("a handshake is not continued", () => {
  /** The first hand-over of a device, which the owner has not received. */
  function handed(options: Parameters<HandedWorld["device"]>[0] = {}, all: HandedWorldOptions = {}) {
    const world = newWorld(all);
    const device = world.device(options);
    world.fate = (way) => (way === "over" ? [] : [5]);
    world.start(device);
    world.run(100);
    world.fate = () => [5];
    const bytes = world.handOvers[0]?.bytes ?? new Uint8Array(0);
    const over = world.seal.opened(bytes);
    if (!over) throw new Error("nothing was handed over");
    return { world, device, over, bytes };
  }
  const changed = (begun: Begun, change: Partial<Begun>): Begun => ({ ...begun, ...change });

  test("if it began before this gateway had the shard: the device hears it, and begins another one", () => {
    const { world, device, bytes } = handed();
    world.nextOwner();
    world.heardByOwner(device.address, bytes);
    world.run(50);
    expect(device.said).toEqual([alert80]);
    expect(world.owner.counters.handshakesRefused).toBe(1);
    world.run(200);
    const again = world.start(world.device({}, "10.0.0.1:5000"));
    world.run(300);
    expect(again.said).toEqual(["opened"]);
    talks(world, again);
    isOnce(world);
  });

  test.each([undefined, 0])(
    "by a new owner, if the earlier one has continued it, at no time (ids: %s)",
    (cidOctets) => {
      const { world, device, over, bytes } = handed({ cidOctets });
      world.heardByOwner(device.address, bytes);
      world.run(300);
      talks(world, device);
      world.nextOwner();
      for (const ms of [0, 1_000, 30_000, 31_500, 10_000]) {
        world.run(ms);
        world.heard(device.address, over.datagrams[0] ?? new Uint8Array(0));
        world.run(20);
      }
      expect(world.handOvers).toHaveLength(4); // not after 63 s
      expect(world.owner.counters.handshakesRefused).toBe(3);
      talks(world, device);
      isOnce(world);
    },
  );

  test("by a new owner that reads its context, if the hand-over has waited and looks younger than it is", () => {
    const { world, device, bytes } = handed({ cidOctets: undefined });
    world.heardByOwner(device.address, bytes);
    world.run(300);
    talks(world, device);
    world.nextOwner();
    world.run(1_000);
    world.heardByOwner(device.address, bytes);
    world.run(300);
    talks(world, device);
    isOnce(world);
  });

  test("a second time, when its context has ended", () => {
    const { world, device, bytes } = handed();
    world.heardByOwner(device.address, bytes);
    world.run(300);
    talks(world, device);
    device.dtls.close();
    world.send(device, "nothing more");
    world.run(300);
    expect(world.said.map(({ kind }) => kind)).toEqual(["opened", "closed"]);
    const sent = world.toDevices.length;
    world.heardByOwner(device.address, bytes);
    world.run(300);
    expect([world.owner.size, world.owner.handshakes]).toEqual([0, 0]);
    expect(world.toDevices).toHaveLength(sent);
    expect(world.judge.twice).toEqual([]);
  });

  test("if it is too old", () => {
    const { world, device, over } = handed();
    world.adopt("dev1", changed(over.begun, { ageMs: 63_001 }));
    world.run(50);
    expect(device.said).toEqual([alert80]);
    expect(world.owner.counters.handshakesRefused).toBe(1);
  });

  test("if its connection id is in use", () => {
    const { world, device, bytes, over } = handed();
    world.heardByOwner(device.address, bytes);
    world.run(300);
    const random = new Uint8Array(32).fill(9);
    const address = "dtls/10.0.0.9:5000";
    world.adopt("dev2", changed(over.begun, { address, serverRandom: random, clientRandom: random }));
    expect(world.owner.handshakes).toBe(0);
    expect(world.owner.counters.handshakesRefused).toBe(1);
    talks(world, device);
    isOnce(world);
  });

  test("if there is no room: that of all handshakes, and that of one host", () => {
    for (const owner of [{ handshakesMax: 2 }, { handshakesPerHostMax: 2 }]) {
      const { world, over } = handed({}, { owner });
      for (let n = 1; n <= 3; n++) {
        const random = new Uint8Array(32).fill(n);
        const address = `dtls/10.0.0.9:${n}`;
        const cid = random.subarray(0, 8);
        world.adopt("dev2", changed(over.begun, { address, cid, serverRandom: random, clientRandom: random }));
      }
      expect(world.owner.handshakes).toBe(2);
      expect(world.owner.counters.handshakesRefused).toBe(1);
    }
  });

  test.each([
    ["the owner gives connection ids of another length", () => ({}), { cidOctets: 4 }],
    ["the owner does not have its suite", () => ({}), { suites: [suites.gcm] }],
    ["the owner has no certificate", () => withCertificate(), { credentials: () => undefined }],
  ])("if %s: alert 80, once", (_why, options, owner) => {
    const { world, device, bytes } = handed(options(), { owner });
    world.heardByOwner(device.address, bytes);
    world.heardByOwner(device.address, bytes);
    world.run(50);
    expect(device.said).toEqual([alert80]);
    expect(world.owner.counters.handshakesUnsuitable).toBe(1);
    expect(world.toDevices.filter(({ by }) => by === "owner")).toHaveLength(1);
    expect([world.owner.size, world.owner.handshakes]).toEqual([0, 0]);
  });

  test("for another identity than the one for which it was handed over", () => {
    for (const options of [{}, withCertificate()]) {
      const { world, device, over } = handed(options);
      world.keys.set("dev2", new Uint8Array(16));
      world.adopt("dev2", over.begun);
      expect(world.owner.handshakes).toBe(1);
      for (const bytes of over.datagrams) world.heardByOwner(device.address, bytes);
      expect([world.owner.size, world.owner.handshakes]).toEqual([0, 0]);
      expect(world.owner.counters.badRecords).toBeGreaterThan(0);
      world.run(5_000);
      expect(device.said).toEqual([]);
      expect(world.said).toEqual([]);
    }
  });
});

describe("what is wrong with a device has the same effect as without a fleet", () => {
  test("a wrong key, and an identity that does not exist: reported by the owner, and no answer", () => {
    for (const [identity, isKnown] of [
      ["dev1", true],
      ["nobody", false],
    ] as const) {
      const world = newWorld();
      const device = world.start(world.device({ identity, key: new Uint8Array(16).fill(7) }));
      world.run(300);
      expect(world.said).toEqual([{ kind: "badKey", identity, address: device.address, isKnown }]);
      expect(world.toDevices.filter(({ by }) => by === "owner")).toEqual([]);
      expect(world.owner.counters.badKeys).toBe(1);
      world.run(200_000);
      expect(device.said).toEqual([expect.stringContaining("closed: no answer after the key was used")]);
      expect(world.owner.counters.badKeys).toBe(1);
      expect([world.owner.size, world.owner.handshakes, world.door.report().handshakes]).toEqual([0, 0, 0]);
      expect(world.store.size).toBe(0);
    }
  });

  test("a certificate that is not accepted is refused by the door, which says so, and nothing is handed over", () => {
    const world = newWorld();
    const stranger = makeCertificate({ name: "dev1", by: makeCertificate({ name: "another", isAuthority: true }) });
    const device = world.start(world.device(withCertificate(stranger)));
    world.run(300);
    expect(device.said).toEqual([expect.stringMatching(/^closed: the gateway refuses \(alert \d+\)$/)]);
    expect(world.handOvers).toEqual([]);
    expect(world.told).toEqual([expect.stringContaining("a device at 10.0.0.1:5000: ")]);
    expect(world.door.report().counters.certificatesRefused["unknown-authority"]).toBe(1);
  });

  test("a certificate of another device is refused by the owner, because its signature is wrong", () => {
    const world = newWorld();
    const thief = makeCertificate({ name: "thief" });
    const device = world.start(world.device(withCertificate(dev1, thief.key)));
    world.run(300);
    expect(device.said).toEqual([expect.stringMatching(/^closed: the gateway refuses/)]);
    expect(world.owner.counters.certificatesRefused["wrong-signature"]).toBe(1);
    expect(world.said.map(({ kind }) => kind)).toEqual(["badCertificate"]);
  });
});

test("a device that is switched on anew at the same address replaces its context", () => {
  for (const cidOctets of [undefined, 0]) {
    const world = newWorld();
    const first = world.start(world.device({ cidOctets }, "10.0.0.1:5000"));
    world.run(300);
    talks(world, first);
    const second = world.start(world.device({ cidOctets }, "10.0.0.1:5000"));
    world.run(300);
    expect(second.said).toEqual(["opened"]);
    talks(world, second);
    expect(world.owner.size).toBe(1);
    expect(world.said.filter(({ kind }) => kind === "opened")).toHaveLength(2);
  }
});
