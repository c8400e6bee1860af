/** Addresses of batched UDP: their binary form and their names, and the limit of what is remembered. */
import { beforeEach, describe, expect, test } from "vitest";
import { RecentMap } from "../../../src/transports/recent-map.ts";
import { type PeerNames, V4Addresses, V6Addresses } from "../../../src/transports/udp-addresses.ts";
import { type BatchEvents, type NativeBatch, UdpBatch } from "../../../src/transports/udp-batch.ts";

const names: PeerNames = {
  peerOf: (host, port) => `udp/${host}:${port}`,
  addressOf: (peer) => {
    const colon = peer.lastIndexOf(":");
    return { host: peer.slice(4, colon), port: Number(peer.slice(colon + 1)) };
  },
};

let lookUps: string[] = [];
let sent: number[] = [];
/** A kernel with addresses of one octet: ::7 is 7. */
const native: NativeBatch = {
  open: () => 3,
  host: (words, index) => `::${words[index * 8 + 7]}`,
  address: (host, port, words, index) => {
    lookUps.push(`${host} ${port}`);
    words.set([port, 0, 0, 0, 0, Number(host.slice(2))], index * 8 + 2);
    return host.startsWith("::") ? 1 : 0;
  },
  receive: () => 0,
  send: (_fd, _arena, words, count) => {
    for (let i = 0; i < count; i++) sent.push(words[i * 8 + 7] ?? 0);
    return count;
  },
};
beforeEach(() => {
  lookUps = [];
  sent = [];
});

describe("IPv4", () => {
  const words = new Uint32Array(16);

  test.each([
    ["udp/192.0.2.1:1883", 0xc000_0201, 1883],
    ["udp/255.255.255.255:65535", 0xffff_ffff, 65_535],
    ["udp/0.0.0.0:1", 0, 1],
  ])("%s to words and back", (peer, address, port) => {
    const v4 = new V4Addresses(names);
    words.fill(0xdead);
    expect(v4.write(peer, words, 8)).toBe(true);
    expect([...words.subarray(10)]).toEqual([port, 0, 0, 0, 0xffff, address]);
    expect(v4.peerAt(words, 8)).toBe(peer);
    expect(v4.peerAt(words, 8)).toBe(peer);
  });

  test.each([
    "udp/",
    "udp/1.2.3:4",
    "udp/1.2.3.4",
    "udp/1.2.3.4:",
    "udp/1.2.3.4:0",
    "udp/1.2.3.4:65536",
    "udp/1.2.3.4:1x",
    "udp/1.2.3.4:123456",
    "udp/1.2.3.256:4",
    "udp/1.2.3.4.5:6",
    "udp/1..3.4:5",
    "udp/0001.2.3.4:5",
    "udp/::1:5",
    "udp/host:5",
    "udp/-1.2.3.4:5",
    "udp/1.2.3.4:+5",
  ])("%s is no address", (peer) => {
    expect(new V4Addresses(names).write(peer, words, 0)).toBe(false);
  });
});

describe("IPv6", () => {
  test("a name is looked up once, an address that agrees in part is told apart", () => {
    const v6 = new V6Addresses(native, names);
    const words = new Uint32Array(16);
    for (let i = 0; i < 2; i++) expect(v6.write("udp/::7:1883", words, 8)).toBe(true);
    expect(lookUps).toEqual(["::7 1883"]);
    expect(v6.peerAt(words, 8, 1)).toBe("udp/::7:1883");
    const other = new V6Addresses({ ...native, host: () => "fe80::7%eth0" }, names);
    other.write("udp/::7:1883", words, 8);
    words[8 + 3] = 2; // the scope
    expect(other.peerAt(words, 8, 1)).toBe("udp/fe80::7%eth0:1883");
    expect(v6.write("udp/host:1", words, 0)).toBe(false);
  });
});

test("the batch: what is no literal address is left to Node, and nothing is sent once it is closed", () => {
  const events: BatchEvents = { ...names, datagram: () => {}, notSent: () => {}, sendByNode: () => {} };
  const batch = UdpBatch.open(native, "192.0.2.1", 1_883, events);
  const one = Uint8Array.of(1);
  for (let i = 1; i <= 64; i++) expect(batch?.send(`udp/0.0.0.${i}:1`, one)).toBe(true);
  expect(batch?.send("udp/host:1", one)).toBe(false);
  expect(batch?.send("udp/0.0.0.65:1", one)).toBe(true);
  batch?.close();
  expect(sent).toEqual(Array.from({ length: 65 }, (_, i) => i + 1));
  expect(batch?.send("udp/0.0.0.1:1", one)).toBe(false);
});

test("a map of what was asked for lately: bounded, and what is used stays", () => {
  const map = new RecentMap<number, string>(10);
  map.set(0, "zero");
  for (let i = 1; i <= 1_000; i++) {
    map.set(i, "more");
    expect(map.get(0)).toBe("zero");
  }
  const kept = Array.from({ length: 1_001 }, (_, i) => i).filter((i) => map.get(i) !== undefined);
  expect(kept.length).toBeLessThanOrEqual(20);
  expect(kept).toContain(1_000);
});
