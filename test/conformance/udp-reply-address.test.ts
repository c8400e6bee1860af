/**
 * A gateway that is bound to all addresses answers a device from the address to which it wrote: a socket that is connected to one address
 * receives nothing from another. On loopback, where 127.0.0.2 is as good an address as 127.0.0.1; test/e2e/reply-address.test.ts has real
 * interfaces, and IPv6 with more than one address.
 */
import { createSocket, type Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { afterEach, describe, expect, test } from "vitest";
import type { PeerId } from "../../src/core/types.ts";
import { GatewayError } from "../../src/errors.ts";
import { systemTimers, type Timers } from "../../src/transports/timers.ts";
import { thisMachine, UdpTransport } from "../../src/transports/udp.ts";
import { loadNativeBatch, type NativeBatch } from "../../src/transports/udp-native.ts";
import { udpOptions } from "../../src/transports/udp-options.ts";
import { until } from "../helpers/test-gateway.ts";

const native = loadNativeBatch();
if (!native && process.env["CI"]) throw new Error("native/udp-batch.c is not compiled: node scripts/build-native.mjs");

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

/** This host has these addresses, and its clock is ours. */
function surroundings(...addresses: string[]) {
  let look = () => {};
  const timers: Timers = {
    ...systemTimers,
    every: (_ms, call) => {
      look = call;
      return () => {
        look = () => {};
      };
    },
  };
  const present = [...addresses];
  const interfaces = () => ({ lo: present.map((address) => ({ address, family: "IPv4" }) as NetworkInterfaceInfo) });
  return { timers, interfaces, present, look: () => look() };
}

async function start(batch: NativeBatch | undefined, around = surroundings("127.0.0.1", "127.0.0.2", "127.0.0.3")) {
  const transport = new UdpTransport(udpOptions.parse({ type: "udp", host: "0.0.0.0", port: 0 }), {
    ...around,
    native: batch,
  });
  const seen: { from: PeerId; text: string }[] = [];
  const told: string[] = [];
  await transport.start({
    datagram: (from, bytes) => seen.push({ from, text: Buffer.from(bytes).toString() }),
    peerGone: () => {},
    failed: () => {},
    notice: (_level, say) => told.push(say),
  });
  open.push(transport);
  return { transport, seen, told, port: Number(transport.place.split(":").at(-1)), around };
}

/** Reads from whom what came. Bound to 127.0.0.1, so that the kernel would answer it from there. */
async function device(): Promise<{ socket: Socket; heard: string[]; name: PeerId }> {
  const socket = createSocket("udp4");
  const heard: string[] = [];
  socket.on("message", (bytes, { address }) => heard.push(`${bytes} from ${address}`));
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  open.push({ close: () => new Promise<void>((done) => socket.close(() => done())) });
  return { socket, heard, name: `udp/127.0.0.1:${socket.address().port}` };
}

async function connected(host: string, port: number) {
  const each = await device();
  await new Promise<void>((done) => each.socket.connect(port, host, done));
  return each;
}

const ways = [["node:dgram alone", undefined], ...(native ? [["the compiled part", native] as const] : [])] as const;
if (!native) test.skip("with the compiled part: native/udp-batch.c is not compiled", () => {});

describe.each(ways)("%s", (_how, batch) => {
  test("answers, and what is sent unasked later, leave from the address that the device wrote to", async () => {
    const { transport, seen, port } = await start(batch);
    const devices = [];
    for (const host of ["127.0.0.3", "127.0.0.1", "127.0.0.2"])
      devices.push({ host, ...(await connected(host, port)) });
    for (const { socket, host } of devices) socket.send(`to ${host}`);
    await until("all", () => seen.length === 3);
    // The name of a peer is its own address alone: sessions on disk are known by it.
    expect(new Set(seen.map(({ from }) => from))).toEqual(new Set(devices.map(({ name }) => name)));
    for (const { from } of seen) transport.send(from, Buffer.from("answer"));
    for (const { heard, host } of devices) await until("it", () => heard[0] === `answer from ${host}`);
    for (const { name } of [...devices].reverse()) transport.send(name, Buffer.from("news"));
    for (const { heard, host } of devices) await until("news", () => heard[1] === `news from ${host}`);
    expect(transport.stats()).toMatchObject({ datagramsIn: 3, datagramsOut: 6, sendErrors: 0 });
  });

  test("a device that writes to another address is answered from that one", async () => {
    const { transport, seen, port } = await start(batch);
    const { socket, heard, name } = await device();
    for (const host of ["127.0.0.2", "127.0.0.3", "127.0.0.2"]) {
      socket.send("hello", port, host);
      const count = seen.length + 1;
      await until("it", () => seen.length === count);
      transport.send(name, Buffer.from("answer"));
      await until("the answer", () => heard.length === count);
      expect(heard.at(-1)).toBe(`answer from ${host}`);
    }
  });

  test("what is sent to all is answered from where the kernel chooses, or from where the device was answered before", async () => {
    const { transport, seen, port } = await start(batch);
    const { socket, heard, name } = await device();
    socket.setBroadcast(true);
    const ask = async (host: string, from: string) => {
      const count = seen.length + 1;
      socket.send("SEARCHGW", port, host);
      await until(`it to ${host}`, () => seen.length === count);
      transport.send(name, Buffer.from("GWINFO"));
      await until("the answer", () => heard.length === count);
      expect(heard.at(-1)).toBe(`GWINFO from ${from}`);
    };
    await ask("127.255.255.255", "127.0.0.1");
    await ask("127.0.0.2", "127.0.0.2");
    await ask("127.255.255.255", "127.0.0.2");
  });

  test("a peer of an earlier run, that has not been heard yet, gets what is sent to it", async () => {
    const { transport } = await start(batch);
    const { heard, name } = await device();
    transport.send(name, Buffer.from("news"));
    await until("it", () => heard.length === 1);
  });

  test("a port that is taken is said, also by another that is bound to all addresses", async () => {
    const { port } = await start(batch);
    for (const host of ["0.0.0.0", "127.0.0.2"]) {
      const second = new UdpTransport(udpOptions.parse({ type: "udp", host, port }), {
        ...thisMachine(),
        native: batch,
      });
      const error = await second
        .start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} })
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(GatewayError);
      expect(error).toMatchObject({ details: { code: "EADDRINUSE", port } });
      await second.close();
    }
  });

  test("closed, the port is free at once", async () => {
    const { transport, port } = await start(batch);
    await transport.close();
    const again = new UdpTransport(udpOptions.parse({ type: "udp", host: "0.0.0.0", port }), {
      ...thisMachine(),
      native: batch,
    });
    await again.start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} });
    await again.close();
  });
});

describe("without the compiled part", () => {
  test("an address that comes has a socket after the next look, one that goes has none", async () => {
    const { transport, seen, port, around } = await start(undefined, surroundings("127.0.0.1"));
    const { socket, heard, name } = await device();
    const ask = async (host: string) => {
      const count = seen.length + 1;
      socket.send("hello", port, host);
      await until("it", () => seen.length === count);
      transport.send(name, Buffer.from("answer"));
      await until("the answer", () => heard.length === count);
      return heard.at(-1);
    };
    expect(await ask("127.0.0.2")).toBe("answer from 127.0.0.1");
    around.present.push("127.0.0.2");
    around.look();
    await until("its socket", () => isBound("127.0.0.2", port));
    expect(await ask("127.0.0.2")).toBe("answer from 127.0.0.2");
    around.present.pop();
    around.look();
    await until("none", () => !isBound("127.0.0.2", port));
    expect(await ask("127.0.0.2")).toBe("answer from 127.0.0.1");
  });

  test("an address that cannot be bound is passed over, and tried again", async () => {
    const { transport, seen, port, around } = await start(undefined, surroundings("192.0.2.77", "127.0.0.2"));
    const { heard, socket, name } = await connected("127.0.0.2", port);
    around.look();
    socket.send("hello");
    await until("it", () => seen.length === 1);
    transport.send(name, Buffer.from("answer"));
    await until("the answer", () => heard.length === 1);
    expect(transport.stats().sendErrors).toBe(0);
  });

  test("more addresses than sockets, or none that can be listed: said once", async () => {
    const many = Array.from({ length: 130 }, (_, i) => `127.0.1.${i + 1}`);
    const { told, around } = await start(undefined, surroundings(...many));
    around.look();
    expect(told).toEqual([
      "udp: 2 of 130 addresses of this host have no socket of their own: answers may be sent from another address than the device wrote to",
    ]);
    const blind = { ...surroundings(), interfaces: () => JSON.parse("no list") as never };
    expect((await start(undefined, blind)).told).toEqual([
      expect.stringMatching(/^udp: the addresses of this host cannot be listed \(.*\): answers may/),
    ]);
  });
});

test("where the configuration names an address, the compiled part is not asked for more", async () => {
  if (!native) return;
  const given: unknown[] = [];
  const watched: NativeBatch = {
    ...native,
    receive: (fd, arena, words, count, locals) => {
      given.push(locals);
      return native.receive(fd, arena, words, count, locals);
    },
  };
  const transport = new UdpTransport(udpOptions.parse({ type: "udp", host: "127.0.0.2", port: 0 }), {
    ...thisMachine(),
    native: watched,
  });
  await transport.start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} });
  open.push(transport);
  const { socket } = await connected("127.0.0.2", Number(transport.place.split(":").at(-1)));
  socket.send("hello");
  await until("it", () => given.length > 0);
  expect(given[0]).toBeUndefined();
});

/** Is there a socket at this address? A second one would find the place taken. */
function isBound(host: string, port: number): boolean {
  const [a = "", b = "", c = "", d = ""] = host.split(".").map((octet) => Number(octet).toString(16).padStart(2, "0"));
  const address = `${d}${c}${b}${a}`.toUpperCase();
  return readFileSync("/proc/net/udp", "latin1").includes(
    `${address}:${port.toString(16).toUpperCase().padStart(4, "0")}`,
  );
}
