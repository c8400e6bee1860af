/** Reports of extended advertising that come in pieces. */
import { expect, test } from "vitest";
import { ExtendedReports } from "../../../../src/transports/ble/extended-reports.ts";

const states = { complete: 0, more: 1, truncated: 2 };

function report(data: Uint8Array, state: keyof typeof states = "complete", address = 1, set = 0): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt16LE(states[state] << 5, 0);
  head.set([1, address, 0, 0, 0, 0, 0xc0, 1, 1, set], 2);
  head[23] = data.length;
  return Buffer.concat([head, data]);
}

function packet(...reports: readonly Buffer[]): Buffer {
  const body = Buffer.concat(reports);
  return Buffer.concat([Buffer.of(4, 0x3e, Math.min(255, 2 + body.length), 0x0d, reports.length), body]);
}

const octets = (count: number, value: number) => Buffer.alloc(count, value);
const dataOf = (packets: readonly Buffer[]) =>
  packets.map((each) => {
    expect([each[4], each.length]).toEqual([1, 29 + (each[28] ?? 0)]);
    return each.subarray(29);
  });

test("what is whole, and what is none, passes as it is", () => {
  const reports = new ExtendedReports();
  for (const each of [
    packet(report(octets(229, 1))),
    packet(report(octets(3, 1)), report(octets(4, 2), "complete", 2)),
    Buffer.of(4, 0x3e, 3, 2, 1, 0),
    Buffer.of(4, 0x0e, 1, 1),
    Buffer.of(2, 0, 0, 0, 0),
  ]) {
    expect(reports.take(each)).toEqual([each]);
    expect(reports.take(each)[0]).toBe(each);
  }
});

test("pieces are one report when the last one is there, whoever else speaks between", () => {
  const reports = new ExtendedReports();
  expect(reports.take(packet(report(octets(200, 1), "more")))).toEqual([]);
  expect(reports.take(packet(report(octets(9, 2), "more", 2)))).toEqual([]);
  expect(reports.take(packet(report(octets(8, 3), "more", 1, 5)))).toEqual([]); // another set of the first one
  const other = packet(report(octets(7, 4), "complete", 3));
  expect(reports.take(other)).toEqual([other]);
  const both = reports.take(packet(report(octets(55, 1)), report(octets(1, 2), "complete", 2)));
  expect(dataOf(both)).toEqual([octets(255, 1), octets(10, 2)]);
  expect(both[0]?.readUInt16LE(5)).toBe(0);
  expect(dataOf(reports.take(packet(report(octets(1, 3), "complete", 1, 5))))).toEqual([octets(9, 3)]);
});

test("what is truncated, too long or cut off is nothing, and what follows is as it was", () => {
  const reports = new ExtendedReports();
  reports.take(packet(report(octets(100, 1), "more")));
  expect(reports.take(packet(report(octets(1, 1), "truncated")))).toEqual([]);
  reports.take(packet(report(octets(200, 1), "more")));
  expect(reports.take(packet(report(octets(56, 1))))).toEqual([]);
  const whole = packet(report(octets(31, 1)));
  for (let end = 4; end < whole.length; end++) expect(reports.take(whole.subarray(0, end))).toEqual([]);
  expect(reports.take(whole)).toEqual([whole]);
});

test("pieces of at most 32 advertisers are kept", () => {
  const reports = new ExtendedReports();
  for (let n = 0; n < 33; n++) reports.take(packet(report(octets(1, n), "more", n)));
  const first = packet(report(octets(1, 0), "complete", 0));
  expect(reports.take(first)).toEqual([first]);
  expect(dataOf(reports.take(packet(report(octets(1, 1), "complete", 1))))).toEqual([octets(2, 1)]);
});
