/** Handshakes on a network that loses, doubles, reorders and delays; and which devices are admitted. [RFC 6347 4.2, RFC 4279] */
import { describe, expect, test } from "vitest";
import { suites } from "../../../src/secure/suites.ts";
import { SecureWorld, testKey, type WorldDevice } from "../../helpers/secure-world.ts";

function talks(world: SecureWorld, device: WorldDevice): void {
  world.send(device, "hello");
  world.run(100);
  world.answer("dev1", "well heard");
  world.run(100);
  expect(world.delivered.at(-1)).toBe("dev1: hello");
  expect(device.got.at(-1)).toBe("well heard");
  expect(world.judge.twice).toEqual([]);
}

describe.each([suites.ccm8, suites.ccm, suites.gcm])("with $name", (suite) => {
  test.each([undefined, 0, 4, 20])(
    "a device that has ids of %s octets is let in, and both hear each other",
    (cidOctets) => {
      const world = new SecureWorld();
      const device = world.start(world.device({ suites: [suite], cidOctets }));
      world.run(200);
      expect(device.said).toEqual(["opened"]);
      expect(world.effects).toContainEqual({
        kind: "opened",
        identity: "dev1",
        address: device.address,
        suite: suite.name,
        by: "psk",
        hasCid: cidOctets !== undefined,
      });
      expect(world.datagrams).toEqual({ up: 3, down: 3 });
      talks(world, device);
    },
  );
});

describe("every datagram of a handshake", () => {
  const fates = {
    lost: [],
    doubled: [5, 5],
    "doubled, the copy late": [5, 300],
    "doubled, the copy after all": [5, 5_000],
    late: [700],
    "later than its repetition": [2_500],
  };
  const places = (["up", "down"] as const).flatMap((way) => [0, 1, 2].map((place) => ({ way, place })));
  for (const cidOctets of [undefined, 0]) {
    test.each(places.flatMap((place) => Object.entries(fates).map(([what, delays]) => ({ ...place, what, delays }))))(
      `may be $what: $way $place (ids: ${cidOctets})`,
      ({ way, place, delays }) => {
        const world = new SecureWorld();
        world.fate = (itsWay, count) => (itsWay === way && count === place ? delays : [5]);
        const device = world.start(world.device({ cidOctets }));
        world.run(20_000);
        expect(device.said).toEqual(["opened"]);
        talks(world, device);
        const settled = { ...world.datagrams };
        world.run(600_000);
        expect(world.datagrams).toEqual(settled);
        expect(settled.up + settled.down).toBeLessThan(30);
        expect(world.server.handshakes).toBe(0);
      },
    );
  }

  test("may be doubled, each of them, both ways: the two do not answer each other for ever", () => {
    const world = new SecureWorld();
    world.fate = () => [5, 6, 450, 1_300];
    const device = world.start(world.device());
    world.run(600_000);
    expect(device.said).toEqual(["opened"]);
    expect(world.datagrams.up + world.datagrams.down).toBeLessThan(40);
  });

  test("may be swapped with the next", () => {
    for (let place = 0; place < 6; place++) {
      const world = new SecureWorld();
      world.fate = (way, count) =>
        count === Math.floor(place / 2) && (place % 2 === 0 ? "up" : "down") === way ? [40] : [5];
      const device = world.start(world.device());
      world.run(20_000);
      talks(world, device);
    }
  });

  test("may be lost at random, 40 of 100: most get in, and who does is heard", () => {
    let opened = 0;
    for (let seed = 1; seed <= 60; seed++) {
      let state = seed;
      const dice = () => {
        state = (state * 48_271) % 2_147_483_647;
        return state / 2_147_483_647;
      };
      const world = new SecureWorld();
      world.fate = () => (dice() < 0.4 ? [] : dice() < 0.2 ? [5, 1_000 * dice()] : [5 + 3_000 * dice() ** 4]);
      const device = world.start(world.device());
      world.run(300_000);
      expect(world.datagrams.up + world.datagrams.down).toBeLessThan(100);
      expect(world.judge.twice).toEqual([]);
      world.fate = () => [5];
      if (!device.dtls.isOpen) continue;
      opened++;
      talks(world, device);
    }
    expect(opened).toBeGreaterThan(30);
  });
});

describe("a device whose last flight is not answered any more", () => {
  test("is answered again, for it repeats its own", () => {
    const world = new SecureWorld();
    world.fate = (way, count) => (way === "down" && count >= 2 && count <= 4 ? [] : [5]);
    const device = world.start(world.device());
    world.run(20_000);
    talks(world, device);
  });

  test("is not answered each time, for some answer an answer with the same again: two would never come to an end", () => {
    const world = new SecureWorld();
    world.fate = (way, count) => (way === "down" && count >= 2 ? [] : [5]);
    const device = world.start(world.device());
    world.run(100);
    expect(world.datagrams.down).toBe(3);
    for (let i = 0; i < 5; i++) {
      world.repeat(device);
      world.run(20);
    }
    expect(world.datagrams).toEqual({ up: 8, down: 3 });
    world.run(500);
    world.repeat(device);
    world.run(20);
    expect(world.datagrams.down).toBe(4);
  });

  test("is answered after a crash of the gateway, too: Finished was stored before it left", () => {
    const world = new SecureWorld();
    world.fate = (way, count) => (way === "down" && count === 2 ? [] : [5]);
    const device = world.start(world.device());
    world.run(500);
    expect(device.said).toEqual([]);
    world.restart();
    world.run(20_000);
    expect(device.said).toEqual(["opened"]);
    talks(world, device);
  });
});

describe("who is not let in", () => {
  test("a wrong key: nothing is said after it, one report, and nothing is left", () => {
    const world = new SecureWorld();
    const device = world.start(world.device({ key: Buffer.alloc(16, 9) }));
    world.run(200_000);
    expect(device.said).toEqual([expect.stringMatching(/^closed: no answer after the key was used/)]);
    expect(world.effects.filter(({ kind }) => kind === "badKey")).toEqual([
      { kind: "badKey", identity: "dev1", address: device.address, isKnown: true },
    ]);
    expect(world.server.counters).toMatchObject({ badKeys: 1, handshakesExpired: 1, handshakesDone: 0 });
    expect([world.server.size, world.server.handshakes, world.store.size]).toEqual([0, 0, 0]);
    expect(world.server.nextDeadline()).toBeUndefined();
  });

  test("an identity that there is not: what goes over the wire is as long as with a wrong key", () => {
    const lengths = ["dev1", "dev2"].map((identity) => {
      const world = new SecureWorld();
      const seen: number[] = [];
      world.fate = (_way, _count, bytes) => {
        seen.push(bytes.length);
        return [5];
      };
      world.start(world.device({ identity, key: Buffer.alloc(16, 9) }));
      world.run(200_000);
      expect(world.effects.find(({ kind }) => kind === "badKey")).toMatchObject({ isKnown: identity === "dev1" });
      return seen;
    });
    expect(lengths[0]).toEqual(lengths[1]);
  });

  test("no suite in common: the device hears so", () => {
    const world = new SecureWorld({ suites: [suites.gcm] });
    const device = world.start(world.device());
    world.run(1_000);
    expect(device.said).toEqual(["closed: the gateway refuses (alert 40)"]);
    expect(world.server.counters.handshakesUnsuitable).toBe(1);
  });

  test("an identity with signs that are no text", () => {
    const world = new SecureWorld();
    const device = world.start(world.device({ identity: "dev\u0000" }));
    world.keys.set("dev\u0000", testKey);
    world.run(200_000);
    expect(device.dtls.isOpen).toBe(false);
    expect(world.delivered).toEqual([]);
  });

  test("a handshake that cannot be stored: no Finished leaves", () => {
    const world = new SecureWorld();
    world.storeOk = false;
    const device = world.start(world.device());
    world.run(3_000);
    expect(device.said).toEqual([]);
    expect(world.server.counters.handshakesNotStored).toBeGreaterThan(0);
    expect(world.server.size).toBe(0);
  });
});

describe("before the cookie", () => {
  test("a flood of hellos from 100,000 addresses leaves nothing, and less goes back than came", () => {
    const world = new SecureWorld();
    const hello = firstHello(world);
    world.devices.length = 0;
    world.octets = { up: 0, down: 0 };
    let up = 0;
    for (let i = 0; i < 100_000; i++) {
      const effects = world.server.handle(
        { kind: "datagram", address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:9`, bytes: hello },
        i,
      );
      up += hello.length;
      for (const effect of effects) if (effect.kind === "transmit") world.octets.down += effect.bytes.length;
    }
    expect([world.server.handshakes, world.server.size]).toEqual([0, 0]);
    expect(world.server.nextDeadline()).toBeUndefined();
    expect(world.octets.down / up).toBeLessThan(0.7);
  });

  test("the shortest hello that is one is answered with less than it has", () => {
    const world = new SecureWorld();
    const body = Buffer.concat([Buffer.from("fefd", "hex"), Buffer.alloc(32), Buffer.from("00000002c0a80100", "hex")]);
    const head = Buffer.from("010000000000000000000000", "hex");
    head.writeUIntBE(body.length, 1, 3);
    head.writeUIntBE(body.length, 9, 3);
    const record = Buffer.concat([Buffer.from("16fefd00000000000000000000", "hex"), head, body]);
    record.writeUInt16BE(head.length + body.length, 11);
    const [effect] = world.server.handle({ kind: "datagram", address: "10.0.0.1:1", bytes: record }, 0);
    expect(effect).toMatchObject({ kind: "transmit" });
    if (effect?.kind === "transmit") expect(effect.bytes.length).toBeLessThan(record.length);
  });

  test("a cookie is good for its address and its hello alone, and not for ever", () => {
    const world = new SecureWorld();
    const seen: Uint8Array[] = [];
    world.fate = (way, count, bytes) => {
      if (way === "up") seen.push(bytes);
      return way === "up" && count === 1 ? [] : [5];
    };
    world.start(world.device());
    world.run(100);
    const [, hello = new Uint8Array(0)] = seen;
    const handshakes = (address: string, bytes: Uint8Array, now: number) => {
      world.server.handle({ kind: "datagram", address, bytes }, now);
      return world.server.handshakes;
    };
    expect(handshakes("10.0.0.99:5000", hello, 200)).toBe(0);
    const changed = Uint8Array.from(hello);
    changed[13 + 12 + 5] = 77;
    expect(handshakes("10.0.0.1:5000", changed, 200)).toBe(0);
    expect(handshakes("10.0.0.1:5000", hello, 1_300_000)).toBe(0);
  });

  test("half-open handshakes are bounded, in all and for each host", () => {
    const world = new SecureWorld({ handshakesMax: 30, handshakesPerHostMax: 20 });
    world.fate = (way, _count, bytes) => (way === "up" && bytes[13] === 16 ? [] : [5]);
    for (let port = 1; port <= 40; port++) world.start(world.device({}, `10.9.9.9:${port}`));
    world.run(500);
    expect(world.server.handshakes).toBe(20);
    for (let host = 1; host <= 40; host++) world.start(world.device({}, `10.9.8.${host}:1`));
    world.run(300);
    expect(world.server.handshakes).toBe(30);
    world.run(400_000);
    expect(world.server.handshakes).toBe(0);
  });
});

function firstHello(world: SecureWorld): Uint8Array {
  let hello: Uint8Array = new Uint8Array(0);
  world.fate = (_way, _count, bytes) => {
    hello = bytes;
    return [];
  };
  world.start(world.device());
  return hello;
}
