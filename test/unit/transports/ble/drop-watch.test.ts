/** The watch over dropped packets: with sockets that only pretend, and with one of the kernel's that really drops. */
import { createSocket } from "node:dgram";
import { closeSync } from "node:fs";
import { expect, test } from "vitest";
import { DropWatch } from "../../../../src/transports/ble/drop-watch.ts";
import { type HciNative, loadHciNative, readAdapters } from "../../../../src/transports/ble/hci-native.ts";
import { loadNativeBatch } from "../../../../src/transports/udp-native.ts";

/** Descriptor -> drops; what is absent is closed. */
function pretended(sockets: Map<number, number>) {
  const enlarged: number[] = [];
  const native: HciNative = {
    isHci: (fd) => Number(sockets.has(fd)),
    drops: (fd) => sockets.get(fd) ?? -9,
    receiveBuffer: (fd) => enlarged.push(fd),
    adapters: () => 0,
  };
  return { watch: new DropWatch(native, () => [0, 1, ...sockets.keys()]), enlarged };
}

test("only what is dropped after the socket was found counts, and it is told once", () => {
  const sockets = new Map([[7, 100]]);
  const { watch, enlarged } = pretended(sockets);
  expect(watch.take()).toBeUndefined();
  watch.find();
  watch.find();
  expect(enlarged).toEqual([7]);
  expect(watch.take()).toBe(0);
  sockets.set(7, 103);
  expect(watch.take()).toBe(3);
  expect(watch.take()).toBe(0);
});

test("the counter wraps; a socket that is closed is forgotten, another one counts from where it is", () => {
  const sockets = new Map([[7, 2 ** 32 - 1]]);
  const { watch } = pretended(sockets);
  watch.find();
  sockets.set(7, 1);
  expect(watch.take()).toBe(2);
  sockets.delete(7);
  expect(watch.take()).toBeUndefined();
  sockets.set(8, 50);
  watch.find();
  expect(watch.take()).toBe(0);
});

test("without the compiled part nothing is known", () => {
  const watch = new DropWatch(undefined, () => [7]);
  watch.find();
  expect(watch.take()).toBeUndefined();
  expect(readAdapters(undefined)).toBeUndefined();
  expect(readAdapters({ adapters: () => -97 })).toEqual([]);
});

test("adapters: number, whether it is up, address", () => {
  const adapters = (words: Uint32Array) => {
    words.set([0, 0x25, 0x4433_2211, 0x6655], 0);
    words.set([1, 0x24, 0xffff_ffff, 0xffff], 4);
    return 2;
  };
  expect(readAdapters({ adapters })).toEqual([
    { name: "hci0", isUp: true, address: "66:55:44:33:22:11" },
    { name: "hci1", isUp: false, address: "ff:ff:ff:ff:ff:ff" },
  ]);
});

const native = loadHciNative();
const udp = loadNativeBatch();

test.skipIf(!native || !udp)("a kernel's socket that nobody reads drops, and says how much", async () => {
  if (!native || !udp) return;
  const port = await freePort();
  const fd = udp.open("127.0.0.1", port);
  const sender = createSocket("udp4");
  const send = async () => {
    for (let i = 0; i < 500; i++) {
      await new Promise<void>((resolve) => sender.send(Buffer.alloc(1_000), port, "127.0.0.1", () => resolve()));
    }
  };
  try {
    expect(native.isHci(fd)).toBe(0);
    expect(native.drops(fd)).toBe(0);
    const watch = new DropWatch({ ...native, isHci: (each) => Number(each === fd), receiveBuffer: () => 0 });
    watch.find();
    expect(watch.take()).toBe(0);
    await send();
    const dropped = watch.take() ?? 0;
    expect(dropped).toBeGreaterThan(0);
    expect(dropped).toBeLessThan(500);
    expect(native.receiveBuffer(fd, 1)).toBeLessThan(native.receiveBuffer(fd, 300_000)); // never less than it has
    expect(native.drops(99_999)).toBe(-9);
  } finally {
    sender.close();
    closeSync(fd);
  }
});

async function freePort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  return port;
}
