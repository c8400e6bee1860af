/**
 * The front of a fleet behind a door: encrypted datagrams find their gateway by connection id or address, and change
 * nothing before this gateway has found that the device itself sent them.
 */
import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import { Port } from "../../../src/fleet/port.ts";
import type { Door, DoorEdges } from "../../../src/transports/door.ts";
import { clientOf, FakeTransport, hex, type ShardHere, twoGateways } from "../../helpers/front-world.ts";

const contextSeconds = 30 * 86_400;

/**
 * A door without cryptography. A device sends `cid`, `bare`, or `hello`, after which it is handed over; the first octets
 * are those of DTLS.
 */
class FakeDoor implements Door {
  readonly contextSeconds: number;
  isClosed = false;
  edges: DoorEdges | undefined;

  constructor(seconds = contextSeconds) {
    this.contextSeconds = seconds;
  }

  start(edges: DoorEdges): void {
    this.edges = edges;
  }

  heard(from: PeerId, bytes: Uint8Array): void {
    if (bytes[0] === 22) this.edges?.pass(from, Uint8Array.of(0, ...bytes.subarray(1)));
    else if (bytes[0] !== 0) this.edges?.pass(from, bytes);
  }

  nodeOf(from: PeerId, bytes: Uint8Array): PeerId {
    const [type, id = 0] = bytes;
    return type === 25 || (type === 0 && id > 0) ? `dtls/cid:${hex(Uint8Array.of(id))}` : from;
  }

  clientIn(bytes: Uint8Array): string | undefined {
    return bytes[0] === 0 ? Buffer.from(bytes.subarray(2)).toString() : undefined;
  }

  close(): void {
    this.isClosed = true;
  }
}

const withCid = (id: number, text = "") => Uint8Array.of(25, id, ...Buffer.from(text));
const bare = (text = "") => Uint8Array.of(23, 0, ...Buffer.from(text));
/** `id` 0: without connection id. */
const hello = (identity: string, id = 0) => Uint8Array.of(22, id, ...Buffer.from(identity));
const handOver = (identity: string, id = 0) => Uint8Array.of(0, id, ...Buffer.from(identity));
const answer = Uint8Array.of(23, 9, 9);

const device = "192.0.2.7:4000";
const peer: PeerId = `dtls/${device}`;
const cid7 = "dtls/cid:07";

async function fleet(options: Parameters<typeof twoGateways>[0] & { seconds?: number } = {}) {
  const doors = new Map<string, FakeDoor>();
  const made = await twoGateways({
    transports: () => [new FakeTransport("dtls")],
    doors: (name) => {
      const door = new FakeDoor(options.seconds);
      doors.set(name, door);
      return new Map([["dtls", door]]);
    },
    ...options,
  });
  const { shardOf, world } = made;
  /** The gateway of this shard proves, or does not, what it hears from now on. */
  const proves = (shard: number, isProved = true) => {
    const own = shardOf(shard);
    own.hears = () => void (isProved && portOf(own).proved());
  };
  /** What the gateway of a shard sends to the device, and by whom it leaves. */
  const answers = async (shard: number, to: PeerId = peer) => {
    const before = new Map([...world.fronts].map(([name, { udp }]) => [name, udp.sent.length]));
    shardOf(shard).port.send(to, answer);
    await world.turn();
    return [...world.fronts].flatMap(([name, { udp }]) =>
      udp.sent.slice(before.get(name)).map(({ to: receiver }) => `${name} to ${receiver}`),
    );
  };
  const dropped = (name: string) =>
    Object.fromEntries(
      Object.entries(world.fronts.get(name)?.front.counters.dropped ?? {}).filter(([, count]) => count > 0),
    );
  return { ...made, doors, proves, answers, dropped };
}

function portOf({ port }: ShardHere): Port {
  if (!(port instanceof Port)) throw new Error("a shard has a port of the front");
  return port;
}

const keep = (world: { book: { kept: Map<string, { shard: number; front: string }> } }, entries: object) => {
  for (const [name, [shard, front]] of Object.entries(entries)) world.book.kept.set(name, { shard, front });
};

describe("a record", () => {
  test("with an unknown connection id is looked up twice, then dropped for a second without a look-up", async () => {
    const { world, barn, silo, dropped } = await fleet();
    barn.udp.hear([device, withCid(7, "a")], [device, withCid(7, "b")]);
    await world.turn();
    expect(world.book.asked).toEqual([cid7]);
    await world.time.pass(151);
    expect(world.book.asked).toEqual([cid7, cid7]);
    expect(dropped("barn")).toEqual({ "no-context": 2 });
    barn.udp.hear([device, withCid(7, "c")]);
    await world.turn();
    expect(dropped("barn")).toEqual({ "no-context": 3 });
    expect(world.book.asked).toHaveLength(2);
    for (const { shards } of [barn, silo]) for (const { heard } of shards.values()) expect(heard).toEqual([]);
    expect([barn.udp.sent, silo.udp.sent, world.book.writes]).toEqual([[], [], []]);
    await world.time.pass(1_001);
    keep(world, { [cid7]: [2, "silo"] });
    barn.udp.hear([device, withCid(7, "d")]);
    await world.turn();
    expect(barn.shards.get(2)?.heard).toHaveLength(1);
  });

  test("without one, from an unknown address, is dropped likewise", async () => {
    const { world, barn, dropped } = await fleet();
    barn.udp.hear([device, bare()]);
    await world.turn();
    await world.time.pass(151);
    expect(world.book.asked).toEqual([peer, peer]);
    expect(dropped("barn")).toEqual({ "no-context": 1 });
  });

  test("with a known connection id reaches its gateway by any other one, from any address, and is looked up once", async () => {
    const { world, barn, silo, shardOf } = await fleet();
    keep(world, { [cid7]: [3, "silo"] });
    barn.udp.hear([device, withCid(7, "a")]);
    await world.turn();
    barn.udp.hear(["192.0.2.9:1", withCid(7, "b")]);
    await world.turn();
    expect(shardOf(3).heard).toEqual([`${peer} ${hex(withCid(7, "a"))}`, `dtls/192.0.2.9:1 ${hex(withCid(7, "b"))}`]);
    expect(world.book.asked).toEqual([cid7]);
    expect(silo.front.counters.takenUp).toBe(2);
  });

  test("for a shard without an owner, or that is not served yet, is dropped", async () => {
    const { world, barn, dropped, shardOf } = await fleet();
    keep(world, { [cid7]: [9, "silo"], "dtls/cid:08": [2, "barn"] });
    await shardOf(2).port.close();
    barn.udp.hear([device, withCid(7)], [device, withCid(8)]);
    await world.turn();
    expect(dropped("barn")).toEqual({ "no-owner": 1, "not-serving": 1 });
  });

  test("is dropped if the book fails, or says nothing in time", async () => {
    const { world, barn, dropped } = await fleet();
    world.book.isAway = true;
    barn.udp.hear([device, withCid(7)]);
    await world.turn();
    expect(dropped("barn")).toEqual({ "look-up-failed": 1 });
    world.book.gate = new Promise(() => {});
    barn.udp.hear([device, withCid(7)]);
    await world.time.pass(2_001);
    expect(dropped("barn")).toEqual({ "look-up-failed": 1, "look-up-late": 1 });
  });

  test("waits in a room with limits", async () => {
    const room = { perAddressMax: 2, addressesMax: 3, octetsMax: 1_000 };
    const { world, barn, dropped } = await fleet({ parts: { room } });
    world.book.gate = new Promise(() => {});
    for (const text of ["a", "b", "c"]) barn.udp.hear([device, withCid(7, text)]);
    barn.udp.hear(["192.0.2.9:1", withCid(7, "from another address, with the same id")]);
    expect(dropped("barn")).toEqual({ "look-up-full": 2 });
    for (const id of [8, 9, 10]) barn.udp.hear([device, withCid(id)]);
    expect(dropped("barn")).toEqual({ "look-up-full": 3 });
    barn.udp.hear([device, withCid(8, "x".repeat(600))]);
    expect(dropped("barn")).toEqual({ "look-up-full": 4 });
    expect(barn.front.waiting.addresses).toBe(3);
    await world.turn();
  });
});

describe("before the gateway of the shard has proved a record", () => {
  test("nothing is learnt from it: answers go by the gateway that had the device before, and the book stays", async () => {
    const { world, barn, silo, answers } = await fleet();
    keep(world, { [cid7]: [3, "silo"], [peer]: [3, ""] });
    expect(await answers(3)).toEqual([`silo to ${peer}`]);
    for (const front of [barn, silo, barn]) {
      front.udp.hear([device, withCid(7)], [device, bare()]);
      await world.turn();
      expect(await answers(3)).toEqual([`silo to ${peer}`]);
    }
    expect(world.book.writes).toEqual([]);
  });

  test("a copy that an attacker sends by another gateway takes no answer away", async () => {
    const { world, barn, silo, proves, answers } = await fleet();
    keep(world, { [cid7]: [3, "silo"] });
    proves(3);
    silo.udp.hear([device, withCid(7)]);
    await world.turn();
    const written = [...world.book.writes];
    proves(3, false);
    barn.udp.hear([device, withCid(7)], ["192.0.2.66:6", withCid(7)]);
    await world.turn();
    expect(await answers(3)).toEqual([`silo to ${peer}`]);
    expect(world.book.writes).toEqual(written);
  });

  test("also not where both are at the same gateway", async () => {
    const { world, silo, answers } = await fleet();
    keep(world, { [cid7]: [3, "silo"], [peer]: [3, "barn"] });
    silo.udp.hear([device, withCid(7)]);
    await world.turn();
    expect(await answers(3)).toEqual([`barn to ${peer}`]);
  });
});

describe("when it has proved it,", () => {
  test("answers go by the new front, and the book has both names, for as long as the context may be silent", async () => {
    const { world, barn, silo, proves, answers } = await fleet();
    keep(world, { [cid7]: [3, "silo"], [peer]: [3, "silo"] });
    proves(3);
    barn.udp.hear([device, withCid(7)]);
    await world.turn();
    expect(world.book.writes).toEqual([`${cid7} 3 barn ${contextSeconds}`, `${peer} 3 barn ${contextSeconds}`]);
    expect(await answers(3)).toEqual([`barn to ${peer}`]);
    expect(world.book.asked).toEqual([cid7]);
    // From another address, by the owner's own transport.
    silo.udp.hear(["192.0.2.9:1", withCid(7)]);
    await world.turn();
    expect(await answers(3, "dtls/192.0.2.9:1")).toEqual(["silo to dtls/192.0.2.9:1"]);
    expect(world.book.writes.slice(2)).toEqual([`dtls/192.0.2.9:1 3 silo ${contextSeconds}`]);
    await world.time.pass(60_001);
    silo.udp.hear(["192.0.2.9:1", withCid(7)]);
    await world.turn();
    expect(world.book.writes.slice(3), "the gateway of a connection id, once a minute").toEqual([
      `${cid7} 3 silo ${contextSeconds}`,
    ]);
  });

  test("without a connection id there is one name", async () => {
    const { world, barn, proves } = await fleet();
    keep(world, { [peer]: [3, "silo"] });
    proves(3);
    barn.udp.hear([device, bare()]);
    await world.turn();
    barn.udp.hear([device, bare()]);
    await world.turn();
    expect(world.book.writes).toEqual([`${peer} 3 barn ${contextSeconds}`]);
  });

  test("the entry is written again once a day, and at once by a gateway that has just got the shard", async () => {
    const { world, barn, silo, proves } = await fleet();
    keep(world, { [peer]: [3, "silo"] });
    proves(3);
    const hears = async () => {
      silo.udp.hear([device, bare()]);
      await world.turn();
    };
    await hears();
    await world.time.pass(24 * 3_600_000);
    await hears();
    expect(world.book.writes).toHaveLength(1);
    await world.time.pass(1);
    await hears();
    expect(world.book.writes).toHaveLength(2);
    await silo.shards.get(3)?.port.close();
    const moved = await world.own(barn, 3);
    moved.hears = () => portOf(moved).proved();
    await hears();
    expect(world.book.writes.slice(2)).toEqual([`${peer} 3 silo ${contextSeconds}`]);
  });

  test("the entry is there for as long as the device talks, also if contexts may be silent for a short time only", async () => {
    const seconds = 864;
    const { world, silo, proves } = await fleet({ seconds });
    keep(world, { [peer]: [3, "silo"] });
    proves(3);
    let writes = 0;
    let writtenAt = 0;
    for (let now = 0; now < 4 * seconds; now += 100) {
      silo.udp.hear([device, bare()]);
      await world.turn();
      if (world.book.writes.length > writes) writtenAt = now;
      writes = world.book.writes.length;
      expect(now - writtenAt, "seconds since it was written").toBeLessThan(seconds - 100);
      await world.time.pass(100_000);
    }
    expect(writes).toBeLessThan(12);
  });

  test("a proof outside of a datagram means nothing", async () => {
    const { world, silo, shardOf } = await fleet();
    keep(world, { [peer]: [3, "silo"] });
    silo.udp.hear([device, bare()]);
    await world.turn();
    expect(shardOf(3).heard).toHaveLength(1);
    portOf(shardOf(3)).proved();
    await world.turn();
    expect(world.book.writes).toEqual([]);
  });
});

describe("a handshake that is handed over", () => {
  test.each([0, 7])("goes to the shard of its identity, and answers go back at once (id: %s)", async (id) => {
    const { world, barn, silo, shardOf, answers } = await fleet();
    const identity = clientOf(3);
    barn.udp.hear([device, hello(identity, id)]);
    await world.turn();
    expect(shardOf(3).heard).toEqual([`${peer} ${hex(handOver(identity, id))}`]);
    expect(await answers(3)).toEqual([`barn to ${peer}`]);
    const record = id === 0 ? bare() : withCid(id);
    barn.udp.hear([device, record]);
    await world.turn();
    expect(shardOf(3).heard).toHaveLength(2);
    expect([world.book.asked, world.book.writes], "the book has nothing before a proof").toEqual([[], []]);
    // Another gateway does not know it yet, and that of the shard not before a proof.
    silo.udp.hear([device, record]);
    await world.turn();
    expect(world.book.asked).toEqual([id === 0 ? peer : cid7]);
  });

  test("by the gateway of the shard itself needs no other", async () => {
    const { world, silo, shardOf, answers } = await fleet();
    silo.udp.hear([device, hello(clientOf(3), 7)]);
    await world.turn();
    expect(shardOf(3).heard).toHaveLength(1);
    expect(await answers(3)).toEqual([`silo to ${peer}`]);
    expect(world.net.frames).toEqual([]);
  });

  test("brings the device to the shard of its new identity, when another one was at its address", async () => {
    const { world, barn, shardOf, proves } = await fleet();
    keep(world, { [peer]: [3, "barn"] });
    proves(3);
    barn.udp.hear([device, bare()]);
    await world.turn();
    barn.udp.hear([device, hello(clientOf(2))]);
    await world.turn();
    barn.udp.hear([device, bare("new")]);
    await world.turn();
    expect(shardOf(3).heard).toHaveLength(1);
    expect(shardOf(2).heard.at(-1)).toBe(`${peer} ${hex(bare("new"))}`);
  });

  test("has the new shard in the book as soon as it is proved, also if it is of the same gateway", async () => {
    const { world, barn, proves } = await fleet();
    keep(world, { [peer]: [2, "barn"] });
    for (const shard of [2, 4]) proves(shard);
    barn.udp.hear([device, bare()]);
    await world.turn();
    for (const datagram of [hello(clientOf(4)), bare("new")]) {
      barn.udp.hear([device, datagram]);
      await world.turn();
    }
    expect(world.book.writes).toEqual([`${peer} 2 barn ${contextSeconds}`, `${peer} 4 barn ${contextSeconds}`]);
  });

  test("is accepted from no device, and from no gateway with another key", async () => {
    const { world, barn, silo, shardOf, answers, dropped } = await fleet({
      key: (name) => Buffer.from(name === "barn" ? "one" : "another"),
    });
    barn.udp.hear([device, handOver(clientOf(2), 7)], [device, handOver(clientOf(3), 7)]);
    await world.turn();
    expect(world.net.frames).toEqual([]);
    barn.udp.hear([device, hello(clientOf(3), 7)]);
    await world.turn();
    expect(world.net.frames).toHaveLength(1);
    expect(dropped("silo")).toEqual({ "bad-code": 1 });
    for (const shard of [2, 3]) expect(shardOf(shard).heard).toEqual([]);
    expect(await answers(3), "silo has learnt nothing").toEqual([`silo to ${peer}`]);
    expect(world.book.writes).toEqual([]);
    expect(silo.front.counters.takenUp).toBe(0);
  });

  test("is dropped if nobody owns the shard, and the device begins or repeats", async () => {
    const { world, barn, dropped } = await fleet();
    barn.udp.hear([device, hello(clientOf(9))]);
    await world.turn();
    expect(dropped("barn")).toEqual({ "no-owner": 1 });
  });
});

test("what the door itself says leaves by the gateway that the device wrote to", async () => {
  const { world, barn, silo, proves, doors } = await fleet();
  keep(world, { [peer]: [3, "silo"] });
  proves(3);
  silo.udp.hear([device, bare()]);
  await world.turn();
  doors.get("barn")?.edges?.send(peer, answer);
  await world.turn();
  expect(barn.udp.sent).toEqual([{ to: peer, bytes: answer }]);
  expect(silo.udp.sent).toEqual([]);
});

test("the doors are closed with the front, and nothing is heard any more", async () => {
  const { world, barn, doors } = await fleet();
  await barn.front.close();
  expect([doors.get("barn")?.isClosed, doors.get("silo")?.isClosed]).toEqual([true, false]);
  barn.udp.hear([device, withCid(7)]);
  await world.turn();
  expect(world.book.asked).toEqual([]);
});
