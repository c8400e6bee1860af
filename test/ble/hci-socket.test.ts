/**
 * What native/hci-socket.c reads of a kernel's Bluetooth: in the virtual machine of kernel.test.ts, with noble's own socket
 * on the emulated adapter.
 */
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { DropWatch } from "../../src/transports/ble/drop-watch.ts";
import { loadHciNative, readAdapters } from "../../src/transports/ble/hci-native.ts";

interface Socket {
  bindRaw(adapter?: number): number;
  setFilter(filter: Buffer): void;
  start(): void;
  stop(): void;
  write(packet: Buffer): void;
  on(event: "data" | "error", listener: (data: unknown) => void): void;
}

const isKernel = process.env["BLE_LAB_AIR"] !== undefined;
/** Read BD_ADDR: the controller answers with an event. */
const question = Buffer.from("01091000", "hex");
/** Commands, events and data, all events. */
const everything = Buffer.from("16000000ffffffffffffffff00000000", "hex");
const questions = 400;

test.skipIf(!isKernel)(
  "the kernel says which adapter is up, and how many packets of it nobody read in time",
  async () => {
    const native = loadHciNative();
    if (!native) throw new Error("native/hci-socket.c is not compiled");
    expect(readAdapters(native)).toMatchObject([
      { name: expect.stringMatching(/^hci\d$/), isUp: true, address: expect.stringMatching(/^([0-9a-f]{2}:){5}/) },
    ]);
    const HciSocket = createRequire(import.meta.url)("@abandonware/bluetooth-hci-socket") as new () => Socket;
    const socket = new HciSocket();
    socket.on("error", () => {});
    let heard = 0;
    socket.on("data", () => heard++);
    socket.bindRaw();
    socket.setFilter(everything);
    socket.start();
    const small = new DropWatch({ ...native, receiveBuffer: () => 0 });
    small.find();
    expect(small.take()).toBe(0);
    ask(socket);
    await standStill();
    const lost = small.take() ?? 0;
    console.log(`with the kernel's own buffer: ${lost} packets dropped, ${heard} heard`);
    expect(lost).toBeGreaterThan(0);
    const heardBefore = heard;
    heard = 0;
    const large = new DropWatch(native);
    large.find();
    ask(socket);
    await standStill();
    const lostThen = large.take();
    console.log(`with the larger one: ${lostThen} packets dropped, ${heard} heard`);
    expect(lostThen).toBe(0);
    expect(heard).toBeGreaterThan(heardBefore);
    socket.stop();
  },
);

/** The socket is written to at once: answers arrive while no code reads them. */
function ask(socket: Socket): void {
  for (let i = 0; i < questions; i++) socket.write(question);
}

async function standStill(): Promise<void> {
  const ended = Date.now() + 4_000;
  while (Date.now() < ended);
  await sleep(2_000);
}
