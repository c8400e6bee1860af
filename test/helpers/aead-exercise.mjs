/** native/aead.c, played with: all ciphers, all lengths at the edges, good tags and bad ones. Run under sanitizers and in threads. */
import assert from "node:assert";
import { createRequire } from "node:module";

const native = createRequire(import.meta.url)(process.argv[2]);
const { arena, work } = native;
const [atAbout, atText, textMax] = [32, 96, 17 * 1_024];
const tags = [8, 16, 16];
/** The same numbers in each run. */
let seed = Number(process.argv[3]);
const random = (below) => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return Math.floor(seed / 8) % below;
};
assert.strictEqual(arena.length, atText + textMax);

for (let round = 0; round < 3_000; round++) {
  const kind = random(3);
  const room = textMax - tags[kind];
  const octets = round % 50 === 0 ? room - random(2) : 1 + random(200);
  const about = round % 20 === 0 ? 64 : 1 + random(64);
  for (let i = 0; i < atText; i++) arena[i] = random(256);
  const head = arena.slice(0, atText);
  const text = Uint8Array.from({ length: octets }, (_, i) => (i * seed) % 256);
  arena.set(text, atText);
  assert.strictEqual(work(kind, 1, about, octets), 1);
  const sealed = arena.slice(atText, atText + octets + tags[kind]);
  assert.deepStrictEqual(arena.subarray(0, atText), head);
  if (octets > 16) assert.notDeepStrictEqual(sealed.subarray(0, octets), text);
  const bad = atText + random(sealed.length);
  arena[bad] ^= 1 + random(255);
  assert.strictEqual(work(kind, 0, about, octets), 0);
  arena.set(sealed, atText);
  arena[atAbout + random(about)] ^= 1 + random(255);
  assert.strictEqual(work(kind, 0, about, octets), 0);
  arena.set(head);
  arena.set(sealed, atText);
  assert.strictEqual(work(kind, 0, about, octets), 1);
  assert.deepStrictEqual(arena.slice(atText, atText + octets), text);
  assert.throws(() => work(kind, 0, about, room + 1), TypeError);
}
assert.throws(() => work(0, 0), TypeError);
assert.throws(() => work("0", 0, 1, 1), TypeError);
process.stdout.write("done\n");
