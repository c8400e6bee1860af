/** Many datagrams per system call: the same datagrams, from the same peers, whole, as one by one. Needs a C compiler. */
import { createSocket, type Socket } from "node:dgram";
import { readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, test } from "vitest";
import type { PeerId } from "../../src/core/types.ts";
import { thisMachine, UdpTransport } from "../../src/transports/udp.ts";
import { loadNativeBatch, type NativeBatch } from "../../src/transports/udp-native.ts";
import { udpOptions } from "../../src/transports/udp-options.ts";
import { until } from "../helpers/test-gateway.ts";

const native = loadNativeBatch();
if (!native && process.env["CI"]) throw new Error("native/udp-batch.c is not compiled: node scripts/build-native.mjs");
const why = native ? "" : " (skipped: native/udp-batch.c is not compiled)";
const hosts = ["127.0.0.1"];
if (Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === "::1")))
  hosts.push("::1");

interface Calls {
  received: number;
  sent: number;
}

/** The compiled part, and how many datagrams went through it. */
function counted(of: NativeBatch, calls: Calls): NativeBatch {
  return {
    ...of,
    receive: (fd, arena, words, count) => {
      const got = of.receive(fd, arena, words, count);
      calls.received += Math.max(got, 0);
      return got;
    },
    send: (fd, arena, words, count) => {
      calls.sent += count;
      return of.send(fd, arena, words, count);
    },
  };
}

describe.skipIf(!native)(`datagrams in batches${why}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close();
  });

  async function start(host: string, changed: Partial<NativeBatch> = {}, gatherMilliseconds = 0) {
    if (!native) throw new Error("not compiled");
    const calls = { received: 0, sent: 0 };
    const options = udpOptions.parse({ type: "udp", host, port: 0, maxMessageBytes: 65_507, gatherMilliseconds });
    const transport = new UdpTransport(options, {
      ...thisMachine(),
      native: { ...counted(native, calls), ...changed },
    });
    const seen: { from: PeerId; bytes: Uint8Array }[] = [];
    await transport.start({
      datagram: (from, bytes) => seen.push({ from, bytes }),
      peerGone: () => {},
      failed: () => {},
      notice: () => {},
    });
    open.push(transport);
    const port = Number(transport.place.split(":").at(-1));
    return { transport, seen, calls, port };
  }

  async function node(host: string): Promise<{ socket: Socket; received: string[] }> {
    const socket = createSocket({ type: host === "::1" ? "udp6" : "udp4", recvBufferSize: 4 * 2 ** 20 });
    const received: string[] = [];
    socket.on("message", (bytes) => received.push(bytes.toString("latin1")));
    await new Promise<void>((done) => socket.bind(0, host, done));
    open.push({ close: () => new Promise<void>((done) => socket.close(() => done())) });
    return { socket, received };
  }

  test.each(hosts)(
    "a burst from several peers over %s arrives whole, in order, under their names, and so do answers",
    async (host) => {
      const { transport, seen, calls, port } = await start(host);
      const nodes = [await node(host), await node(host), await node(host)];
      for (let i = 0; i < 200; i++) {
        for (const [n, { socket }] of nodes.entries())
          socket.send(`${n}-${i}-${"x".repeat((i * 7) % 300)}`, port, host);
      }
      await until("600 datagrams", () => seen.length === 600);
      expect(calls.received).toBeGreaterThan(0);
      const names = new Map<string, string[]>();
      for (const { from, bytes } of seen) names.set(from, [...(names.get(from) ?? []), Buffer.from(bytes).toString()]);
      for (const [n, { socket }] of nodes.entries()) {
        const shown = host === "::1" ? "[::1]" : host;
        const texts = names.get(`udp/${shown}:${socket.address().port}`) ?? [];
        expect(texts).toEqual(Array.from({ length: 200 }, (_, i) => `${n}-${i}-${"x".repeat((i * 7) % 300)}`));
      }
      for (const { from, bytes } of seen) transport.send(from, bytes);
      await until("600 answers", () => nodes.every(({ received }) => received.length === 200));
      expect(calls.sent).toBe(600);
      expect(nodes[1]?.received[199]).toBe(`1-199-${"x".repeat((199 * 7) % 300)}`);
      expect(transport.stats()).toMatchObject({ datagramsIn: 600, datagramsOut: 600, sendErrors: 0 });
    },
  );

  test("what it gives away is the receiver's: a later datagram does not write over it", async () => {
    const { seen, port } = await start("127.0.0.1");
    const { socket } = await node("127.0.0.1");
    for (let i = 0; i < 300; i++) socket.send(`first ${i}`, port, "127.0.0.1");
    await until("the first", () => seen.length === 300);
    for (let i = 0; i < 300; i++) socket.send("SECOND", port, "127.0.0.1");
    await until("the second", () => seen.length === 600);
    expect(seen.slice(0, 300).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(
      Array.from({ length: 300 }, (_, i) => `first ${i}`),
    );
  });

  test("the largest datagrams there are", async () => {
    const { transport, seen, port, calls } = await start("127.0.0.1");
    const { socket, received } = await node("127.0.0.1");
    const large = Buffer.alloc(65_507, 0x61);
    for (let i = 0; i < 5; i++) socket.send(large, port, "127.0.0.1");
    await until("five", () => seen.length === 5);
    for (const { bytes } of seen) expect(Buffer.compare(bytes, large)).toBe(0);
    for (const { from, bytes } of seen) transport.send(from, bytes);
    await until("five back", () => received.length === 5);
    expect(calls.sent).toBe(5);
  });

  test("one that the kernel refuses is counted, and does not hold back the next", async () => {
    const { transport, seen, port } = await start("127.0.0.1");
    const { socket, received } = await node("127.0.0.1");
    socket.send("hello", port, "127.0.0.1");
    await until("it", () => seen.length === 1);
    const from = seen[0]?.from ?? "/";
    const tooLong = new Uint8Array(70_000);
    transport.send(from, tooLong);
    transport.send("udp/255.255.255.255:9", Uint8Array.of(1)); // a broadcast, which this socket may not send
    transport.send("udp/somewhere:9", Uint8Array.of(1)); // no literal
    transport.send(from, Buffer.from("after it"));
    await until("the one after it", () => received.includes("after it"));
    await until("the errors", () => transport.stats().sendErrors >= 2);
    expect(transport.stats().datagramsOut).toBeLessThanOrEqual(2);
  });

  test("no room in the socket's buffer: the rest leaves when there is, in order", async () => {
    let calls = 0;
    const full: NativeBatch["send"] = (fd, arena, words, count) =>
      ++calls === 1 ? 0 : (native?.send(fd, arena, words, Math.min(count, 3)) ?? 0);
    const { transport, seen, port } = await start("127.0.0.1", { send: full });
    const { socket, received } = await node("127.0.0.1");
    socket.send("hello", port, "127.0.0.1");
    await until("it", () => seen.length === 1);
    for (let i = 0; i < 10; i++) transport.send(seen[0]?.from ?? "/", Buffer.from(`answer ${i}`));
    await until("ten", () => received.length === 10);
    expect(received).toEqual(Array.from({ length: 10 }, (_, i) => `answer ${i}`));
    expect(transport.stats()).toMatchObject({ datagramsOut: 10, sendErrors: 0 });
  });

  test("gathered: many datagrams one after the other are read in few turns, and one that comes later is read too", async () => {
    let wakes = 0;
    const counting: NativeBatch["receive"] = (fd, arena, words, count) => {
      wakes++;
      return native?.receive(fd, arena, words, count) ?? 0;
    };
    const { transport, seen, port } = await start("127.0.0.1", { receive: counting }, 20);
    const { socket, received } = await node("127.0.0.1");
    for (let i = 0; i < 300; i++) {
      await new Promise<void>((done) => socket.send(`${i}`, port, "127.0.0.1", () => done()));
      await new Promise((done) => setImmediate(done));
    }
    await until("300 datagrams", () => seen.length === 300);
    expect(wakes).toBeLessThan(250);
    let last = -1;
    await until("nothing wakes it any more", () => {
      const isQuiet = wakes === last;
      last = wakes;
      return isQuiet;
    });
    for (const text of ["once more", "and again"]) {
      socket.send(text, port, "127.0.0.1");
      await until(text, () => Buffer.from(seen.at(-1)?.bytes ?? []).toString() === text);
      transport.send(seen.at(-1)?.from ?? "/", Buffer.from(`to ${text}`));
      await until("the answer", () => received.at(-1) === `to ${text}`);
    }
  });

  test("gathered, with no room to send: both are waited for", async () => {
    let calls = 0;
    const full: NativeBatch["send"] = (fd, arena, words, count) =>
      ++calls === 1 ? 0 : (native?.send(fd, arena, words, count) ?? 0);
    const { transport, seen, port } = await start("127.0.0.1", { send: full }, 5);
    const { socket, received } = await node("127.0.0.1");
    for (let i = 0; i < 50; i++) {
      await new Promise<void>((done) => socket.send(`${i}`, port, "127.0.0.1", () => done()));
      await new Promise((done) => setImmediate(done));
    }
    await until("fifty", () => seen.length === 50);
    transport.send(seen[0]?.from ?? "/", Buffer.from("answer"));
    await until("the answer", () => received.includes("answer"));
  });

  test("closed, its port is free at once", async () => {
    for (let i = 0; i < 20; i++) {
      const { transport, port } = await start("127.0.0.1", {}, i % 2);
      await transport.close();
      const again = new UdpTransport(udpOptions.parse({ type: "udp", host: "127.0.0.1", port }), {
        ...thisMachine(),
        native,
      });
      open.push(again);
      await again.start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} });
      await again.close();
    }
  });

  test("closed and opened again, the descriptor goes with it", async () => {
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    for (let i = 0; i < 20; i++) {
      const { transport } = await start("127.0.0.1", {}, i % 2);
      await transport.close();
    }
    await until("all closed", () => descriptors() <= before);
  });

  test("where the socket cannot be had this way, Node opens it", async () => {
    const { transport, seen, port, calls } = await start("127.0.0.1", { open: () => -13 });
    const { socket, received } = await node("127.0.0.1");
    for (let i = 0; i < 50; i++) socket.send(`${i}`, port, "127.0.0.1");
    await until("fifty", () => seen.length === 50);
    transport.send(seen[0]?.from ?? "/", Buffer.from("back"));
    await until("one back", () => received.length === 1);
    expect(calls).toEqual({ received: 0, sent: 0 });
  });

  test("the compiled part takes nonsense for what it is", () => {
    if (!native) return;
    const arena = new Uint8Array(1_000);
    const words = new Uint32Array(16);
    const nonsense: (() => unknown)[] = [
      () => native.receive(-1, arena, words, 0),
      () => native.receive(0, words as unknown as Uint8Array, words, 0),
      () => native.receive(0, arena, new Uint32Array(7), 0),
      () => native.send(0, arena, words, 3),
      () => native.send(0, arena, words, -1),
      () => native.open("127.0.0.1", 65_536),
      () => native.host(words, 2),
      () => native.address("127.0.0.1", 1, words, -1),
      () => native.open(undefined as unknown as string, 1),
      () => native.watch(-1, () => 0, 0),
      () => native.watch(0, undefined as unknown as () => number, 0),
      () => native.watch(0, () => 0, -1),
      () => native.wake(7, true),
      () => native.unwatch({}),
      () => native.duplicate("x" as unknown as number),
      () => native.locals("x" as unknown as number),
      () => native.receive(0, arena, words, 0, new Uint32Array(9)),
      () => native.send(0, arena, words, 0, arena as unknown as Uint32Array),
    ];
    for (const call of nonsense) expect(call).toThrow(TypeError);
    words[0] = 999;
    words[1] = 2;
    expect(() => native.send(0, arena, words, 1)).toThrow(/outside the arena/);
    expect(native.open("no literal", 1)).toBeLessThan(0);
    expect(native.address("no literal", 1, words, 0)).toBe(0);
    expect(native.receive(0x7fff, arena, words, 0)).toBe(-9);
    expect(native.duplicate(0x7fff)).toBe(-9);
    expect(native.locals(0x7fff)).toBe(-9);
    expect(native.hops(0x7fff, 1)).toBe(-9);
  });
});
