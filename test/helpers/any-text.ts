/** For properties: texts of any characters. */
import fc from "fast-check";

/**
 * One character, of all that Unicode has, as `unit` of `fc.string`. That of fast-check first makes tables of a million
 * entries, which takes most of a second.
 */
export const anyCharacter = fc
  .oneof(
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 0x7f }) },
    fc.integer({ min: 0x80, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0x10_ffff }),
  )
  .map((codePoint) => String.fromCodePoint(codePoint));
