import { expect, test } from "vitest";
import { ordinal } from "../../../../src/transports/ble/ordinal.ts";

test.each([
  [1, "1st"],
  [2, "2nd"],
  [3, "3rd"],
  [4, "4th"],
  [10, "10th"],
  [11, "11th"],
  [12, "12th"],
  [13, "13th"],
  [21, "21st"],
  [22, "22nd"],
  [23, "23rd"],
  [100, "100th"],
  [101, "101st"],
  [111, "111th"],
  [113, "113th"],
  [1_002, "1002nd"],
])("%i is the %s", (count, text) => {
  expect(ordinal(count)).toBe(text);
});
