/** A capture file returns what was written to it; reading any other octets never throws. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { CaptureWriter, type Datagram, datagramIn, type ReadDatagram } from "../../src/capture/capture-file.ts";
import { type CapturePacket, PcapngReader } from "../../src/capture/pcapng.ts";

const transports = ["udp", "ble", "serial"];

const port = fc.integer({ min: 1, max: 65_535 }).filter((value) => value !== 1883);
const peer = fc.oneof(
  fc.tuple(fc.ipV4(), port).map(([host, at]) => ({ peer: `udp/${host}:${at}`, device: `${host}:${at}` })),
  fc.tuple(fc.ipV6(), port).map(([host, at]) => ({ peer: `udp/[${host}]:${at}`, device: expect.any(String) })),
  fc.constantFrom("ble/c0:98:e5:00:00:01", "serial/ttyUSB0").map((name) => ({
    peer: name,
    device: expect.stringMatching(/^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+:\d+$/),
  })),
);

const datagram = fc.record({
  atUs: fc.integer({ min: 0, max: 2 ** 51 }),
  direction: fc.constantFrom("in" as const, "out" as const),
  where: peer,
  bytes: fc.uint8Array({ maxLength: 2_000 }),
  // The first option is the comment, with any content.
  comment: fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }),
  value: fc.option(fc.json(), { nil: undefined }),
  missing: fc.nat(100),
});

function written(datagrams: readonly Datagram[]): Uint8Array {
  const writer = new CaptureWriter(transports);
  const parts = datagrams.map((each) => writer.datagram(each, each.peer.split("/")[0] ?? ""));
  return Buffer.concat([writer.head(), ...parts, writer.lost(7, 1)]);
}

function readInPieces(file: Uint8Array, size: number): { packets: CapturePacket[]; reader: PcapngReader } {
  const reader = new PcapngReader();
  const packets: CapturePacket[] = [];
  for (let at = 0; at < file.length; at += size) packets.push(...reader.push(file.subarray(at, at + size)));
  reader.end();
  return { packets, reader };
}

test("any datagrams, written and read in pieces of any size, are the same datagrams", () => {
  fc.assert(
    fc.property(fc.array(datagram, { maxLength: 20 }), fc.integer({ min: 1, max: 5_000 }), (all, size) => {
      const file = written(
        all.map(({ where, missing, value, ...rest }) => ({
          ...rest,
          ...(value !== undefined && { value }),
          peer: where.peer,
          wholeBytes: rest.bytes.length + missing,
        })),
      );
      const { packets, reader } = readInPieces(file, size);
      expect([reader.fault, reader.dropped]).toEqual([undefined, 7]);
      expect(packets.map((packet) => datagramIn(packet))).toEqual(
        all.map(
          ({ atUs, direction, where, bytes, comment, value, missing }): ReadDatagram => ({
            atUs,
            direction,
            device: where.device,
            transport: where.peer.split("/")[0] ?? "",
            payload: bytes,
            wholeBytes: bytes.length + missing,
            comment,
            ...(value !== undefined && { value }),
          }),
        ),
      );
    }),
  );
});

test("the same peer has the same address in every file, two thousand others have others", () => {
  const writer = new CaptureWriter(["ble"]);
  const deviceOf = (name: string) => {
    const whole = { atUs: 0, direction: "in", bytes: new Uint8Array(2), wholeBytes: 2, comment: "" } as const;
    const file = Buffer.concat([writer.head(), writer.datagram({ ...whole, peer: name }, "ble")]);
    const [packet] = readInPieces(file, file.length).packets;
    return packet && datagramIn(packet)?.device;
  };
  const names = Array.from({ length: 2_000 }, (_, i) => `ble/c0:98:e5:00:${i >> 8}:${i & 255}`);
  expect(new Set(names.map(deviceOf)).size).toBe(2_000);
  expect(deviceOf("ble/c0:98:e5:00:00:01")).toBe(deviceOf("ble/c0:98:e5:00:00:01"));
});

test("what is no capture, or a damaged one, is a fault in words", () => {
  const good = written([
    { atUs: 1, direction: "in", peer: "udp/10.0.0.1:7", bytes: Uint8Array.of(2, 22), wholeBytes: 2, comment: "c" },
  ]);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      const { packets, reader } = readInPieces(bytes, 64);
      expect([packets, typeof reader.fault]).toEqual([[], "string"]);
    }),
  );
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, value) => {
      const damaged = Uint8Array.from(good);
      damaged[at] = value;
      const { packets } = readInPieces(damaged, 64);
      for (const packet of packets) datagramIn(packet);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: good.length - 1 }), (length) => {
      // A cut between two blocks cannot be seen.
      const { packets, reader } = readInPieces(good.subarray(0, length), 64);
      if (packets.length === 1) return;
      expect(reader.fault === undefined || /ends within|is not a pcapng/.test(reader.fault)).toBe(true);
    }),
  );
});

test("a file of the other order of octets, in nanoseconds, by Ethernet, is read as well", () => {
  const big = (...numbers: number[]) => numbers.flatMap((n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
  const framed = (type: number, body: number[]) =>
    big(type, body.length + 12, ...[]).concat(body, big(body.length + 12));
  const frame = [
    ...Array<number>(12).fill(0),
    ...[0x08, 0x00],
    ...[0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
    ...[0x30, 0x39, 0x07, 0x5b, 0, 10, 0, 0],
    ...[2, 0x16],
    ...Array<number>(16).fill(0), // a short frame is filled up
  ];
  const at = 1_700_000_000_123_456_789n;
  const file = Uint8Array.from([
    ...framed(0x0a0d0d0a, [...big(0x1a2b3c4d), 0, 1, 0, 0, ...Array<number>(8).fill(255)]),
    ...framed(1, [0, 1, 0, 0, ...big(0), 0, 9, 0, 1, 9, 0, 0, 0, ...big(0)]),
    ...framed(6, [...big(0, Number(at >> 32n), Number(at & 0xffffffffn), frame.length, frame.length), ...frame]),
  ]);
  const { packets, reader } = readInPieces(file, 7);
  expect(reader.fault).toBeUndefined();
  expect(packets.map((packet) => datagramIn(packet))).toEqual([
    expect.objectContaining({
      atUs: 1_700_000_000_123_456,
      direction: "in",
      device: "10.0.0.1:12345",
      payload: Uint8Array.of(2, 0x16),
    }),
  ]);
});
