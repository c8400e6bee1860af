/** The door of a fleet: what it does with each kind of datagram, its limits, and the seal of what it hands over. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { messageTypes } from "../../../src/secure/handshake-messages.ts";
import { contentTypes, plainRecord, readRecord } from "../../../src/secure/record.ts";
import { type HandedOver, HandOverSeal, isHandOver, readHandedOverTo } from "../../../src/transports/dtls/hand-over.ts";
import { HandedWorld, type Passed } from "../../helpers/handed-world.ts";
import type { WorldDevice } from "../../helpers/secure-world.ts";

const address = "dtls/10.0.0.1:5000";
const nothing = new Uint8Array(0);

/** A datagram with one record of epoch 1: bare, or with this connection id. */
function sealed(body: Uint8Array, cid?: Uint8Array): Uint8Array {
  const bytes = plainRecord(contentTypes.applicationData, 5, body);
  bytes[4] = 1;
  if (!cid) return bytes;
  const withCid = Uint8Array.of(...bytes.subarray(0, 11), ...cid, ...bytes.subarray(11));
  withCid[0] = contentTypes.cid;
  return withCid;
}
const cid = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0xab);
const changeCipherSpec = plainRecord(contentTypes.changeCipherSpec, 3, Uint8Array.of(1));

/** A part of a message that nobody waits for. */
function aside(octets: number): Uint8Array {
  const fragment = new Uint8Array(12 + octets);
  fragment[0] = messageTypes.clientKeyExchange;
  fragment[2] = 0xff; // the whole message is longer
  fragment[5] = 9;
  fragment[10] = octets >> 8;
  fragment[11] = octets & 0xff;
  return plainRecord(contentTypes.handshake, 77, fragment);
}

/** A device that has received the first flight, and whose answer the door has not received. */
function begun(world = new HandedWorld()): { world: HandedWorld; device: WorldDevice; flight: Uint8Array } {
  world.fate = (way, count) => (way === "up" && count === 2 ? [] : [5]);
  const device = world.start(world.device());
  world.run(100);
  world.fate = () => [5];
  expect(world.door.report().handshakes).toBe(1);
  return { world, device, flight: world.sent[2]?.bytes ?? nothing };
}

/** A device whose handshake the door has handed over; the owner has received nothing. */
function handed(world = new HandedWorld()): { world: HandedWorld; device: WorldDevice; flight: Uint8Array } {
  world.fate = (way) => (way === "over" ? [] : [5]);
  const device = world.start(world.device());
  world.run(100);
  expect(world.handOvers).toHaveLength(1);
  return { world, device, flight: world.sent[2]?.bytes ?? nothing };
}

function overOf(world: HandedWorld, passed: Passed | undefined): HandedOver {
  const over = passed && world.seal.opened(passed.bytes);
  if (!over) throw new Error("it is no handshake");
  return over;
}

describe("a datagram that", () => {
  test.each([
    ["is empty", nothing],
    ["is MQTT-SN without encryption", Uint8Array.of(3, 1, 0)],
    ["is only a first octet of DTLS", Uint8Array.of(22)],
    ["is a record that is cut off", sealed(new Uint8Array(20)).subarray(0, 30)],
    ["has another version", sealed(new Uint8Array(20)).with(2, 0)],
    ["is too short for a connection id", sealed(nothing, cid).subarray(0, 15)],
    ["is an alert without encryption", plainRecord(contentTypes.alert, 0, Uint8Array.of(2, 40))],
    ["is ChangeCipherSpec alone", changeCipherSpec],
  ])("%s is dropped and counted", (_what, bytes) => {
    const world = new HandedWorld();
    for (const from of [address, "dtls/10.0.0.2:1"]) world.heard(from, bytes);
    expect([world.passed, world.toDevices]).toEqual([[], []]);
    expect(world.door.report().counters.badRecords).toBe(2);
    expect(world.door.report().handshakes).toBe(0);
  });

  test("begins as a hand-over is dropped and counted, also a true one: only gateways may send it", () => {
    const { world, device } = handed();
    const true1 = world.handOvers[0]?.bytes ?? nothing;
    world.heard(device.address, true1);
    world.heard("dtls/10.0.0.9:1", true1);
    world.heard("dtls/10.0.0.9:1", Uint8Array.of(0, 0, 0, 4, ...Buffer.from("dev1")));
    expect(world.passed).toHaveLength(1);
    expect(world.door.report().counters.badRecords).toBe(3);
  });

  test("has a connection id is passed on as it is, whoever sends it", () => {
    const world = new HandedWorld();
    const bytes = sealed(new Uint8Array(20), cid);
    world.heard(address, bytes);
    expect(world.passed).toEqual([{ from: address, bytes }]);
    expect(world.door.nodeOf(address, bytes)).toBe("dtls/cid:01020304050607ab");
    expect(world.door.clientIn(bytes)).toBeUndefined();
    expect(world.toDevices).toEqual([]);
  });

  test("is encrypted without a connection id is passed on as it is, and its address is its name", () => {
    const world = new HandedWorld();
    const bytes = sealed(new Uint8Array(20));
    world.heard(address, bytes);
    const both = Uint8Array.of(...changeCipherSpec, ...bytes);
    world.heard(address, both);
    expect(world.passed).toEqual([
      { from: address, bytes },
      { from: address, bytes: both },
    ]);
    expect(world.door.nodeOf(address, bytes)).toBe(address);
    expect(world.door.nodeOf(address, Uint8Array.of(...bytes, ...sealed(bytes, cid)))).toBe(
      "dtls/cid:01020304050607ab",
    );
  });

  test("is of a handshake that did not begin here is not passed on, and gets no answer", () => {
    const world = new HandedWorld();
    world.heard(address, aside(10));
    expect([world.passed, world.toDevices]).toEqual([[], []]);
  });

  test("is encrypted is passed on also during a handshake, because it may be of an older context", () => {
    for (const bytes of [sealed(new Uint8Array(20)), sealed(new Uint8Array(20), cid)]) {
      const { world, device, flight } = begun();
      world.heard(device.address, bytes);
      expect(world.passed).toEqual([{ from: device.address, bytes }]);
      world.heard(device.address, flight);
      expect(overOf(world, world.passed[1]).datagrams).toEqual([bytes, flight]);
    }
  });
});

describe("a handshake", () => {
  test("is handed over with what the device has sent, under its identity and connection id, and ends here", () => {
    const { world, device, flight } = handed();
    const [passed] = world.passed;
    const { identity, begun, datagrams } = overOf(world, passed);
    expect([identity, passed?.from, begun.address]).toEqual(["dev1", device.address, device.address]);
    expect(datagrams).toEqual([flight]);
    expect(begun.cid).toHaveLength(8);
    const bytes = passed?.bytes ?? nothing;
    expect(isHandOver(bytes)).toBe(true);
    expect(world.door.clientIn(bytes)).toBe("dev1");
    expect(world.door.nodeOf(address, bytes)).toBe(`dtls/cid:${Buffer.from(begun.cid ?? nothing).toString("hex")}`);
    expect(world.door.report()).toMatchObject({ contexts: 0, handshakes: 0 });
  });

  test("without a connection id has the name of its address", () => {
    const world = new HandedWorld();
    world.start(world.device({ cidOctets: undefined }));
    world.run(100);
    const bytes = world.handOvers[0]?.bytes ?? nothing;
    expect(world.door.nodeOf(address, bytes)).toBe(address);
    expect(readHandedOverTo(bytes)).toEqual({ identity: "dev1", cid: undefined });
  });

  test("is handed over again, with its present age, when the device repeats its flight", () => {
    const { world, device } = handed();
    const first = overOf(world, world.passed[0]).begun;
    world.run(20_000);
    const all = world.handOvers.map((each) => overOf(world, each));
    expect(all.length).toBeGreaterThan(3);
    for (const { begun, datagrams, identity } of all) {
      expect(begun).toEqual({ ...first, ageMs: begun.ageMs });
      expect([datagrams.length, identity]).toEqual([1, "dev1"]);
    }
    world.heard(device.address, aside(1));
    const last = overOf(world, world.handOvers.at(-1)).begun;
    expect(last.ageMs - first.ageMs).toBeGreaterThanOrEqual(20_000);
    expect(last.ageMs - first.ageMs).toBeLessThan(20_100);
  });

  test("is not handed over after 63 s", () => {
    const { world, device, flight } = handed();
    const age = overOf(world, world.passed[0]).begun.ageMs;
    const count = () => world.handOvers.length;
    world.fate = () => [];
    world.run(63_000 - age - 100);
    const before = count();
    world.heard(device.address, flight);
    expect(count()).toBe(before + 1);
    world.run(200);
    for (let i = 0; i < 2; i++) world.heard(device.address, flight);
    expect(count()).toBe(before + 1);
  });

  test("that the device does not continue ends after 63 s", () => {
    const { world, device, flight } = begun();
    world.fate = () => [];
    world.run(64_000);
    expect(world.door.report()).toMatchObject({ handshakes: 0, counters: { handshakesExpired: 1 } });
    world.heard(device.address, flight);
    expect(world.handOvers).toEqual([]);
  });

  test("is not answered by a late copy of a ClientHello after it was handed over, with or without the cookie", () => {
    const { world, device } = handed();
    const before = [world.passed.length, world.toDevices.length];
    for (const { bytes } of world.sent.slice(0, 2)) world.heard(device.address, bytes);
    world.run(10);
    expect([world.passed.length, world.toDevices.length]).toEqual(before);
    expect(world.door.report().handshakes).toBe(0);
  });

  test("that begins anew at the same address is another one, with nothing of the earlier one", () => {
    const { world, flight } = handed();
    const again = world.start(world.device({ identity: "dev2" }, "10.0.0.1:5000"));
    world.run(100);
    const overs = world.handOvers.map((each) => overOf(world, each));
    expect(overs.map(({ identity }) => identity)).toEqual(["dev1", "dev2"]);
    expect(overs[1]?.datagrams).toEqual([world.sent.at(-1)?.bytes]);
    expect(overs[1]?.begun.serverRandom).not.toEqual(overs[0]?.begun.serverRandom);
    world.heard(again.address, flight);
    // The door cannot know that this flight is of the earlier handshake; the owner finds that its keys do not fit.
    expect(overOf(world, world.handOvers[2]).identity).toBe("dev2");
  });

  test("whose ClientHello comes beside an encrypted record is begun, and the record is passed on", () => {
    const world = new HandedWorld();
    const device = world.device();
    world.fate = () => [];
    world.start(device);
    const bytes = Uint8Array.of(...(world.sent[0]?.bytes ?? nothing), ...sealed(nothing, cid));
    world.heard(device.address, bytes);
    expect(world.passed).toEqual([{ from: device.address, bytes }]);
    expect(world.toDevices).toHaveLength(1);
  });
});

describe("limits", () => {
  test("what came for a handshake that the device has given up is not handed over with the next one", () => {
    const { world, device } = begun();
    world.heard(device.address, aside(40));
    const again = world.start(world.device({}, device.address.slice("dtls/".length)));
    world.run(100);
    expect(again.said).toEqual(["opened"]);
    const { datagrams } = overOf(world, world.handOvers[0]);
    expect(datagrams).toHaveLength(1);
    expect(world.door.report().handshakes).toBe(0);
  });

  test("12 datagrams of a device that has not said who it is are kept; its repetition brings what is missing", () => {
    const { world, device, flight } = begun();
    for (let i = 0; i < 11; i++) world.heard(device.address, aside(10 + i));
    world.heard(device.address, flight);
    expect(overOf(world, world.handOvers[0]).datagrams.map(({ length }) => length)).toEqual([
      ...Array.from({ length: 11 }, (_, i) => aside(10 + i).length),
      flight.length,
    ]);
    world.run(100);
    expect(device.said).toEqual(["opened"]);
    const full = begun();
    for (let i = 0; i < 20; i++) full.world.heard(full.device.address, aside(10));
    full.world.heard(full.device.address, full.flight);
    expect(overOf(full.world, full.world.handOvers[0]).datagrams).toEqual(Array(12).fill(aside(10)));
    full.world.run(500);
    expect(full.device.said).toEqual([]);
    full.world.run(1_000);
    expect(full.device.said).toEqual(["opened"]);
  });

  test("16,384 octets of them", () => {
    const { world, device, flight } = begun();
    const most = aside(16_384 - 25 - flight.length);
    world.heard(device.address, most);
    world.heard(device.address, aside(flight.length));
    world.heard(device.address, flight);
    expect(overOf(world, world.handOvers[0]).datagrams).toEqual([most, flight]);
    const second = begun();
    second.world.heard(second.device.address, aside(16_384 - 24 - flight.length));
    second.world.heard(second.device.address, second.flight);
    expect(overOf(second.world, second.world.handOvers[0]).datagrams).toHaveLength(1);
  });

  test("a handshake is handed over 100 times: each time costs more than the datagram of an attacker", () => {
    const { world, device, flight } = handed();
    for (let i = 0; i < 98; i++) world.heard(device.address, aside(1));
    world.heard(device.address, flight);
    expect(world.handOvers).toHaveLength(100);
    const before = world.door.report().counters.badRecords;
    for (let i = 0; i < 50; i++) world.heard(device.address, aside(1));
    world.heard(device.address, flight);
    expect(world.handOvers).toHaveLength(100);
    expect(world.door.report().counters.badRecords).toBe(before + 51);
    const again = world.start(world.device({}, "10.0.0.1:5000"));
    world.fate = () => [5];
    world.run(300);
    expect(again.said).toEqual(["opened"]);
  });

  test("what was kept for one handshake is not handed over with the next one at its address", () => {
    const { world, device } = begun();
    for (let i = 0; i < 12; i++) world.heard(device.address, aside(10));
    world.fate = () => [];
    world.run(64_000);
    world.fate = (way) => (way === "over" ? [] : [5]);
    world.start(world.device({}, "10.0.0.1:5000"));
    world.run(100);
    expect(overOf(world, world.handOvers[0]).datagrams).toEqual([world.sent.at(-1)?.bytes]);
  });

  test("ClientHellos beyond the limit are dropped and counted, the kernel is told, and a device gets in later", () => {
    const shares: string[] = [];
    const thinHellos = (first: number, second: number) => shares.push(`${first.toFixed(3)} ${second}`) > 0;
    const world = new HandedWorld({ options: { hellosPerSecondMax: 100 }, thinHellos });
    const idle = world.timers.size;
    world.fate = () => [];
    world.start(world.device());
    const hello = world.sent[0]?.bytes ?? nothing;
    for (let i = 0; i < 5_000; i++) world.heard(`dtls/192.0.2.1:${1_024 + i}`, hello);
    expect(world.toDevices).toHaveLength(10);
    expect(world.door.report().counters).toMatchObject({ hellosBeyond: 4_990, cookies: 10 });
    world.run(250);
    expect(shares).toEqual(["0.010 1"]);
    expect(world.told).toEqual([expect.stringMatching(/^dtls: a flood of \d+ ClientHellos a second/)]);
    world.fate = () => [5];
    const device = world.start(world.device({}, "10.0.0.7:1"));
    world.run(1_000);
    expect(device.said).toEqual(["opened"]);
    expect(shares.at(-1)).toBe("1.000 1");
    world.door.close();
    world.run(100_000);
    expect(world.timers.size).toBeLessThanOrEqual(idle + 1);
  });

  test("after its end the door handles nothing", () => {
    const { world, device, flight } = begun();
    world.door.close();
    for (const bytes of [flight, sealed(nothing, cid), sealed(nothing), world.sent[0]?.bytes ?? nothing])
      world.heard(device.address, bytes);
    const sent = world.toDevices.length;
    world.run(64_000);
    expect([world.passed.length, world.toDevices.length]).toEqual([0, sent]);
  });

  test("the time that a device may be silent, for the address book", () => {
    expect(new HandedWorld({ options: { idleDays: 30 } }).door.contextSeconds).toBe(31 * 86_400);
    expect(new HandedWorld({ options: { idleDays: 0.010001 } }).door.contextSeconds).toBe(87_265);
  });
});

describe("the seal", () => {
  const { world, flight } = handed();
  const over: HandedOver = { ...overOf(world, world.passed[0]), datagrams: [flight, nothing, aside(300)] };
  const seal = new HandOverSeal(Buffer.from("one fleet"));

  test("what is sealed is read, by all gateways of the fleet", () => {
    expect(new HandOverSeal(Buffer.from("one fleet")).opened(seal.sealed(over))).toEqual(over);
    const plain: HandedOver = { ...over, begun: { ...over.begun, cid: undefined }, datagrams: [] };
    expect(seal.opened(seal.sealed(plain))).toEqual(plain);
    expect(seal.sealed(over)).not.toEqual(seal.sealed(over));
  });

  test("another fleet cannot read it, and finds nothing of the handshake in it", () => {
    const bytes = seal.sealed(over);
    expect(new HandOverSeal(Buffer.from("another fleet")).opened(bytes)).toBeUndefined();
    const { serverRandom, transcript } = over.begun;
    for (const secret of [serverRandom, transcript.subarray(0, 30)])
      expect(Buffer.from(bytes).includes(Buffer.from(secret))).toBe(false);
  });

  test("with any bit changed it cannot be read; the device's datagrams are protected by themselves", () => {
    const end = seal.sealed({ ...over, datagrams: [] }).length;
    const bytes = seal.sealed(over);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const read = seal.opened(changed);
      if (bit < 8 * end) expect(read, `bit ${bit}`).toBeUndefined();
      else if (read) expect({ ...read, datagrams: [] }).toEqual({ ...over, datagrams: [] });
    }
  });

  test("cut off it cannot be read, unless whole datagrams are missing", () => {
    const bytes = seal.sealed(over);
    const lengths = [flight.length, 0, aside(300).length];
    const ends = [bytes.length, ...lengths.toReversed().map((length) => length + 2)];
    const whole = ends.map((_, i) => 2 * bytes.length - ends.slice(0, i + 1).reduce((sum, each) => sum + each, 0));
    for (let length = 0; length < bytes.length; length++)
      expect(seal.opened(bytes.subarray(0, length)) !== undefined, `${length}`).toBe(whole.includes(length));
  });

  test("any other octets are none, and throw nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const marked = Uint8Array.of(0, ...bytes);
        expect(seal.opened(marked)).toBeUndefined();
        readHandedOverTo(marked);
        expect(readHandedOverTo(Uint8Array.of(22, ...bytes))).toBeUndefined();
      }),
    );
    for (const bytes of [nothing, Uint8Array.of(0), Uint8Array.of(0, 0, 0, 0), Uint8Array.of(0, 0, 0, 1, 0xff)]) {
      expect(readHandedOverTo(bytes)).toBeUndefined();
      expect(seal.opened(bytes)).toBeUndefined();
    }
  });

  test("no record of DTLS begins as a hand-over", () => {
    for (const type of Object.values(contentTypes)) expect(isHandOver(plainRecord(type, 0, nothing))).toBe(false);
    expect(readRecord(seal.sealed(over), 0, 8)?.type ?? 0).toBe(0);
  });
});
