import { expect, test } from "vitest";
import { OctetDays } from "../../../src/runtime/octet-days.ts";

const at = (day: number, hour: number, minute = 0) => new Date(2026, 10, day, hour, minute).getTime();
const totals = (octetsIn: number, octetsOut: number, name = "") => new Map([[name, { in: octetsIn, out: octetsOut }]]);

test("octets are counted by the day, as this machine's clock has it, the newest first", () => {
  const days = new OctetDays();
  days.note(at(28, 23, 58), totals(10, 100));
  days.note(at(28, 23, 59), totals(20, 200));
  days.note(at(29, 0, 0), totals(25, 230));
  days.note(at(29, 12), totals(125, 1_230));
  expect(days.of("")).toEqual([
    { date: "2026-11-29", in: 105, out: 1_030 },
    { date: "2026-11-28", in: 20, out: 200 },
  ]);
  expect(days.of("another")).toEqual([]);
});

test("each upstream has its own", () => {
  const days = new OctetDays();
  days.note(
    at(28, 1),
    new Map([
      ["", { in: 1, out: 2 }],
      ["hall", { in: 3, out: 4 }],
    ]),
  );
  expect(days.of("hall")).toEqual([{ date: "2026-11-28", in: 3, out: 4 }]);
});

test("a clock that cannot be trusted yet: what came meanwhile belongs to the day that it says then", () => {
  const days = new OctetDays();
  days.note(undefined, totals(50, 60));
  expect(days.of("")).toEqual([]);
  days.note(at(28, 1), totals(51, 61));
  expect(days.of("")).toEqual([{ date: "2026-11-28", in: 51, out: 61 }]);
});

test("a clock that is set back goes on with the day that it says", () => {
  const days = new OctetDays();
  days.note(at(28, 1), totals(10, 10));
  days.note(at(29, 1), totals(20, 20));
  days.note(at(28, 2), totals(35, 35));
  expect(days.of("")).toEqual([
    { date: "2026-11-29", in: 10, out: 10 },
    { date: "2026-11-28", in: 25, out: 25 },
  ]);
});

test("no more than 31 days are kept", () => {
  const days = new OctetDays();
  for (let day = 1; day <= 60; day++) days.note(at(day, 1), totals(day, day));
  const kept = days.of("");
  expect(kept).toHaveLength(31);
  expect(kept[0]).toEqual({ date: "2026-12-30", in: 1, out: 1 });
});
