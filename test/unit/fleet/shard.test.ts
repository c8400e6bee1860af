import { expect, test } from "vitest";
import { shardOf, weightOf } from "../../../src/fleet/shard.ts";

/** Largest and smallest share of the clients that a shard has, against an equal share. */
function spread(ids: readonly string[], shards: number): readonly [number, number] {
  const counts = new Array<number>(shards).fill(0);
  for (const id of ids) counts[shardOf(id, shards)] = (counts[shardOf(id, shards)] ?? 0) + 1;
  const equal = ids.length / shards;
  return [Math.min(...counts) / equal, Math.max(...counts) / equal];
}

const numbered = (name: (n: number) => string) => Array.from({ length: 100_000 }, (_, n) => name(n));

test.each([
  ["numbers at the end", (n: number) => `device-${n}`],
  ["numbers with zeros", (n: number) => `s${String(n).padStart(7, "0")}`],
  ["addresses in hex", (n: number) => `${(0xd04a_0000 + n * 16).toString(16)}`],
  ["numbers in front", (n: number) => `${n}/meter`],
])("100,000 clients with %s spread evenly over 16, 64 and 256 shards", (_say, name) => {
  const ids = numbered(name);
  for (const shards of [16, 64, 256]) {
    const [least, most] = spread(ids, shards);
    expect(least).toBeGreaterThan(0.8);
    expect(most).toBeLessThan(1.2);
  }
});

test("the shard of a client id never changes: what is stored lies there", () => {
  expect(["", "a", "device-1", "Gerät-7", "𝟙"].map((id) => shardOf(id, 64))).toEqual([11, 51, 30, 9, 17]);
});

test("a member that leaves moves only the shards that it had", () => {
  const ownerOf = (members: readonly string[], shard: number) =>
    members.reduce((best, each) => (weightOf(each, shard) > weightOf(best, shard) ? each : best));
  const five = ["barn", "silo", "mill", "north", "south"];
  for (let shard = 0; shard < 256; shard++) {
    const before = ownerOf(five, shard);
    if (before !== "mill")
      expect(
        ownerOf(
          five.filter((each) => each !== "mill"),
          shard,
        ),
      ).toBe(before);
  }
  const owned = five.map((name) => Array.from({ length: 256 }, (_, s) => ownerOf(five, s)).filter((o) => o === name));
  for (const each of owned) expect(each.length).toBeGreaterThan(25);
});
