/** Any gateway of a fleet takes any datagram: whose it is, how it gets there, and how the answer gets back. */
import { expect, test } from "vitest";
import {
  accepted,
  clientOf,
  connect,
  datagram,
  device,
  FakeTransport,
  FrontWorld,
  hex,
  peer,
  pingReq,
  pingResp,
  publish,
  twoGateways as two,
} from "../../helpers/front-world.ts";

test("a CONNECT goes to the shard of its client id, here or at another gateway, and the peer is the device's own", async () => {
  const { world, barn, silo, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))], ["192.0.2.8:1", connect(clientOf(3))]);
  await world.turn();
  expect(shardOf(2).heard).toEqual([`${peer} ${hex(connect(clientOf(2)))}`]);
  expect(shardOf(3).heard).toEqual([`udp/192.0.2.8:1 ${hex(connect(clientOf(3)))}`]);
  expect(barn.front.counters.passedOn).toBe(1);
  expect(silo.front.counters.takenUp).toBe(1);
});

test("an answer leaves by the gateway that was asked, and by no other", async () => {
  const { world, barn, silo, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  shardOf(3).port.send(peer, accepted);
  await world.turn();
  expect(barn.udp.sent).toEqual([{ to: peer, bytes: accepted }]);
  expect(silo.udp.sent).toEqual([]);
  silo.udp.hear([device, pingReq()]);
  await world.turn();
  shardOf(3).port.send(peer, pingResp);
  await world.turn();
  expect(silo.udp.sent).toEqual([{ to: peer, bytes: pingResp }]);
  expect(barn.udp.sent).toHaveLength(1);
});

test("a device that talks to one gateway and then to another needs no CONNECT: the address book knows its shard", async () => {
  const { world, barn, silo, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))]);
  await world.turn();
  shardOf(2).port.send(peer, accepted);
  expect(world.book.writes).toEqual([`${peer} 2 barn`]);
  silo.udp.hear([device, publish(1, "a")], [device, publish(1, "b")]);
  await world.turn();
  expect(shardOf(2).heard.slice(1)).toEqual([`${peer} ${hex(publish(1, "a"))}`, `${peer} ${hex(publish(1, "b"))}`]);
  expect(world.book.asked).toEqual([peer]);
  silo.udp.hear([device, publish(1, "c")]);
  await world.turn();
  expect(shardOf(2).heard).toHaveLength(4);
  expect(world.book.asked, "it is remembered").toEqual([peer]);
  shardOf(2).port.send(peer, publish(1, "down"));
  await world.turn();
  expect(silo.udp.sent).toEqual([{ to: peer, bytes: publish(1, "down") }]);
});

test("who names itself while its address is being looked up is not kept waiting, and nothing overtakes", async () => {
  const { world, barn, shardOf } = await two();
  let open = () => {};
  world.book.gate = new Promise((resolve) => {
    open = resolve;
  });
  barn.udp.hear([device, publish(1, "a")]);
  await world.turn();
  expect(barn.front.waiting.addresses).toBe(1);
  barn.udp.hear([device, connect(clientOf(4))]);
  await world.turn();
  expect(shardOf(4).heard).toEqual([`${peer} ${hex(publish(1, "a"))}`, `${peer} ${hex(connect(clientOf(4)))}`]);
  world.book.kept.set(peer, { shard: 3, front: "" });
  open();
  await world.turn();
  barn.udp.hear([device, publish(1, "b")]);
  await world.turn();
  expect(shardOf(4).heard).toHaveLength(3);
  expect(barn.front.waiting).toEqual({ addresses: 0, octets: 0 });
});

test("a stranger is answered by a shard of the gateway that it asked, the same one for its host, and looked up once a second", async () => {
  const { world, barn } = await two();
  for (let i = 0; i < 3; i++) {
    barn.udp.hear([device, publish(1, `${i}`)]);
    await world.time.pass(150);
  }
  const heard = [...barn.shards.values()].filter((each) => each.heard.length > 0);
  expect(heard.map((each) => each.heard.length)).toEqual([3]);
  expect(world.book.asked, "once more after a moment").toHaveLength(2);
  heard[0]?.port.send(peer, datagram({ type: "DISCONNECT", duration: undefined }));
  await world.turn();
  expect(barn.udp.sent).toHaveLength(1);
  expect(world.book.asked).toHaveLength(2);
  expect(world.book.writes).toEqual([]);
  await world.time.pass(1_001);
  barn.udp.hear([device, publish(1, "later")]);
  await world.turn();
  expect(world.book.asked).toHaveLength(3);
  expect(barn.front.counters.passedOn).toBe(0);
});

test("what needs no session is looked up nowhere: QoS -1, and octets that are no message", async () => {
  const { world, barn } = await two();
  barn.udp.hear([device, publish(-1, "t=1")], [device, Uint8Array.of(9, 9, 9)], [device, new Uint8Array(0)]);
  await world.turn();
  expect([...barn.shards.values()].flatMap(({ heard }) => heard)).toHaveLength(3);
  expect(world.book.asked).toEqual([]);
});

test("a SEARCHGW is answered once by each gateway, whoever asks; and what goes to everybody is said once by each", async () => {
  const { world, barn, silo, shardOf } = await two();
  const search = datagram({ type: "SEARCHGW", radius: 1 });
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  barn.udp.hear([device, search]);
  silo.udp.hear([device, search]);
  await world.turn();
  expect(shardOf(0).heard).toEqual([`${peer} ${hex(search)}`]);
  expect(shardOf(1).heard).toEqual([`${peer} ${hex(search)}`]);
  const advertise = datagram({ type: "ADVERTISE", gwId: 1, duration: 900 });
  for (const { port } of barn.shards.values()) port.broadcast(advertise, 1);
  for (const { port } of silo.shards.values()) port.broadcast(advertise, 1);
  expect([barn.udp.broadcasts.length, silo.udp.broadcasts.length]).toEqual([1, 1]);
  expect(barn.front.counters.broadcastsLeftOut).toBe(2);
  await shardOf(0).port.close();
  for (const { port } of barn.shards.values()) port.broadcast(advertise, 1);
  expect(barn.udp.broadcasts, "the next one speaks").toHaveLength(2);
});

test("behind a device forwarder each node has its own shard, and answers go to the forwarder", async () => {
  const { world, barn, shardOf } = await two();
  const node = (id: number, bytes: Uint8Array) => Uint8Array.of(4, 0xfe, 0, id, ...bytes);
  barn.udp.hear([device, node(1, connect(clientOf(2)))], [device, node(2, connect(clientOf(3)))]);
  await world.turn();
  expect(shardOf(2).heard).toEqual([`${peer} ${hex(node(1, connect(clientOf(2))))}`]);
  expect(shardOf(3).heard).toEqual([`${peer} ${hex(node(2, connect(clientOf(3))))}`]);
  shardOf(3).port.send(peer, node(2, accepted));
  await world.turn();
  expect(barn.udp.sent).toEqual([{ to: peer, bytes: node(2, accepted) }]);
  expect(world.book.writes).toEqual([`${peer}#02 3 barn`]);
  barn.udp.hear([device, node(2, publish(0, "x"))], [device, node(1, publish(0, "y"))]);
  await world.turn();
  expect(shardOf(3).heard).toHaveLength(2);
  expect(shardOf(2).heard).toHaveLength(2);
});

test("one wake-up stays one batch for each shard, in order", async () => {
  const { world, barn, shardOf } = await two();
  const ids = [clientOf(2), clientOf(4), clientOf(3)];
  barn.udp.hear(...ids.map((id, i) => [`192.0.2.${i}:1`, connect(id)] as const));
  await world.turn();
  const many = Array.from(
    { length: 30 },
    (_, n) => [`192.0.2.${n % 3}:1`, publish(0, String(n).padStart(2, "0"))] as const,
  );
  barn.udp.hear(...many);
  expect(world.net.frames, "it does not wait for the end of the turn").toHaveLength(2);
  await world.turn();
  for (const shard of [2, 4, 3]) expect(shardOf(shard).batches).toEqual([1, 10]);
  const said = shardOf(3)
    .heard.slice(1)
    .map((each) => Buffer.from(each.slice(-4), "hex").toString());
  expect(said).toEqual([...said].sort());
  expect(world.net.frames, "what was passed on left together").toHaveLength(2);
});

test("lost between gateways: the device repeats; doubled: it comes once", async () => {
  const { world, barn, silo, shardOf } = await two();
  world.net.weather = () => [];
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  expect(shardOf(3).heard).toEqual([]);
  world.net.weather = (frame) => [frame, frame, frame];
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  expect(shardOf(3).heard).toHaveLength(1);
  expect(silo.front.counters.dropped.repeated).toBe(2);
  shardOf(3).port.send(peer, accepted);
  await world.turn();
  expect(barn.udp.sent).toHaveLength(1);
});

test("the owner changes: what is on its way to the former one is dropped, never passed on twice, and the next goes to the new one", async () => {
  const { world, barn, silo, shardOf } = await two();
  const mill = await world.member("mill", []);
  const former = shardOf(3);
  let held: (() => void) | undefined;
  world.net.weather = (frame, from, to) => {
    held = () => world.net.inject(from, to, frame);
    return [];
  };
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  await former.port.close();
  const next = await world.own(mill, 3);
  world.net.weather = (frame) => [frame];
  held?.();
  await world.turn();
  expect(silo.front.counters.dropped["not-owner"]).toBe(1);
  expect(former.heard).toEqual([]);
  expect(next.heard).toEqual([]);
  expect(world.net.frames).toHaveLength(1);
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  expect(next.heard).toHaveLength(1);
});

test("nobody owns the shard, or its gateway does not take datagrams yet: dropped, with the reason", async () => {
  const { world, barn, shardOf } = await two();
  world.owners.set(7, "nobody");
  barn.udp.hear([device, connect(clientOf(7))]);
  world.owners.set(8, "barn");
  barn.udp.hear([device, connect(clientOf(8))]);
  await world.turn();
  expect(barn.front.counters.dropped["no-owner"]).toBe(1);
  expect(barn.front.counters.dropped["not-serving"]).toBe(1);
  const first = shardOf(2);
  const again = await world.own(barn, 2);
  await first.port.close();
  await first.port.close();
  first.port.send(peer, accepted);
  barn.udp.hear([device, connect(clientOf(2))]);
  await world.turn();
  expect(first.heard).toEqual([]);
  expect(again.heard, "a shard that comes back has new ports").toHaveLength(1);
  expect(barn.udp.sent).toEqual([]);
});

test("a new owner speaks first by the gateway that the device knows, and without one by its own transport", async () => {
  const { world, barn, silo, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))]);
  await world.turn();
  shardOf(2).port.send(peer, accepted);
  const mill = await world.member("mill", []);
  await shardOf(2).port.close();
  const next = await world.own(mill, 2);
  const before = barn.udp.sent.length;
  next.port.send(peer, publish(1, "one"));
  next.port.send(peer, publish(1, "two"));
  await world.turn();
  expect(barn.udp.sent.slice(before).map(({ bytes }) => hex(bytes))).toEqual([
    hex(publish(1, "one")),
    hex(publish(1, "two")),
  ]);
  expect(world.book.asked).toEqual([peer]);
  world.dead("barn");
  next.port.send(peer, publish(1, "three"));
  next.port.send("udp/198.51.100.1:5", publish(1, "four"));
  await world.turn();
  expect(mill.udp.sent.map(({ bytes }) => hex(bytes))).toEqual([hex(publish(1, "three")), hex(publish(1, "four"))]);
  expect(silo.udp.sent).toEqual([]);
  world.book.isAway = true;
  next.port.send("udp/198.51.100.2:5", publish(1, "five"));
  await world.turn();
  expect(mill.udp.sent).toHaveLength(3);
});

test("an address book that fails or is late: dropped with the reason, and asked again for the next datagram", async () => {
  const { world, barn, shardOf } = await two();
  world.book.kept.set(peer, { shard: 2, front: "" });
  world.book.isAway = true;
  barn.udp.hear([device, publish(1, "a")], [device, publish(1, "b")]);
  await world.turn();
  expect(barn.front.counters.dropped["look-up-failed"]).toBe(2);
  world.book.isAway = false;
  world.book.gate = new Promise(() => {});
  barn.udp.hear([device, publish(1, "c")]);
  await world.time.pass(2_000);
  expect(barn.front.counters.dropped["look-up-late"]).toBe(1);
  expect(shardOf(2).heard).toEqual([]);
  world.book.gate = Promise.resolve();
  barn.udp.hear([device, publish(1, "d")]);
  await world.turn();
  expect(shardOf(2).heard).toEqual([`${peer} ${hex(publish(1, "d"))}`]);
});

test("what lies in the book is of a fleet with more shards: it is a stranger's", async () => {
  const { world, barn } = await two();
  world.book.kept.set(peer, { shard: 99, front: "" });
  barn.udp.hear([device, publish(1, "a")]);
  await world.time.pass(150);
  expect([...barn.shards.values()].flatMap(({ heard }) => heard)).toHaveLength(1);
});

test("a client that comes by another gateway before its entry can be read is no stranger there", async () => {
  const { world, silo, shardOf } = await two();
  silo.udp.hear([device, publish(1, "a")]);
  await world.time.pass(149);
  world.book.kept.set(peer, { shard: 2, front: "barn" });
  expect(shardOf(2).heard).toEqual([]);
  await world.time.pass(1);
  await world.turn();
  expect(shardOf(2).heard).toHaveLength(1);
});

test("while many wait, nobody is looked up a second time", async () => {
  const { world, barn } = await two({ parts: { room: { perAddressMax: 2, addressesMax: 8, octetsMax: 100_000 } } });
  for (let n = 0; n < 4; n++) barn.udp.hear([`192.0.2.1:${n + 1}`, publish(1, "a")]);
  await world.turn();
  expect([...barn.shards.values()].flatMap(({ heard }) => heard)).toHaveLength(3);
  expect(barn.front.waiting.addresses, "the last one alone has room").toBe(1);
});

test("what is looked up when the front closes is let go, with its timer", async () => {
  const { world, barn } = await two();
  world.book.gate = new Promise(() => {});
  barn.udp.hear([device, publish(1, "a")]);
  await barn.front.close();
  await world.time.pass(5_000);
  expect(barn.front.counters.dropped["look-up-late"]).toBe(0);
});

test("what waits for the book is bounded for each address, in addresses and in octets", async () => {
  const room = { perAddressMax: 2, addressesMax: 3, octetsMax: 1_000 };
  const { world, barn } = await two({ parts: { room } });
  world.book.gate = new Promise(() => {});
  const from = (n: number) => `192.0.2.${n}:1`;
  for (let i = 0; i < 3; i++) barn.udp.hear([from(1), publish(1, "x")]);
  expect(barn.front.counters.dropped["look-up-full"]).toBe(1);
  for (let i = 2; i < 6; i++) barn.udp.hear([from(i), publish(1, "x")]);
  expect(barn.front.counters.dropped["look-up-full"]).toBe(3);
  barn.udp.hear([from(2), publish(1, "x".repeat(700))]);
  expect(barn.front.counters.dropped["look-up-full"]).toBe(4);
  expect(barn.front.waiting.addresses).toBe(3);
  await world.time.pass(2_000);
  expect(barn.front.waiting).toEqual({ addresses: 0, octets: 0 });
  expect(barn.front.counters.dropped["look-up-late"]).toBe(4);
});

test("a peer that was forgotten among many is looked up again", async () => {
  const { world, barn, shardOf } = await two({ parts: { peersMax: 2 } });
  barn.udp.hear([device, connect(clientOf(2))]);
  await world.turn();
  shardOf(2).port.send(peer, accepted);
  for (let n = 0; n < 10; n++) barn.udp.hear([`198.51.100.${n}:1`, connect(clientOf(4, "x"))]);
  barn.udp.hear([device, publish(1, "a")]);
  await world.turn();
  expect(world.book.asked).toEqual([peer]);
  expect(shardOf(2).heard).toHaveLength(2);
});

test("a node whose name is too long is found by what it says, and not remembered", async () => {
  const { world, barn, shardOf } = await two();
  const node = (bytes: Uint8Array) => Uint8Array.of(203, 0xfe, 0, ...new Uint8Array(200), ...bytes);
  barn.udp.hear([device, node(connect(clientOf(3)))]);
  await world.turn();
  shardOf(3).port.send(peer, node(accepted));
  barn.udp.hear([device, node(publish(1, "a"))]);
  await world.turn();
  expect(shardOf(3).heard).toHaveLength(2);
  expect(barn.udp.sent).toHaveLength(1);
  expect(world.book.asked).toHaveLength(1);
});

test("the book is written at a CONNACK that accepts, by whoever comes by another gateway, and again after a day", async () => {
  const { world, barn, silo, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))]);
  shardOf(2).port.send(peer, datagram({ type: "CONNACK", returnCode: 3 }));
  expect(world.book.writes).toEqual([]);
  shardOf(2).port.send(peer, accepted);
  shardOf(2).port.send(peer, pingResp);
  expect(world.book.writes).toEqual([`${peer} 2 barn`]);
  silo.udp.hear([device, pingReq(clientOf(2))]);
  await world.turn();
  expect(world.book.writes, "not more than once a minute").toHaveLength(1);
  await world.time.pass(60_001);
  silo.udp.hear([device, pingReq(clientOf(2))]);
  await world.turn();
  expect(world.book.writes[1]).toBe(`${peer} 2 silo`);
  await world.time.pass(23 * 3_600_000);
  silo.udp.hear([device, pingReq(clientOf(2))]);
  await world.turn();
  expect(world.book.writes).toHaveLength(2);
  await world.time.pass(2 * 3_600_000);
  silo.udp.hear([device, pingReq(clientOf(2))]);
  await world.turn();
  expect(world.book.writes).toHaveLength(3);
});

test("an address that is another client's by now: the book says so when that one has its answer", async () => {
  const { world, barn, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))]);
  shardOf(2).port.send(peer, accepted);
  barn.udp.hear([device, pingReq(clientOf(4))]);
  shardOf(4).port.send(peer, pingResp);
  shardOf(4).port.send(peer, pingResp);
  await world.turn();
  expect(world.book.writes).toEqual([`${peer} 2 barn`, `${peer} 4 barn`]);
});

test("an address that another device has by now is learnt again after ten minutes", async () => {
  const { world, barn, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))]);
  world.book.kept.set(peer, { shard: 4, front: "silo" });
  await world.time.pass(600_001);
  barn.udp.hear([device, publish(0, "a")]);
  await world.turn();
  barn.udp.hear([device, publish(0, "b")]);
  await world.turn();
  expect(shardOf(2).heard).toHaveLength(2);
  expect(shardOf(4).heard).toEqual([`${peer} ${hex(publish(0, "b"))}`]);
});

test("a shard whose lease is over says nothing: at once, and not what waits for the end of the turn", async () => {
  const { world, barn, shardOf } = await two();
  barn.udp.hear([device, connect(clientOf(2))], ["192.0.2.8:1", connect(clientOf(3))]);
  await world.turn();
  shardOf(3).port.send("udp/192.0.2.8:1", accepted);
  shardOf(3).mayLeave = false;
  await world.turn();
  expect(barn.udp.sent, "it stood still before the frame left").toEqual([]);
  shardOf(2).port.send(peer, accepted);
  shardOf(2).mayLeave = false;
  expect(barn.udp.mayLeave(), "the real transport asks before it sends what it gathered").toBe(false);
  expect(barn.udp.mayLeave(), "others are not held up for ever").toBe(true);
  shardOf(2).port.send(peer, pingResp);
  shardOf(2).port.broadcast(pingResp, 0);
  shardOf(4).port.send(peer, pingResp);
  expect(barn.udp.sent.map(({ bytes }) => hex(bytes))).toEqual([hex(accepted), hex(pingResp)]);
  expect(barn.front.counters.dropped["lease-over"]).toBe(2);
});

test("two transports: a datagram stays with its own at the owner too; a gateway without it drops and counts", async () => {
  const both = () => [new FakeTransport("udp"), new FakeTransport("udp6")];
  const world = new FrontWorld({ transports: (name) => (name === "silo" ? [new FakeTransport()] : both()) });
  const barn = await world.member("barn", []);
  const mill = await world.member("mill", [2]);
  const silo = await world.member("silo", [3]);
  barn.udp6?.hear(["[2001:db8::1]:5", connect(clientOf(2))], ["[2001:db8::1]:6", connect(clientOf(3))]);
  await world.turn();
  const [four, six] = mill.shards.get(2)?.ports ?? [];
  expect([four?.stats().datagramsIn, six?.stats().datagramsIn]).toEqual([0, 1]);
  six?.send("udp6/[2001:db8::1]:5", accepted);
  await world.turn();
  expect(barn.udp6?.sent).toEqual([{ to: "udp6/[2001:db8::1]:5", bytes: accepted }]);
  expect(barn.udp.sent).toEqual([]);
  expect(silo.front.counters.dropped["other-transport"]).toBe(1);
});

test("when a transport cannot be opened, nothing is left open", async () => {
  const bad = new FakeTransport("second");
  bad.failure = new Error("no port");
  const good = new FakeTransport("first");
  const world = new FrontWorld({ transports: () => [good, bad] });
  await expect(world.member("barn", [])).rejects.toThrow("no port");
  expect(good.isClosed).toBe(true);
});
