/** Ciphers of records by the compiled part: the same octets as by node:crypto, and the same refusals. Needs a C compiler. */
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Aead, AeadName } from "../../src/secure/crypto.ts";
import { openRecord, readRecord, sealedRecord } from "../../src/secure/record.ts";
import { loadNativeAead, withNativeAead } from "../../src/transports/dtls/native-crypto.ts";
import { nodeCrypto } from "../../src/transports/dtls/node-crypto.ts";
import { expectNothingOutsideItsMemory, noSanitizers } from "../helpers/sanitized.ts";

const native = loadNativeAead();
if (!native && process.env["CI"]) throw new Error("native/aead.c is not compiled: node scripts/build-native.mjs");
const why = native ? "" : " (skipped: native/aead.c is not compiled)";

const root = resolve(import.meta.dirname, "../..");
const names = ["aes-128-ccm-8", "aes-128-ccm", "aes-128-gcm"] as const satisfies readonly AeadName[];
const octets = (minLength: number, maxLength = minLength) => fc.uint8Array({ minLength, maxLength });
const sealing = fc.record({
  name: fc.constantFrom(...names),
  key: octets(16),
  nonce: octets(12),
  about: octets(1, 64),
  text: fc.oneof({ weight: 5, arbitrary: octets(0, 300) }, octets(16_000, 17_000), fc.constant(new Uint8Array(17_392))),
  /** Which octet is changed, and how. */
  at: fc.nat(),
  by: fc.integer({ min: 1, max: 255 }),
});

function changed(bytes: Uint8Array, at: number, by: number): Uint8Array {
  const copy = Uint8Array.from(bytes); // a Buffer's slice is no copy
  const i = at % copy.length;
  copy[i] = (copy[i] ?? 0) ^ by;
  return copy;
}

describe.skipIf(!native)(`records by the compiled part${why}`, () => {
  const crypto = withNativeAead(native);
  const both = (name: AeadName, key: Uint8Array): readonly [Aead, Aead] => [
    crypto.aead(name, key),
    nodeCrypto.aead(name, key),
  ];

  test("are sealed, opened and refused as by node:crypto, octet by octet", () => {
    fc.assert(
      fc.property(sealing, ({ name, key, nonce, about, text, at, by }) => {
        const [compiled, plain] = both(name, key);
        const sealed = Uint8Array.from(compiled.seal(nonce, about, text));
        expect(Buffer.compare(sealed, plain.seal(nonce, about, text))).toBe(0);
        const opened = compiled.open(nonce, about, sealed);
        expect(opened && Buffer.compare(opened, text)).toBe(0);
        expect(compiled.open(nonce, about, changed(sealed, at, by))).toBeUndefined();
        expect(compiled.open(changed(nonce, at, by), about, sealed)).toBeUndefined();
        expect(compiled.open(nonce, changed(about, at, by), sealed)).toBeUndefined();
        expect(
          compiled.open(nonce, about, sealed.subarray(0, sealed.length - 1 - (at % sealed.length))),
        ).toBeUndefined();
        // A refusal leaves nothing behind.
        const again = compiled.open(nonce, about, sealed);
        expect(again && Buffer.compare(again, text)).toBe(0);
      }),
      { numRuns: process.env["QUICK"] ? 100 : 400 },
    );
  });

  test("of several keys and ciphers in any order do not disturb each other", () => {
    const ends = names.flatMap((name) => [1, 2].map((i) => ({ by: both(name, new Uint8Array(16).fill(i)) })));
    fc.assert(
      fc.property(
        fc.array(fc.record({ which: fc.nat(ends.length - 1), nonce: octets(12), text: octets(1, 90) })),
        (all) => {
          const about = Uint8Array.of(1, 2, 3);
          const records = all.map(({ which, nonce, text }) => ({
            which,
            nonce,
            sealed: Uint8Array.from(ends[which]?.by[0].seal(nonce, about, text) ?? []),
          }));
          for (const [i, { which, nonce, sealed = new Uint8Array() }] of records.entries()) {
            const other = ends[(which + 1) % ends.length];
            expect(other?.by[0].open(nonce, about, sealed)).toBeUndefined();
            expect(ends[which]?.by[1].open(nonce, about, sealed)).toEqual(Buffer.from(all[i]?.text ?? []));
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test("what was opened belongs to whoever asked, and so does a sealed record: the next one changes nothing of it", () => {
    const aead = crypto.aead("aes-128-gcm", new Uint8Array(16));
    const end = { aead, iv: new Uint8Array(4), tagOctets: 16 };
    const record = (seq: number, text: number) =>
      sealedRecord(end, { type: 23, seq, cid: undefined, content: Uint8Array.of(text, text, text) });
    const first = record(1, 7);
    const copy = first.slice();
    const read = readRecord(first, 0, 0);
    const opened = read && openRecord(end, read);
    record(2, 9);
    expect(first).toEqual(copy);
    expect(opened?.content).toEqual(Uint8Array.of(7, 7, 7));
  });

  test("the compiled part takes no lengths that it has no room for", () => {
    for (const [kind, sealing, about, text] of [
      [3, 0, 13, 1],
      [-1, 0, 13, 1],
      [0, 2, 13, 1],
      [0, 0, 65, 1],
      [0, 0, 0, 1],
      [0, 0, 13, 0],
      [0, 0, 13, 17 * 1_024 - 7],
      [2, 1, 13, 17 * 1_024 - 15],
      [0, 0, 13, -1],
      [0, 0, 13, 2 ** 31],
    ] as const)
      expect(() => native?.work(kind, sealing, about, text), `${kind} ${sealing} ${about} ${text}`).toThrow(TypeError);
  });

  test("each thread has its own", async () => {
    const script = join(root, "test/helpers/aead-exercise.mjs");
    const ends = [1, 2].map(
      (seed) =>
        new Promise<number>((done, fail) => {
          const argv = [join(root, "native/build/aead.node"), String(seed)];
          new Worker(script, { argv, stdout: true }).once("exit", done).once("error", fail);
        }),
    );
    expect(await Promise.all(ends)).toEqual([0, 0]);
  });

  if (noSanitizers !== "" && process.env["CI"]) throw new Error(noSanitizers);
  test.skipIf(noSanitizers !== "")(
    `with sanitizers: nothing outside its memory${noSanitizers}`,
    { timeout: 60_000 },
    () => expectNothingOutsideItsMemory("aead", "aead-exercise.mjs", ["3"]),
  );
});

test("without the compiled part node:crypto does it", () => {
  expect(withNativeAead(undefined)).toBe(nodeCrypto);
});
