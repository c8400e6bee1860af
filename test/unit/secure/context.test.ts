/** What a device has of its context: another address, sleep, our restarts, a new key. [RFC 9146; RFC 6347 4.1.2.6, 4.2.8] */
import { describe, expect, test } from "vitest";
import { SecureWorld, testKey, type WorldDevice } from "../../helpers/secure-world.ts";

function opened(world: SecureWorld, options = {}): WorldDevice {
  const device = world.start(world.device(options));
  world.run(200);
  expect(device.said).toEqual(["opened"]);
  return device;
}

test("a device at a new address goes on without a handshake, and answers follow it", () => {
  const world = new SecureWorld();
  const device = opened(world, { cidOctets: 4 });
  const before = world.datagrams.up;
  device.address = "192.168.7.7:40000";
  world.send(device, "here now");
  world.run(100);
  world.answer("dev1", "seen");
  world.run(100);
  expect(world.delivered).toEqual(["dev1: here now"]);
  expect(device.got).toEqual(["seen"]);
  expect(world.datagrams.up - before).toBe(1);
  expect(world.server.counters.moved).toBe(1);
  expect(world.server.addressOf("dev1")).toBe("192.168.7.7:40000");
});

test("without connection ids it has to shake hands again", () => {
  const world = new SecureWorld();
  const device = opened(world, { cidOctets: undefined });
  device.address = "192.168.7.7:40000";
  world.send(device, "here now");
  world.run(100);
  expect(world.delivered).toEqual([]);
});

test("an old record from elsewhere is taken, and moves nothing; a copy is not even taken", () => {
  const world = new SecureWorld();
  const device = opened(world);
  const home = device.address;
  const caught: Uint8Array[] = [];
  world.fate = (way, _count, bytes) => {
    if (way === "up") caught.push(bytes);
    return [];
  };
  world.send(device, "held back");
  world.fate = () => [5];
  world.send(device, "newer");
  world.run(100);
  const [bytes = new Uint8Array(0)] = caught;
  for (let i = 0; i < 2; i++) world.input({ kind: "datagram", address: "6.6.6.6:6", bytes });
  expect(world.delivered).toEqual(["dev1: newer", "dev1: held back"]);
  expect(world.server.addressOf("dev1")).toBe(home);
  expect(world.server.counters).toMatchObject({ replays: 1, moved: 0 });
});

test("who has an id must use it: a bare record of its keys is dropped [RFC 9146 3]", () => {
  const world = new SecureWorld();
  const device = opened(world);
  world.fate = (way, _count, bytes) => (way === "up" && bytes[0] === 25 ? [] : [5]);
  world.send(device, "lost");
  const bare = Uint8Array.from([23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 20, ...new Uint8Array(20)]);
  world.input({ kind: "datagram", address: device.address, bytes: bare });
  expect(world.server.counters.badRecords).toBe(1);
});

describe("a restart", () => {
  test.each([4, undefined])("is not noticed by the device (ids: %s)", (cidOctets) => {
    const world = new SecureWorld();
    const device = opened(world, { cidOctets });
    world.send(device, "before");
    world.run(2_000);
    world.restart();
    const before = world.datagrams.up;
    world.send(device, "after");
    world.answer("dev1", "still here");
    world.run(100);
    expect(world.delivered).toEqual(["dev1: before", "dev1: after"]);
    expect(device.got).toEqual(["still here"]);
    expect(world.datagrams.up - before).toBe(1);
    expect(world.judge.twice).toEqual([]);
  });

  test("what came before it, and was stored, is not taken again; of the last second it may be, once", () => {
    const world = new SecureWorld();
    const device = opened(world);
    const caught: Uint8Array[] = [];
    world.fate = (way, _count, bytes) => {
      if (way === "up") caught.push(bytes);
      return [5];
    };
    world.send(device, "one");
    world.run(1_100);
    world.restart();
    for (const bytes of caught) world.input({ kind: "datagram", address: device.address, bytes });
    expect(world.delivered).toEqual(["dev1: one"]);
    expect(world.server.counters.replays).toBe(1);
  });

  test("an orderly one stores the last second too", () => {
    const world = new SecureWorld();
    const device = opened(world);
    const caught: Uint8Array[] = [];
    world.fate = (way, _count, bytes) => {
      if (way === "up") caught.push(bytes);
      return [5];
    };
    world.send(device, "one");
    world.run(10);
    world.input({ kind: "stop" });
    world.run(10);
    world.restart();
    for (const bytes of caught) world.input({ kind: "datagram", address: device.address, bytes });
    expect(world.delivered).toEqual(["dev1: one"]);
  });

  test("with other lengths of ids, or with what is no record, costs a handshake and nothing else", () => {
    const world = new SecureWorld();
    opened(world);
    const [record = new Uint8Array(0)] = world.store.values();
    const changed = new SecureWorld({ cidOctets: 6 });
    for (let length = 0; length <= record.length; length++)
      changed.input({ kind: "restored", records: [record.subarray(0, length)] });
    expect(changed.server.size).toBe(0);
  });
});

describe("a ceiling that cannot be stored", () => {
  test("stops the sending; when it can, what waits leaves", () => {
    const world = new SecureWorld();
    const device = opened(world);
    world.storeMs = undefined;
    for (let i = 0; i < 3_000; i++) world.answer("dev1", `${i}`);
    world.run(100);
    expect(device.got).toHaveLength(1_023); // of the first 1,024 one was for Finished
    expect(world.server.counters.unsent).toBe(3_000 - 1_023 - 16);
  });

  test("that is refused is asked for again", () => {
    const world = new SecureWorld();
    const device = opened(world);
    world.storeOk = false;
    for (let i = 0; i < 1_030; i++) world.answer("dev1", `${i}`);
    world.run(100);
    expect(device.got).toHaveLength(1_023);
    world.storeOk = true;
    world.answer("dev1", "last");
    world.run(100);
    expect(device.got.at(-1)).toBe("last");
    expect(device.got).toHaveLength(1_031);
    expect(world.judge.twice).toEqual([]);
  });
});

describe("a new handshake of a known identity", () => {
  test("takes the place of the old context when it is finished, and not before", () => {
    const world = new SecureWorld();
    const old = opened(world);
    world.fate = (way, _count, bytes) => (way === "up" && bytes[13] === 16 ? [] : [5]);
    const fresh = world.start(world.device({}, "10.0.0.2:5000"));
    world.run(500);
    world.send(old, "still me");
    world.run(50);
    expect(world.delivered).toEqual(["dev1: still me"]);
    world.fate = () => [5];
    world.run(3_000);
    expect(fresh.said).toEqual(["opened"]);
    world.answer("dev1", "to whom?");
    world.run(50);
    expect([old.got, fresh.got]).toEqual([[], ["to whom?"]]);
    expect(world.server.size).toBe(1);
  });

  test("also from the same address, with and without ids", () => {
    for (const cidOctets of [0, undefined]) {
      const world = new SecureWorld();
      const old = opened(world, { cidOctets });
      world.send(old, "one");
      world.run(50);
      world.devices.length = 0;
      const fresh = world.start(world.device({ cidOctets }, old.address));
      world.run(3_000);
      expect(fresh.said).toEqual(["opened"]);
      world.send(fresh, "two");
      world.run(50);
      expect(world.delivered).toEqual(["dev1: one", "dev1: two"]);
    }
  });

  test("with a wrong key leaves the old context as it is", () => {
    const world = new SecureWorld();
    const old = opened(world, { cidOctets: undefined });
    world.devices.length = 0;
    world.start(world.device({ cidOctets: undefined, key: Buffer.alloc(16, 1) }, old.address));
    world.run(5_000);
    world.devices.push(old);
    world.send(old, "still me");
    world.run(50);
    expect(world.delivered).toEqual(["dev1: still me"]);
  });
});

describe("two handshakes of one device", () => {
  /** What the gateway stored last is what its next run has: of whom the device is now. */
  test("while the new context is on its way to the store, nothing of the old one is put over it", () => {
    for (const goodbye of [false, true]) {
      const world = new SecureWorld({ storeTopEveryMs: 50 });
      const old = opened(world);
      world.storeMs = 300;
      const fresh = world.start(world.device({}, "10.0.0.2:5000"));
      world.run(20);
      world.send(old, "heard meanwhile");
      for (let i = 0; i < 600; i++) world.answer("dev1", "numbers are needed");
      world.run(60);
      if (goodbye) world.close(old);
      world.run(2_000);
      expect(fresh.said).toEqual(["opened"]);
      world.restart();
      world.send(fresh, "after");
      world.run(100);
      expect(world.delivered.at(-1)).toBe("dev1: after");
    }
  });

  test("if the new one cannot be stored, the old one is what is stored", () => {
    const world = new SecureWorld();
    const old = opened(world);
    world.storeMs = 300;
    const fresh = world.start(world.device({}, "10.0.0.2:5000"));
    world.run(100);
    world.storeOk = false;
    world.run(250);
    world.storeOk = true;
    expect(fresh.said).toEqual([]);
    world.send(old, "still me");
    world.run(2_000);
    world.restart();
    world.send(old, "and now");
    world.run(100);
    expect(world.delivered).toEqual(["dev1: still me", "dev1: and now"]);
  });

  test("the one that began later is the device, also if the other ends later", () => {
    const world = new SecureWorld();
    // Its last flight arrives when the device, restarted at another address, has had a new context for a long time.
    world.fate = (way, _count, bytes, address) =>
      way === "up" && address === "10.0.0.1:5000" && bytes[13] === 16 ? [3_000] : [5];
    world.start(world.device());
    world.run(50);
    world.devices.length = 0;
    const fresh = world.start(world.device({}, "10.0.0.2:5000"));
    world.run(5_000);
    expect(fresh.said).toEqual(["opened"]);
    world.send(fresh, "it is me");
    world.run(100);
    expect(world.delivered).toEqual(["dev1: it is me"]);
  });
});

describe("the end of a context", () => {
  test("a removed key: the device hears of it, and nothing is stored any more", () => {
    const world = new SecureWorld();
    const device = opened(world);
    world.keys.delete("dev1");
    for (const identity of world.server.strangers(() => [])) world.input({ kind: "forget", identity });
    world.run(50);
    expect(device.said).toEqual(["opened", "closed: the gateway ended it (alert 49)"]);
    expect([world.server.size, world.store.size]).toEqual([0, 0]);
  });

  test("a key that is another now, a key that stayed: also after a restart", () => {
    const world = new SecureWorld();
    opened(world);
    world.restart();
    expect(world.server.strangers(() => [testKey])).toEqual([]);
    expect(world.server.strangers(() => [Buffer.alloc(16)])).toEqual(["dev1"]);
  });

  test("the device says goodbye", () => {
    const world = new SecureWorld();
    const device = opened(world);
    world.close(device);
    world.run(50);
    expect(world.effects).toContainEqual({ kind: "closed", identity: "dev1", reason: "the device ended it" });
    expect([world.server.size, world.store.size]).toEqual([0, 0]);
  });

  test("silence for a month; and the one that was silent for longest where there are too many", () => {
    const world = new SecureWorld({ contextsMax: 2, idleMs: 100_000 });
    for (const identity of ["a", "b", "c"]) {
      world.keys.set(identity, testKey);
      world.start(world.device({ identity }));
      world.run(1_000);
    }
    expect(world.effects).toContainEqual({ kind: "closed", identity: "a", reason: "too many" });
    world.run(200_000);
    expect(world.effects).toContainEqual({ kind: "closed", identity: "b", reason: "it was idle" });
    expect([world.server.size, world.store.size]).toEqual([0, 0]);
    expect(world.server.nextDeadline()).toBeUndefined();
  });
});
