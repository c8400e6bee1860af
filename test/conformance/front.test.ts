/**
 * Two fronts of a fleet with real sockets on the loopback, where 127.0.0.2 is as good an address as 127.0.0.1: a device is answered by
 * the gateway that it asked, and from the address that it asked, whichever of them owns its shard.
 */
import { createSocket, type Socket } from "node:dgram";
import type { NetworkInterfaceInfo } from "node:os";
import { afterEach, describe, expect, test } from "vitest";
import { datagramWords } from "../../src/core/dialects/glance.ts";
import type { PeerId } from "../../src/core/types.ts";
import { Front } from "../../src/fleet/front.ts";
import type { Member } from "../../src/fleet/members.ts";
import { systemTimers } from "../../src/transports/timers.ts";
import type { Transport } from "../../src/transports/transport.ts";
import { UdpTransport } from "../../src/transports/udp.ts";
import { loadNativeBatch, type NativeBatch } from "../../src/transports/udp-native.ts";
import { udpOptions } from "../../src/transports/udp-options.ts";
import { accepted, clientOf, connect, FakeBook, publish, shards } from "../helpers/front-world.ts";
import { until } from "../helpers/test-gateway.ts";

const native = loadNativeBatch();
if (!native && process.env["CI"]) throw new Error("native/udp-batch.c is not compiled: node scripts/build-native.mjs");
const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

function udp(name: string, host: string, batch: NativeBatch | undefined): UdpTransport {
  const addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
  return new UdpTransport(udpOptions.parse({ type: "udp", name, host, port: 0 }), {
    native: batch,
    timers: systemTimers,
    interfaces: () => ({ lo: addresses.map((address) => ({ address, family: "IPv4" }) as NetworkInterfaceInfo) }),
  });
}

const portOf = (transport: Transport) => Number(transport.place.split(":").at(-1));

/** Gateways whose shards say back what they hear, and accept each CONNECT. */
async function fleet(batch: NativeBatch | undefined, owned: Readonly<Record<string, readonly number[]>>) {
  const book = new FakeBook();
  const key = Buffer.from("a key for all");
  const members = new Map<string, Member>();
  const gateways = new Map<
    string,
    { readonly front: Front; readonly port: number; readonly between: number; readonly heard: string[] }
  >();
  const tables = new Map<string, readonly Member[]>();
  for (const name of Object.keys(owned)) {
    const real = udp("udp", "0.0.0.0", batch);
    const carrier = udp("between", "127.0.0.1", batch);
    const front = new Front({
      name,
      transports: [real],
      ownership: {
        shards,
        ownerOf: (shard) => {
          const owner = Object.keys(owned).find((each) => owned[each]?.includes(shard));
          return owner === name ? "here" : members.get(owner ?? "");
        },
        others: () => tables.get(name) ?? [],
      },
      book,
      words: datagramWords,
      between: { carrier, key: () => key, run: `run of ${name}` },
      timers: systemTimers,
      retryMs: 10_000,
      told: () => {},
    });
    await front.start();
    open.push(front);
    const heard: string[] = [];
    gateways.set(name, { front, port: portOf(real), between: portOf(carrier), heard });
    members.set(name, { name, run: `run of ${name}`, place: carrier.place, version: "1", isDraining: false });
    for (const shard of owned[name] ?? []) {
      const [port] = front.transportsOf(shard);
      await port?.start({
        datagram: (from: PeerId, bytes) => {
          heard.push(from);
          port.send(from, datagramWords.clientIn(bytes) === undefined ? bytes : accepted);
        },
        batch: (work) => work(),
        peerGone: () => {},
        failed: () => {},
        notice: () => {},
      });
    }
  }
  for (const name of members.keys())
    tables.set(
      name,
      [...members.values()].filter((each) => each.name !== name),
    );
  const gateway = (name: string) => {
    const found = gateways.get(name);
    if (!found) throw new Error(`no gateway ${name}`);
    return found;
  };
  return { book, gateway };
}

/** Says from where each answer came. */
async function device(): Promise<{ readonly socket: Socket; readonly heard: string[]; readonly peer: PeerId }> {
  const socket = createSocket("udp4");
  const heard: string[] = [];
  socket.on("message", (bytes, { address, port }) => heard.push(`${address}:${port} ${bytes.toString("hex")}`));
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  open.push({ close: () => new Promise<void>((done) => socket.close(() => done())) });
  return { socket, heard, peer: `udp/127.0.0.1:${socket.address().port}` };
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe.each([
  ["node:dgram alone", undefined],
  ["many datagrams per system call", native],
] as const)("%s", (how, batch) => {
  const isThere = batch !== undefined || how === "node:dgram alone";

  test.skipIf(!isThere)(
    "a device is answered from the gateway and the address that it asked last, by the owner of its shard",
    async () => {
      const { book, gateway } = await fleet(batch, { barn: [2], silo: [3] });
      const [barn, silo] = [gateway("barn"), gateway("silo")];
      const { socket, heard, peer } = await device();
      socket.send(connect(clientOf(3)), barn.port, "127.0.0.2");
      await until("it is accepted", () => heard.length === 1);
      expect(heard[0]).toBe(`127.0.0.2:${barn.port} ${hex(accepted)}`);
      expect(silo.heard).toEqual([peer]);
      expect(book.kept.get(peer)).toEqual({ shard: 3, front: "barn" });
      socket.send(publish(1, "a"), barn.port, "127.0.0.3");
      await until("the second", () => heard.length === 2);
      expect(heard[1]).toBe(`127.0.0.3:${barn.port} ${hex(publish(1, "a"))}`);
      socket.send(publish(1, "b"), silo.port, "127.0.0.2");
      await until("by the owner itself", () => heard.length === 3);
      expect(heard[2]).toBe(`127.0.0.2:${silo.port} ${hex(publish(1, "b"))}`);
      socket.send(connect(clientOf(2)), silo.port, "127.0.0.1");
      await until("as another client", () => heard.length === 4);
      expect(heard[3]).toBe(`127.0.0.1:${silo.port} ${hex(accepted)}`);
      expect(barn.heard).toEqual([peer]);
    },
  );

  test.skipIf(!isThere)("a gateway that never heard of a device finds its shard in the book", async () => {
    const { gateway } = await fleet(batch, { barn: [2], silo: [], mill: [] });
    const { socket, heard } = await device();
    socket.send(connect(clientOf(2)), gateway("silo").port, "127.0.0.1");
    await until("it is accepted", () => heard.length === 1);
    socket.send(publish(1, "a"), gateway("mill").port, "127.0.0.1");
    await until("it is answered", () => heard.length === 2);
    expect(heard[1]).toBe(`127.0.0.1:${gateway("mill").port} ${hex(publish(1, "a"))}`);
  });

  test.skipIf(!isThere)(
    "many datagrams of many devices, half of them for the other gateway: each is answered",
    async () => {
      const { gateway } = await fleet(batch, { barn: [2], silo: [3] });
      const devices = await Promise.all(Array.from({ length: 20 }, device));
      const port = gateway("barn").port;
      for (const [i, { socket }] of devices.entries())
        socket.send(connect(clientOf(2 + (i % 2), `${i}x`)), port, "127.0.0.1");
      await until("all are accepted", () => devices.every(({ heard }) => heard.length === 1));
      for (let n = 0; n < 25; n++) {
        for (const { socket } of devices) socket.send(publish(1, `${n}`), port, "127.0.0.1");
        await until(`answers to ${n}`, () => devices.every(({ heard }) => heard.length === n + 2));
      }
      const { counters } = gateway("barn").front;
      expect(counters.passedOn).toBe(260);
      expect(counters.answersTaken).toBe(260);
      expect(Object.values(counters.dropped).reduce((sum, each) => sum + each)).toBe(0);
    },
  );

  test.skipIf(!isThere)("garbage at the socket between gateways ends nothing", async () => {
    const { gateway } = await fleet(batch, { barn: [2], silo: [3] });
    const { socket, heard } = await device();
    const { between } = gateway("silo");
    for (let i = 0; i < 200; i++) socket.send(Buffer.alloc(i, i * 37), between, "127.0.0.1");
    await until("they are counted", () => gateway("silo").front.counters.dropped.stranger === 200);
    socket.send(connect(clientOf(3)), gateway("barn").port, "127.0.0.1");
    await until("it is accepted", () => heard.length === 1);
  });
});
