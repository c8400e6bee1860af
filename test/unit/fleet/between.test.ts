/** The socket between gateways: who is believed, and that nothing is taken twice. */
import { expect, test } from "vitest";
import type { FrontDropReason } from "../../../src/fleet/front-counters.ts";
import { clientOf, connect, FrontWorld, publish } from "../../helpers/front-world.ts";

const device = "192.0.2.7:4000";
const key = Buffer.from("a secret of the fleet's own");

async function two(options: ConstructorParameters<typeof FrontWorld>[0] = {}) {
  const world = new FrontWorld(options);
  const barn = await world.member("barn", []);
  const silo = await world.member("silo", [3]);
  const say = async (client = clientOf(3)) => {
    barn.udp.hear([device, connect(client)]);
    await world.turn();
  };
  const heard = () => silo.shards.get(3)?.heard.length;
  const dropped = (reason: FrontDropReason) => silo.front.counters.dropped[reason];
  const place = (name: string) => `10.0.0.${name.charCodeAt(0)}:9000`;
  return { world, barn, silo, say, heard, dropped, place };
}

test("with one key for all a frame is taken; with another, without one, or changed by one bit it is not", async () => {
  const keys: Record<string, Uint8Array | undefined> = { barn: key, silo: key };
  const { world, silo, say, heard, dropped } = await two({ key: (name) => keys[name] });
  await say();
  expect(heard()).toBe(1);
  keys["barn"] = Buffer.from("another");
  await say();
  keys["barn"] = undefined;
  await say();
  expect([heard(), dropped("bad-code")]).toEqual([1, 2]);
  expect(
    silo.said.filter((each) => each.includes("barn")),
    "said once",
  ).toHaveLength(1);
  keys["barn"] = key;
  await say();
  expect(heard()).toBe(2);
  const frame = world.net.frames.at(-1)?.frame;
  if (!frame) throw new Error("no frame");
  for (let bit = 0; bit < frame.length * 8; bit++) {
    world.net.weather = (whole) => {
      const changed = whole.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return [changed];
    };
    await say();
  }
  expect(heard(), "no changed frame was taken").toBe(2);
  world.net.weather = (whole) => [whole];
  await say();
  expect(heard(), "and none of them moved the window").toBe(3);
});

test("without a key that is said, at the start", async () => {
  const { silo } = await two();
  expect(silo.said.join()).toContain("must be private");
  const { silo: other } = await two({ key: () => key });
  expect(other.said.join()).not.toContain("must be private");
});

test("a frame that was recorded is taken no second time: not there, not at another gateway, not by a later run of the same", async () => {
  const { world, say, heard, dropped, place, silo } = await two({ key: () => key });
  const mill = await world.member("mill", [5]);
  await say();
  const frame = world.net.frames[0]?.frame ?? new Uint8Array();
  world.net.inject(place("barn"), place("silo"), frame);
  expect([heard(), dropped("repeated")]).toEqual([1, 1]);
  world.net.inject(place("barn"), place("mill"), frame);
  expect(mill.front.counters.dropped["other-run"]).toBe(1);
  for (let i = 0; i < 100; i++) await say();
  world.net.inject(place("barn"), place("silo"), frame);
  expect([heard(), dropped("repeated")]).toEqual([101, 2]);
  await silo.front.close();
  const again = await world.member("silo", [3], "its next run");
  world.net.inject(place("barn"), place("silo"), frame);
  expect(again.front.counters.dropped["other-run"]).toBe(1);
  await say();
  expect(again.shards.get(3)?.heard).toHaveLength(1);
});

test("frames that overtake each other are all taken, once each", async () => {
  const { world, say, heard, dropped, place } = await two();
  const held: Uint8Array[] = [];
  world.net.weather = (frame) => {
    held.push(frame);
    return [];
  };
  for (let i = 0; i < 40; i++) await say();
  for (const frame of [...held].reverse()) world.net.inject(place("barn"), place("silo"), frame);
  for (const frame of held) world.net.inject(place("barn"), place("silo"), frame);
  expect([heard(), dropped("repeated")]).toEqual([40, 40]);
});

test("frames to many gateways are numbered for each of them: what goes to others does not narrow the window", async () => {
  const { world, say, heard, dropped, place } = await two();
  for (const [name, shard] of [
    ["mill", 5],
    ["yard", 7],
    ["well", 9],
  ] as const)
    await world.member(name, [shard]);
  const held: Uint8Array[] = [];
  world.net.weather = (frame, _from, to) => {
    if (to === place("silo")) held.push(frame);
    return [];
  };
  for (let i = 0; i < 40; i++) for (const shard of [3, 5, 7, 9]) await say(clientOf(shard));
  for (const frame of held.reverse()) world.net.inject(place("barn"), place("silo"), frame);
  expect([heard(), dropped("repeated")]).toEqual([40, 0]);
});

test("only from the address of a living gateway, as it is now", async () => {
  const { world, barn, say, heard, dropped, place } = await two();
  await say();
  const frame = world.net.frames[0]?.frame ?? new Uint8Array();
  world.net.inject("10.9.9.9:9000", place("silo"), frame);
  world.net.inject("10.0.0.98:9001", place("silo"), frame);
  expect(dropped("stranger")).toBe(2);
  world.dead("barn");
  await say();
  expect([heard(), dropped("stranger")]).toEqual([1, 3]);
  world.alive("barn", { name: "barn", run: "another run", place: place("barn"), version: "1", isDraining: false });
  await say();
  expect([heard(), dropped("other-run")]).toEqual([1, 1]);
  world.alive("barn", { name: "barn", run: "run of barn", place: place("barn"), version: "1", isDraining: false });
  world.net.inject(place("barn"), place("silo"), frame);
  expect(dropped("repeated"), "who was away for a while comes back with its window").toBe(1);
  await say();
  expect(heard()).toBe(2);
  expect(barn.front.counters.dropped["no-owner"]).toBe(0);
});

test("an IPv6 address is the same however it is written", async () => {
  const { world, silo, place } = await two();
  world.alive("barn", {
    name: "barn",
    run: "run of barn",
    place: "[2001:DB8:0::1]:9000",
    version: "1",
    isDraining: false,
  });
  world.net.inject("[2001:db8::1]:9000", place("silo"), new Uint8Array(60));
  expect(silo.front.counters.dropped["bad-frame"]).toBe(1);
});

test("garbage from a member ends nothing: it is counted", async () => {
  const { world, say, heard, silo, place } = await two();
  await say();
  const frame = world.net.frames[0]?.frame ?? new Uint8Array();
  let more = 2;
  for (let length = 0; length < frame.length; length++) {
    const cut = frame.slice(0, length);
    if (length > 22) cut[22] = more++;
    world.net.inject(place("barn"), place("silo"), cut);
  }
  for (let i = 0; i < 500; i++) {
    const changed = frame.slice();
    changed.set([0, 0, 0, 1, i >> 8, i & 255], 17);
    changed[23 + (i % (frame.length - 23))] = (i * 7919) & 255;
    world.net.inject(place("barn"), place("silo"), changed);
  }
  const { dropped } = silo.front.counters;
  expect(dropped["bad-frame"]).toBeGreaterThan(100);
  const before = heard() ?? 0;
  world.net.inject(place("barn"), place("silo"), frame);
  expect(heard()).toBe(before);
});

test("a frame with many datagrams fits an Ethernet; a long one goes alone, and one that fits no datagram is dropped", async () => {
  const { world, barn, heard } = await two();
  barn.udp.hear(...Array.from({ length: 60 }, (_, n) => [`192.0.2.1:${n + 1}`, connect(clientOf(3))] as const));
  await world.turn();
  expect(heard()).toBe(60);
  expect(world.net.frames.length).toBeLessThan(4);
  for (const { frame } of world.net.frames) expect(frame.length).toBeLessThanOrEqual(1_400);
  barn.udp.hear(
    ["192.0.2.1:1", publish(0, "x".repeat(3_000))],
    ["192.0.2.1:1", publish(0, "y")],
    ["192.0.2.1:1", publish(0, "x".repeat(65_450))],
  );
  await world.turn();
  expect(heard()).toBe(62);
  expect(barn.front.counters.dropped["cannot-pass-on"]).toBe(1);
});

test("what is sent between leaves when the turn ends, and at the latest when the front closes", async () => {
  const { world, barn, silo, say } = await two();
  await say();
  const port = silo.shards.get(3)?.port;
  port?.send(`udp/${device}`, publish(0, "bye"));
  expect(barn.udp.sent).toEqual([]);
  await silo.front.close();
  expect(barn.udp.sent).toHaveLength(1);
  port?.send(`udp/${device}`, publish(0, "after"));
  await world.turn();
  expect(barn.udp.sent).toHaveLength(1);
});
