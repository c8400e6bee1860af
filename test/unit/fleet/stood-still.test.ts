/** A gateway of a fleet stood still: what waited meanwhile, and may have been repeated elsewhere, goes no further. */
import { expect, test } from "vitest";
import {
  clientOf,
  connect,
  device,
  type FrontWorld,
  hex,
  peer,
  pingReq,
  pingResp,
  publish,
  twoGateways as two,
} from "../../helpers/front-world.ts";

/** Nothing that waited came for some ticks. */
function quiet(world: FrontWorld): void {
  for (let tick = 0; tick < 4; tick++) world.run();
}

test("an answer that waited while its front stood still, for longer than until it is repeated, is not sent any more", async () => {
  const { world, barn, silo, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  const answer = async () => {
    shardOf(3).port.send(peer, pingResp);
    await world.turn();
    return [barn.udp.sent.splice(0).length, barn.front.counters.dropped["stood-still"]];
  };
  world.run();
  await world.time.pass(999);
  expect(await answer()).toEqual([1, 0]);
  // Sockets are read before timers are late, or after.
  await world.time.pass(1);
  expect(await answer()).toEqual([0, 1]);
  quiet(world);
  expect(await answer()).toEqual([1, 1]);
  shardOf(3).port.send(peer, pingResp);
  await world.time.pass(1_000);
  world.run();
  await world.turn();
  expect([barn.udp.sent.length, silo.front.counters.dropped["stood-still"]]).toEqual([0, 1]);
  // What was read since is as ever.
  quiet(world);
  barn.udp.hear([device, pingReq()]);
  await world.turn();
  expect(shardOf(3).heard).toHaveLength(2);
  world.run();
  expect(await answer()).toEqual([1, 1]);
});

test("a socket that is never empty after the gateway stood still is late for six ticks, and no longer", async () => {
  const { world, barn, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  await world.time.pass(1_000);
  for (let ms = 0; ms < 2_000; ms += 50) {
    shardOf(3).port.send(peer, pingResp);
    await world.turn();
    await world.time.pass(50);
    world.run();
  }
  expect(barn.front.counters.dropped["stood-still"]).toBeLessThanOrEqual(7);
  expect(barn.udp.sent.length).toBeGreaterThanOrEqual(33);
});

test("after a first turn that takes long, what is still in the socket is late all the same", async () => {
  const { world, barn, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  world.net.weather = () => [];
  for (let n = 0; n < 3; n++) {
    shardOf(3).port.send(peer, pingResp);
    await world.turn();
  }
  const waiting = world.net.frames.slice(-3);
  await world.time.pass(3_000);
  world.run();
  world.time.now += 600; // other timers
  for (const { from, to, frame } of waiting) {
    world.net.inject(from, to, frame);
    await world.step();
  }
  expect([barn.udp.sent.length, barn.front.counters.dropped["stood-still"]]).toEqual([0, 3]);
});

test("what a device sent while the gateway stood still is not passed on to the owner: the owner may have finished with its repetition", async () => {
  const { world, barn, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))], ["192.0.2.8:1", connect(clientOf(2))]);
  await world.turn();
  world.run();
  await world.time.pass(3_000);
  barn.udp.hear([device, publish(1, "old")], ["192.0.2.8:1", publish(1, "own")]);
  await world.turn();
  expect(shardOf(3).heard).toHaveLength(1);
  expect(shardOf(2).heard, "its own shard reads what waited").toHaveLength(2);
  expect(barn.front.counters.dropped["stood-still"]).toBe(1);
  quiet(world);
  barn.udp.hear([device, publish(1, "new")]);
  await world.turn();
  expect(shardOf(3).heard.at(-1)).toBe(`${peer} ${hex(publish(1, "new"))}`);
});

test("the process stands still between reading and sending: nothing of that turn is sent", async () => {
  const { world, barn, silo, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))], ["192.0.2.8:1", connect(clientOf(5))]);
  await world.turn();
  world.run();
  // Between the first and the second record of a frame.
  const send = barn.udp.send.bind(barn.udp);
  let stands = true;
  barn.udp.send = (to, bytes) => {
    send(to, bytes);
    if (stands) world.time.now += 1_000;
    stands = false;
  };
  shardOf(3).port.send(peer, pingResp);
  shardOf(5).port.send("udp/192.0.2.8:1", pingResp);
  await world.turn();
  expect(barn.udp.sent.map(({ to }) => to)).toEqual([peer]);
  expect(barn.front.counters.dropped["stood-still"]).toBe(1);
  expect(barn.udp.mayLeave(), "what was collected before is not sent either").toBe(false);
  // Before a frame leaves.
  quiet(world);
  shardOf(3).port.send(peer, pingResp);
  world.time.now += 1_000;
  await world.turn();
  expect(barn.udp.sent).toHaveLength(1);
  expect(silo.front.counters.dropped["stood-still"]).toBe(1);
  // All is as ever.
  quiet(world);
  shardOf(3).port.send(peer, pingResp);
  await world.turn();
  expect(barn.udp.sent).toHaveLength(2);
  expect(barn.udp.mayLeave()).toBe(true);
});

test("a transport that puts off reading for some turns after the gateway stood still: what it then reads is late", async () => {
  const { world, barn, shardOf } = await two({ parts: { retryMs: 1_000 } });
  barn.udp.hear([device, connect(clientOf(3))]);
  await world.turn();
  world.net.weather = () => [];
  shardOf(3).port.send(peer, pingResp);
  await world.turn();
  const [waiting] = world.net.frames.slice(-1);
  world.net.weather = (frame) => [frame];
  await world.time.pass(3_000);
  world.run();
  await world.turn();
  if (waiting) world.net.inject(waiting.from, waiting.to, waiting.frame);
  await world.turn();
  expect([barn.udp.sent.length, barn.front.counters.dropped["stood-still"]]).toEqual([0, 1]);
});
