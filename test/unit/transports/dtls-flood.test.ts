/** The kernel drops ClientHellos that come too fast; all other datagrams are received. [RFC 6347 4.2.1] */
import { createSocket } from "node:dgram";
import { expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import { SecureDevice } from "../../../src/device/secure.ts";
import { suites } from "../../../src/secure/suites.ts";
import { DtlsTransport } from "../../../src/transports/dtls/dtls.ts";
import { HelloThinning } from "../../../src/transports/dtls/hello-thinning.ts";
import { nodeCrypto } from "../../../src/transports/dtls/node-crypto.ts";
import { dtlsOptions } from "../../../src/transports/dtls/options.ts";
import type { Transport, TransportEvents } from "../../../src/transports/transport.ts";
import { UdpTransport } from "../../../src/transports/udp.ts";
import { loadNativeBatch } from "../../../src/transports/udp-native.ts";
import { udpOptions } from "../../../src/transports/udp-options.ts";
import { ScriptedTimers } from "../../helpers/scripted-central.ts";
import { until } from "../../helpers/test-gateway.ts";

/** What a device says first. */
function hello(): Uint8Array {
  const key = new Uint8Array(16);
  const device = new SecureDevice(nodeCrypto, { identity: "dev1", key, suites: [suites.ccm8], cidOctets: 0 });
  device.start(0);
  const [first] = device.take();
  if (first?.kind !== "send") throw new Error("it says nothing");
  return first.bytes;
}

/** The same with a cookie of 20 octets: behind the record's head, the message's, the version, the random and no session id. */
function helloWithCookie(): Uint8Array {
  const plain = Buffer.from(hello());
  const at = 13 + 12 + 34 + 1;
  return Buffer.concat([plain.subarray(0, at), Buffer.from([20]), Buffer.alloc(20, 7), plain.subarray(at + 1)]);
}

test("a share falls as fast as the flood grows, and is whole again when it is over; each kind has its own", () => {
  const thinning = new HelloThinning(1_000);
  expect(thinning.judge({ first: 400, second: 10 }, 250)).toEqual({ first: 1, second: 1 });
  expect(thinning.isOn).toBe(false);
  expect(thinning.judge({ first: 50_000, second: 10 }, 250)).toEqual({ first: 0.01, second: 1 });
  // Those that arrived stand for a hundred times as many.
  expect(thinning.judge({ first: 1_000, second: 50_000 }, 250)).toEqual({ first: 0.005, second: 0.01 });
  expect(thinning.dropped).toBe(99_000);
  expect(thinning.judge({ first: 0, second: 5 }, 250)).toEqual({ first: 1, second: 1 });
  expect(thinning.isOn).toBe(false);
});

test("of a flood the transport lets twice the limit in, says so once, and ends it when the flood is over", async () => {
  const timers = new ScriptedTimers();
  const shares: [number, number][] = [];
  let events: TransportEvents | undefined;
  const carrier = {
    name: "dtls",
    place: "here",
    warnings: [],
    start: async (all: TransportEvents) => {
      events = all;
    },
    send: () => {},
    stats: () => ({ datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 }),
    close: async () => {},
    thinHellos: (first: number, second: number) => shares.push([first, second]) > 0,
  } as unknown as Transport;
  const options = dtlsOptions.parse({ type: "dtls", keys: { command: ["/bin/false"] }, hellosPerSecondMax: 100 });
  const transport = new DtlsTransport(options, timers, nodeCrypto, carrier);
  const said: string[] = [];
  const notice = (_level: string, say: string) => void said.push(say);
  await transport.start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice });
  const idle = timers.size;
  const bytes = hello();
  const come = (count: number) => {
    for (let i = 0; i < count; i++) events?.datagram(`dtls/192.0.2.1:${1_024 + i}` as PeerId, bytes);
    timers.pass(250);
  };
  come(1);
  expect(timers.size).toBe(idle);
  come(5_000);
  // The first ones are within the limit, and not yet counted.
  const share = expect.closeTo(0.01, 3);
  expect(shares).toEqual([[share, 1]]);
  come(50);
  expect(shares).toEqual([
    [share, 1],
    [share, 1],
  ]);
  const { counters } = transport.secureReport();
  expect(Math.abs(counters.hellosBeyond + counters.cookies - 10_000)).toBeLessThan(50);
  come(0);
  expect(shares.at(-1)).toEqual([1, 1]);
  come(0);
  expect(timers.size).toBe(idle);
  come(5_000);
  expect(shares.at(-1)).toEqual([share, 1]);
  expect(said.filter((line) => line.includes("flood"))).toEqual([
    expect.stringMatching(/^dtls: a flood of \d{5} ClientHellos a second or more: the kernel drops most of them$/),
  ]);
  await transport.close();
  expect(timers.size).toBe(0);
});

const why = loadNativeBatch() ? "" : " (skipped: native/udp-batch.c was not compiled)";
test.skipIf(why !== "").each(["127.0.0.1", "::1"])(`what the kernel lets in at %s${why}`, async (host) => {
  const transport = new UdpTransport(udpOptions.parse({ type: "udp", host, port: 0 }));
  const heard: string[] = [];
  await transport.start({
    datagram: (_from, bytes) => heard.push(Buffer.from(bytes).toString("hex")),
    peerGone: () => {},
    failed: () => {},
    notice: () => {},
  });
  const socket = createSocket(host === "::1" ? "udp6" : "udp4");
  const port = Number(transport.place.split(":").at(-1));
  const [first, second] = [Buffer.from(hello()), Buffer.from(helloWithCookie())];
  const changed = (at: number, value: number) => Buffer.from(first).fill(value, at, at + 1);
  const others = {
    "another content": changed(0, 23),
    "another epoch": changed(4, 1),
    "another message": changed(13, 16),
    "of one octet": Buffer.from([1]),
  };
  /** How many of each came, when all that was sent before the last one was there. */
  let turn = 0;
  const come = async (count: number) => {
    heard.length = 0;
    for (let i = 0; i < count; i++) for (const each of [first, second]) socket.send(each, port, host);
    for (const each of Object.values(others)) socket.send(each, port, host);
    const end = Buffer.from([2, turn++]);
    await new Promise((done) => socket.send(end, port, host, done));
    await until("the last", () => heard.includes(end.toString("hex")));
    const of = (bytes: Buffer) => heard.filter((each) => each === bytes.toString("hex")).length;
    expect(Object.values(others).map(of)).toEqual([1, 1, 1, 1]);
    return [of(first), of(second)];
  };
  try {
    expect(await come(20)).toEqual([20, 20]);
    expect(transport.thinHellos(0, 1)).toBe(true);
    expect(await come(20)).toEqual([0, 20]);
    expect(transport.thinHellos(1, 0)).toBe(true);
    expect(await come(20)).toEqual([20, 0]);
    expect(transport.thinHellos(0.25, 0.75)).toBe(true);
    const some = [0, 0];
    for (let i = 0; i < 20; i++)
      for (const [kind, count] of (await come(50)).entries()) some[kind] = (some[kind] ?? 0) + count;
    // Of 1,000 each: eight times their deviation is 110.
    expect(Math.abs((some[0] ?? 0) - 250)).toBeLessThan(110);
    expect(Math.abs((some[1] ?? 0) - 750)).toBeLessThan(110);
    expect(transport.thinHellos(1, 1)).toBe(true);
    expect(await come(20)).toEqual([20, 20]);
    expect(transport.thinHellos(1, 1)).toBe(true); // there is none to take away
  } finally {
    socket.close();
    await transport.close();
  }
});
