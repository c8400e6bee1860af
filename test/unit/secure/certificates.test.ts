/**
 * Handshakes with certificates: which devices are admitted, which are refused and with which reason, on all kinds of networks. [RFC 8422,
 * RFC 5246 7.4]
 */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SecureDeviceOptions } from "../../../src/device/secure.ts";
import { certificateRefusals } from "../../../src/secure/credentials.ts";
import { certificateSuites, suites } from "../../../src/secure/suites.ts";
import { type CertificateRing, readCertificateRing } from "../../../src/transports/dtls/certificates.ts";
import {
  type Authority,
  deviceWith,
  type Made,
  makeAuthority,
  makeCertificate,
} from "../../helpers/make-certificate.ts";
import { SecureWorld, testKey, type WorldDevice } from "../../helpers/secure-world.ts";

let authority: Authority;
let dev1: Made;
let ring: CertificateRing;
/** Milliseconds since 1970. */
let today = Date.parse("2030-06-01");

beforeAll(() => {
  authority = makeAuthority();
  dev1 = makeCertificate({ name: "dev1", by: authority.authority, uses: ["client"] });
});
afterAll(() => rmSync(authority.folder, { recursive: true }));
beforeEach(() => {
  today = Date.parse("2030-06-01");
  ring = readCertificateRing(authority.options, () => today);
});

function newWorld(): SecureWorld {
  return new SecureWorld({ credentials: () => ring.credentials });
}

function withCertificate(own: Made | undefined, key = own?.key): Partial<SecureDeviceOptions> {
  const certificate = deviceWith(own, authority.authority, key);
  return { identity: "", key: new Uint8Array(0), suites: [certificateSuites.ccm8], certificate };
}

function talks(world: SecureWorld, device: WorldDevice, identity = "dev1"): void {
  world.send(device, "hello");
  world.run(100);
  world.answer(identity, "well heard");
  world.run(100);
  expect(world.delivered.at(-1)).toBe(`${identity}: hello`);
  expect(device.got.at(-1)).toBe("well heard");
  expect(world.judge.twice).toEqual([]);
}

describe.each(Object.values(certificateSuites))("with $name", (suite) => {
  test.each([undefined, 0, 4])(
    "a device that has ids of %s octets is let in, and both hear each other",
    (cidOctets) => {
      const world = newWorld();
      const device = world.start(world.device({ ...withCertificate(dev1), suites: [suite], cidOctets }));
      world.run(300);
      expect(device.said).toEqual(["opened"]);
      expect(world.effects).toContainEqual({
        kind: "opened",
        identity: "dev1",
        address: device.address,
        suite: suite.name,
        by: "certificate",
        hasCid: cidOctets !== undefined,
      });
      talks(world, device);
    },
  );
});

test("no datagram of a handshake is too long for a network, also with a chain of certificates", () => {
  const between = makeCertificate({ name: "x".repeat(500), by: authority.authority, isAuthority: true });
  writeFileSync(join(authority.folder, "chain.pem"), authority.gateway.pem + between.pem + between.pem);
  ring = readCertificateRing({ ...authority.options, cert: join(authority.folder, "chain.pem") }, () => today);
  const world = newWorld();
  const lengths: number[] = [];
  world.fate = (_way, _count, bytes) => {
    lengths.push(bytes.length);
    return [5];
  };
  const device = world.start(world.device(withCertificate(dev1)));
  world.run(300);
  expect(device.said).toEqual(["opened"]);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(1_200);
  expect(lengths.length).toBeGreaterThan(7);
});

describe("every record of a handshake, each a datagram of its own,", () => {
  const fates = {
    lost: [],
    doubled: [5, 5],
    "doubled, the copy after all": [5, 5_000],
    late: [700],
    "very late": [2_500],
  };
  const places = [
    ...Array.from({ length: 7 }, (_, place) => ({ way: "up" as const, place })),
    ...Array.from({ length: 8 }, (_, place) => ({ way: "down" as const, place })),
  ];
  for (const cidOctets of [undefined, 0]) {
    test.each(places.flatMap((place) => Object.entries(fates).map(([what, delays]) => ({ ...place, what, delays }))))(
      `may be $what: $way $place (ids: ${cidOctets})`,
      ({ way, place, delays }) => {
        const world = newWorld();
        world.isSplit = true;
        world.fate = (itsWay, count) => (itsWay === way && count === place ? delays : [5]);
        const device = world.start(world.device({ ...withCertificate(dev1), cidOctets }));
        world.run(30_000);
        expect(device.said).toEqual(["opened"]);
        talks(world, device);
        const settled = { ...world.datagrams };
        world.run(600_000);
        expect(world.datagrams).toEqual(settled);
        expect(settled.up + settled.down).toBeLessThan(60);
        expect(world.server.handshakes).toBe(0);
      },
    );
  }

  test("may be swapped with the next", () => {
    for (let place = 0; place < 14; place++) {
      const world = newWorld();
      world.isSplit = true;
      const swapped = place % 2 === 0 ? "up" : "down";
      world.fate = (way, count) => (count === Math.floor(place / 2) && swapped === way ? [40] : [5]);
      const device = world.start(world.device(withCertificate(dev1)));
      world.run(30_000);
      talks(world, device);
    }
  });

  test("may be lost at random, 20 of 100: most get in, and who does is heard", () => {
    let opened = 0;
    for (let seed = 1; seed <= 30; seed++) {
      let state = seed;
      const dice = () => {
        state = (state * 48_271) % 2_147_483_647;
        return state / 2_147_483_647;
      };
      const world = newWorld();
      world.isSplit = true;
      world.fate = () => (dice() < 0.2 ? [] : dice() < 0.2 ? [5, 1_000 * dice()] : [5 + 3_000 * dice() ** 4]);
      const device = world.start(world.device(withCertificate(dev1)));
      world.run(300_000);
      expect(world.datagrams.up + world.datagrams.down).toBeLessThan(250);
      world.fate = () => [5];
      if (!device.dtls.isOpen) continue;
      opened++;
      talks(world, device);
    }
    expect(opened).toBeGreaterThan(15);
  });
});

describe("who is not let in hears why, and is counted by the reason", () => {
  const other = () => makeCertificate({ name: "the authority", isAuthority: true });
  const by = () => authority.authority;
  const cases: Record<keyof typeof certificateRefusals, () => Partial<SecureDeviceOptions>> = {
    none: () => withCertificate(undefined),
    malformed: () => {
      const { certificate } = withCertificate(dev1);
      const chain = [dev1.der.subarray(0, 100)];
      return { ...withCertificate(dev1), certificate: certificate && { ...certificate, chain } };
    },
    "unknown-authority": () => withCertificate(makeCertificate({ name: "dev1", by: other() })),
    "not-p256": () => withCertificate(makeCertificate({ name: "dev1", by: by(), curve: "secp384r1" })),
    expired: () => withCertificate(makeCertificate({ name: "dev1", by: by(), to: "2030-05-31T00:00:00" })),
    "not-yet-valid": () => withCertificate(makeCertificate({ name: "dev1", by: by(), from: "2030-06-02T00:00:00" })),
    "is-authority": () => withCertificate(makeCertificate({ name: "dev1", by: by(), isAuthority: true })),
    "other-use": () => withCertificate(makeCertificate({ name: "dev1", by: by(), uses: ["server"] })),
    "no-name": () => withCertificate(makeCertificate({ name: "", by: by() })),
    "bad-exchange": () => withCertificate(dev1),
    "wrong-signature": () => withCertificate(dev1, makeCertificate({ name: "thief" }).key),
  };
  test.each(Object.keys(cases) as (keyof typeof cases)[])("%s", (refusal) => {
    const world = newWorld();
    const device = world.device(cases[refusal]());
    if (refusal === "bad-exchange") {
      // The gateway's random numbers are fixed; the device sends 65 octets that are no point of the curve.
      world.server = newWorld().server;
      world.judge.crypto.agreement = () => ({
        point: new Uint8Array(65).fill(4),
        secretHalf: () => new Uint8Array(32),
        secret: () => new Uint8Array(32),
      });
    }
    world.start(device);
    world.run(2_000);
    expect(device.said).toEqual([`closed: the gateway refuses (alert ${certificateRefusals[refusal].alert})`]);
    const counted = Object.entries(world.server.counters.certificatesRefused).filter(([, count]) => count > 0);
    expect(counted).toEqual([[refusal, 1]]);
    expect(world.effects.filter(({ kind }) => kind === "badCertificate")).toHaveLength(1);
    expect([world.server.size, world.server.handshakes, world.store.size]).toEqual([0, 0, 0]);
  });

  test("an authority whose own certificate has expired lets nobody in", () => {
    today = Date.parse("2041-01-01");
    const world = newWorld();
    const device = world.start(
      world.device(withCertificate(makeCertificate({ name: "dev1", by: by(), to: "2049-01-01T00:00:00" }))),
    );
    world.run(2_000);
    expect(device.said).toEqual(["closed: the gateway refuses (alert 45)"]);
  });

  test("nobody who is let in by another in between: no chain is followed", () => {
    const between = makeCertificate({ name: "between", by: by(), isAuthority: true });
    const own = makeCertificate({ name: "dev1", by: between });
    const options = withCertificate(own);
    const chain = [own.der, between.der];
    const world = newWorld();
    const device = world.start(
      world.device({ ...options, certificate: options.certificate && { ...options.certificate, chain } }),
    );
    world.run(2_000);
    expect(device.said).toEqual(["closed: the gateway refuses (alert 48)"]);
  });

  test("a name that the authority did not sign counts for nothing", () => {
    const world = newWorld();
    const thief = makeCertificate({ name: "thief" });
    const forged = makeCertificate({ name: "dev1", by: by(), signedBy: thief.key });
    const device = world.start(world.device(withCertificate(forged)));
    world.run(2_000);
    expect(device.said).toEqual(["closed: the gateway refuses (alert 48)"]);
  });

  test("a device that has nothing on P-256 in common with us: alert 40", () => {
    const world = new SecureWorld();
    const device = world.start(world.device(withCertificate(dev1)));
    world.run(2_000);
    expect(device.said).toEqual(["closed: the gateway refuses (alert 40)"]);
    expect(world.server.counters.handshakesUnsuitable).toBe(1);
  });
});

test("a device does not go on with a gateway that it does not trust", () => {
  const world = newWorld();
  const stranger = makeCertificate({ name: "the authority", isAuthority: true });
  const certificate = deviceWith(dev1, stranger);
  const device = world.start(world.device({ ...withCertificate(dev1), certificate }));
  world.run(2_000);
  expect(device.said).toEqual(["closed: the gateway's certificate is not trusted"]);
  expect(world.server.size).toBe(0);
});

test("the identity is the common name, or the first DNS name; of a pinned key its file's name, whatever is in it", () => {
  const unnamed = makeCertificate({ name: "", by: authority.authority, dnsNames: ["dev2", "dev3"] });
  const pinned = makeCertificate({ name: "somebody", to: "2021-01-01T00:00:00" });
  writeFileSync(join(authority.options.pinned.folder, "dev7.pem"), pinned.pem);
  ring = readCertificateRing(authority.options, () => today);
  for (const [own, identity] of [
    [dev1, "dev1"],
    [unnamed, "dev2"],
    [pinned, "dev7"],
  ] as const) {
    const world = newWorld();
    const device = world.start(world.device(withCertificate(own)));
    world.run(300);
    talks(world, device, identity);
    expect(world.server.proofOf(identity)).toBe("certificate");
  }
  rmSync(join(authority.options.pinned.folder, "dev7.pem"));
});

test("devices with keys and with certificates are served side by side; the device's order decides", () => {
  const world = newWorld();
  const both = { ...withCertificate(dev1), identity: "dev1", key: testKey };
  const orders = [
    [suites.gcm, certificateSuites.gcm],
    [certificateSuites.gcm, suites.gcm],
  ];
  for (const order of orders) {
    const device = world.start(world.device({ ...both, suites: order }));
    world.run(300);
    talks(world, device);
  }
  const opened = world.effects.flatMap((effect) => (effect.kind === "opened" ? [effect.by] : []));
  expect(opened).toEqual(["psk", "certificate"]);
});

test("a restart is not noticed; an authority that is gone from the configuration ends what it had opened", () => {
  const world = newWorld();
  const device = world.start(world.device(withCertificate(dev1)));
  world.run(300);
  world.restart();
  talks(world, device);
  expect(world.server.strangers((identity) => ring.goodFor(identity))).toEqual([]);
  const others = makeAuthority();
  const otherRing = readCertificateRing(others.options, () => today);
  expect(world.server.strangers((identity) => otherRing.goodFor(identity))).toEqual(["dev1"]);
  rmSync(others.folder, { recursive: true });
});
