import { expect, test } from "vitest";
import { StallWatch, stallCheckMs } from "../../../src/transports/stall-watch.ts";

test("a pause of half a second is a stall, told once; what is usual between two looks is none", () => {
  const watch = new StallWatch(1_000);
  expect(watch.note(1_000 + stallCheckMs)).toBe(0);
  expect(watch.note(1_000 + stallCheckMs + 499)).toBe(0);
  const at = 1_000 + stallCheckMs + 499;
  expect(watch.note(at + 500)).toBe(500);
  expect(watch.note(at + 500)).toBe(0);
});
