/** The tables of parked sessions, against simple models of them. */
import { describe, expect, test } from "vitest";
import { Arena } from "../../../src/core/arena.ts";
import { Interned } from "../../../src/core/interned.ts";
import { Numbers } from "../../../src/core/numbers.ts";
import { OctetReader, OctetWriter } from "../../../src/core/octet-form.ts";
import { RowHeap, RowOrder } from "../../../src/core/row-heap.ts";
import { RowIndex } from "../../../src/core/row-index.ts";
import { HostCounts } from "../../../src/core/state/host-counts.ts";
import { IdleOrder } from "../../../src/core/state/idle-order.ts";
import type { Session } from "../../../src/core/state/session.ts";
import { Rng } from "../../simulation/rng.ts";

const nothingFound = (finding: string) => {
  throw new Error(finding);
};

describe("arena", () => {
  test("keeps the octets of each row, whatever is added and removed, and its holes stay few", () => {
    const rng = new Rng(3);
    const addresses = new Map<number, number>();
    const contents = new Map<number, Uint8Array>();
    const arena = new Arena((row, address) => addresses.set(row, address));
    let octets = 0;
    for (let step = 0; step < 20_000; step++) {
      const row = rng.int(0, 3_000);
      const address = addresses.get(row);
      if (address !== undefined) {
        addresses.delete(row);
        octets -= contents.get(row)?.length ?? 0;
        arena.remove(address);
      } else {
        const length = rng.chance(0.001) ? 300_000 : rng.int(0, 400);
        const content = new Uint8Array(length).fill(row & 0xff);
        contents.set(row, content);
        octets += length;
        addresses.set(row, arena.add(row, content, length));
      }
      if (step % 500 !== 0) continue;
      arena.check((each) => addresses.get(each) ?? 0, nothingFound);
      for (const [each, at] of addresses) {
        const place = arena.place(at);
        const expected = contents.get(each) ?? new Uint8Array();
        expect(Buffer.compare(place.octets.subarray(place.at, place.at + expected.length), expected)).toBe(0);
      }
      expect(arena.octets).toBeLessThan(1.6 * (octets + 12 * addresses.size) + 2 * 262_144);
    }
  });

  test("of records that come and go nothing stays, also if each goes while its piece is the newest", () => {
    const arena = new Arena(() => undefined);
    const stays = arena.add(1, Uint8Array.of(7), 1);
    for (let i = 0; i < 50_000; i++) arena.remove(arena.add(2, new Uint8Array(100), 100));
    for (let i = 0; i < 100; i++) arena.remove(arena.add(2, new Uint8Array(70_000), 70_000));
    expect(arena.octets).toBeLessThanOrEqual(2 * 262_144);
    expect([arena.size, stays]).toEqual([1, 1]);
    arena.check(
      () => 0,
      () => undefined,
    );
  });

  test("records of every length are kept apart", () => {
    const addresses = new Map<number, number>();
    const arena = new Arena((row, address) => addresses.set(row, address));
    const lengths = [0, 1, 65_533, 65_534, 65_535, 65_536, 65_537, 262_143, 262_144, 300_001];
    for (const [row, length] of lengths.entries())
      addresses.set(row, arena.add(row, new Uint8Array(length).fill(row + 1), length));
    for (const [row, length] of lengths.entries()) {
      const { octets, at } = arena.place(addresses.get(row) ?? 0);
      expect(octets.subarray(at, at + length).every((octet) => octet === row + 1)).toBe(true);
      expect(octets.length - at).toBeGreaterThanOrEqual(length);
    }
    arena.check((row) => addresses.get(row) ?? 0, nothingFound);
    for (const row of [...addresses.keys()].sort((one, other) => other - one)) {
      arena.remove(addresses.get(row) ?? 0);
      addresses.delete(row);
      arena.check((each) => addresses.get(each) ?? 0, nothingFound);
    }
    expect(arena.size).toBe(0);
  });

  test("a record that is removed twice is a fault", () => {
    const arena = new Arena(() => undefined);
    const address = arena.add(1, new Uint8Array(3), 3);
    arena.remove(address);
    expect(() => arena.remove(address)).toThrow(/is there/);
  });
});

test("numbers by row: as a list that begins with zeros, in pages that are never copied", () => {
  const rng = new Rng(8);
  for (const kind of [Int32Array, Float64Array]) {
    const numbers = new Numbers(kind);
    const model = new Map<number, number>();
    for (let step = 0; step < 5_000; step++) {
      const row = rng.chance(0.2) ? rng.int(0, 200_000) : rng.int(0, 30);
      if (rng.chance(0.5)) {
        model.set(row, step - 2_500);
        numbers.set(row, step - 2_500);
      }
      expect(numbers.get(row)).toBe(model.get(row) ?? 0);
    }
    for (const [row, number] of model) expect(numbers.get(row)).toBe(number);
    expect([16_383, 16_384, 1_000_000].map((row) => numbers.get(row))).toEqual(
      [16_383, 16_384, 1_000_000].map((row) => model.get(row) ?? 0),
    );
  }
});

test("rows in order: the first is the lowest, whatever is added and removed", () => {
  const rng = new Rng(4);
  const order = new RowOrder();
  const heaps = [new RowHeap(order), new RowHeap(order)] as const;
  const models = [new Map<number, number>(), new Map<number, number>()] as const;
  for (let step = 0; step < 5_000; step++) {
    const which = rng.int(0, 1) as 0 | 1;
    const row = rng.int(0, 200) * 2 + which; // a row is in one heap at most
    if (models[which].delete(row)) heaps[which].remove(row);
    else {
      const key = rng.int(0, 50);
      models[which].set(row, key);
      heaps[which].add(row, key);
    }
    for (const at of [0, 1] as const) {
      expect(heaps[at].size).toBe(models[at].size);
      const lowest = Math.min(...models[at].values());
      expect(heaps[at].lowest).toBe(lowest);
      const first = heaps[at].first;
      expect(first === undefined ? Number.POSITIVE_INFINITY : models[at].get(first)).toBe(lowest);
    }
    if (step % 100 === 0) for (const heap of heaps) heap.check(nothingFound);
  }
});

test("rows by text: each is found, and only where its owner says so", () => {
  const index = new RowIndex(7);
  const texts = Array.from({ length: 2_000 }, (_, i) => `client-${i}`);
  for (const [row, text] of texts.entries()) index.add(text, row);
  const find = (text: string) => index.find(text, (row) => texts[row] === text);
  expect(texts.map(find)).toEqual(texts.map((_, row) => row));
  expect(find("another")).toBe(-1);
  for (let row = 0; row < texts.length; row += 2) index.remove(row);
  expect([find("client-0"), find("client-1"), index.size]).toEqual([-1, 1, 1_000]);
  index.check(nothingFound);
});

test("a value is kept as long as something refers to it", () => {
  const values = new Interned<string | undefined>();
  const [one, again, none] = [values.use("one"), values.use("one"), values.use(undefined)];
  expect([one, again, none].map((number) => values.get(number))).toEqual(["one", "one", undefined]);
  expect(values.size).toBe(2);
  values.release(one);
  expect(values.get(again)).toBe("one");
  values.release(again);
  values.release(none);
  expect(values.size).toBe(0);
  expect(values.get(values.use("two"))).toBe("two");
});

test("numbers and texts come back as they were written", () => {
  const into = new OctetWriter();
  const counts = [0, 1, 127, 128, 300, 65_535, 2 ** 31, 2 ** 32 + 5, Number.MAX_SAFE_INTEGER];
  const floats = [0, -1.5, 1e300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1_234_567.891];
  const texts = ["", "d/17/set", "Gerät/Fühler", "温度", "a\u{1f600}b", "x".repeat(5_000), "ü".repeat(3_000)];
  into.begin();
  for (const count of counts) into.count(count);
  for (const float of floats) into.float(float);
  for (const text of texts) into.text(text);
  into.bytes(Uint8Array.of(1, 2, 3));
  const { octets } = into;
  const from = new OctetReader({ octets, view: new DataView(octets.buffer), at: 0 });
  expect(counts.map(() => from.count())).toEqual(counts);
  expect(floats.map(() => from.float())).toEqual(floats);
  expect(texts.map(() => from.text())).toEqual(texts);
  expect(from.bytes()).toEqual(Uint8Array.of(1, 2, 3));
  into.begin();
  for (const text of texts) into.text(text);
  const again = new OctetReader({ octets: into.octets, view: new DataView(into.octets.buffer), at: 0 });
  expect(texts.map((text, i) => again.isText(i % 2 === 0 ? text : `${text.slice(1)}?`))).toEqual(
    texts.map((_, i) => i % 2 === 0),
  );
});

test("who is away for the longest time is the first, of those that may be taken", () => {
  const rng = new Rng(5);
  const order = new IdleOrder();
  const all = Array.from({ length: 100 }, (_, i) => ({ clientId: `${i}`, idlePlace: -1 }) as unknown as Session);
  const model = new Map<Session, [since: number, number: number]>();
  for (let step = 1; step < 5_000; step++) {
    const session = rng.pick(all);
    if (model.delete(session)) order.remove(session);
    else {
      model.set(session, [rng.int(0, 20), step]);
      order.add(session, ...(model.get(session) ?? [0, 0]));
    }
    const isFree = (each: Session) => Number(each.clientId) % 3 !== step % 3;
    const [expected] = [...model]
      .filter(([each]) => isFree(each))
      .sort(([, [since, number]], [, [otherSince, otherNumber]]) => since - otherSince || number - otherNumber);
    expect(order.first(isFree)).toBe(expected?.[0]);
    expect(order.size).toBe(model.size);
    if (step % 100 === 0) order.check(nothingFound);
  }
});

test("sessions of each host are counted, of few hosts and of many", () => {
  const rng = new Rng(6);
  const counts = new HostCounts(() => rng.next());
  const hosts = Array.from({ length: 6_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`).flatMap((host, i) =>
    i % 3 === 0 ? [host, host] : [host],
  );
  const there: string[] = [];
  for (const [i, host] of hosts.entries()) {
    counts.add(host);
    there.push(host);
    if (i % 1_500 === 0) counts.check(there, nothingFound);
  }
  expect(["10.0.0.0", "10.0.0.1", "10.9.9.9"].map((host) => counts.of(host))).toEqual([2, 1, 0]);
  for (const host of there.splice(0, 7_000)) counts.remove(host);
  counts.check(there, nothingFound);
});
