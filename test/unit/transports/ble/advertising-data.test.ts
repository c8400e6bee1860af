/** Advertising data written by hand, valid and invalid. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { manufacturerElements } from "../../../../src/transports/ble/advertising-data.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(/[\s|]/g, ""), "hex");

test("all manufacturers' elements, in their order, and no others", () => {
  const data = hex("02 01 06 | 05 ff ffff a1 00 | 03 03 0a18 | 04 ff 4c00 02");
  expect(manufacturerElements(data)).toEqual([hex("ffff a1 00"), hex("4c00 02")]);
});

test("zeros end the data early; what is cut off does not count", () => {
  expect(manufacturerElements(hex("04 ff 4c00 02 | 00 00 00"))).toEqual([hex("4c00 02")]);
  expect(manufacturerElements(hex("04 ff 4c00 02 | 00 | 04 ff 4c00 03"))).toEqual([hex("4c00 02")]);
  expect(manufacturerElements(hex("04 ff 4c00 02 | 05 ff 4c00 03"))).toEqual([hex("4c00 02")]);
  expect(manufacturerElements(hex("01 ff"))).toEqual([hex("")]);
  expect(manufacturerElements(hex("01"))).toEqual([]);
});

test("elements laid one after the other are found again; any octets at all do no harm", () => {
  const content = fc.uint8Array({ maxLength: 254 });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 255 }), content)), (elements) => {
      const data = Buffer.concat(elements.map(([type, each]) => Buffer.of(each.length + 1, type, ...each)));
      const wanted = elements.flatMap(([type, each]) => (type === 0xff ? [Buffer.from(each)] : []));
      expect(manufacturerElements(data)).toEqual(wanted);
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (data) => void manufacturerElements(data)));
});
