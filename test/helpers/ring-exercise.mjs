/** native/tcp-ring.c, played with: connections come and go, sends of every length, small socket buffers. Run under sanitizers. */
import assert from "node:assert";
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";

const native = createRequire(import.meta.url)(process.argv[2]);
const slotsMax = 2 ** 20;
/** The same numbers in each run. */
let seed = 12_345;
const random = (below) => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed % below;
};

const came = new Map();
const server = createServer((socket) => {
  came.set(socket.remotePort, []);
  socket.on("data", (chunk) => came.get(socket.remotePort).push(chunk));
  socket.on("error", () => {});
});
server.listen(0, "127.0.0.1");
await once(server, "listening");

const ring = native.open(64);
assert.notStrictEqual(typeof ring, "number");
const arena = new Uint8Array(65_536);
for (let i = 0; i < arena.length; i++) arena[i] = i % 251;
const words = new Uint32Array(64 * 5);
const results = new Int32Array(words.buffer);
const open = new Map();

async function come() {
  const socket = connect({ host: "127.0.0.1", port: server.address().port });
  await once(socket, "connect");
  const key = native.add(ring, socket._handle.fd);
  open.set(socket, { slot: key % slotsMax, generation: Math.floor(key / slotsMax), port: socket.localPort, said: [] });
}

for (let round = 0; round < 400; round++) {
  while (open.size < 80) await come();
  const places = [...open.values()].slice(0, 1 + random(64));
  for (const [i, { slot, generation }] of places.entries()) {
    const length = random(10) === 0 ? random(20_000) : random(200);
    words.set([slot, generation, random(arena.length - length), length, 0], i * 5);
  }
  const left = native.send(ring, arena, words, places.length);
  let short = 0;
  for (const [i, { said }] of places.entries()) {
    const taken = results[i * 5 + 4];
    if (taken !== words[i * 5 + 3]) short++;
    if (taken > 0) said.push(arena.slice(words[i * 5 + 2], words[i * 5 + 2] + taken));
    else assert(taken === 0 || taken === -11, `errno ${-taken}`);
  }
  assert.strictEqual(left, short);
  if (random(3) === 0) {
    const [socket, place] = [...open][random(open.size)];
    open.delete(socket);
    native.remove(ring, place.slot, place.generation);
    native.remove(ring, place.slot, place.generation);
    socket.end();
    await once(socket, "close");
    assert.deepStrictEqual(Buffer.concat(came.get(place.port)), Buffer.concat(place.said));
    words.set([place.slot, place.generation, 0, 1, 0]);
    assert.strictEqual(native.send(ring, arena, words, 1), 1);
    assert.strictEqual(results[4], -9);
  }
  await new Promise((done) => setImmediate(done));
}
for (let i = 0; i < 50; i++) native.close(native.open(8));
for (let i = 0; i < 50; i++) native.open(8); // and forgotten
globalThis.gc?.();
native.close(ring);
for (const socket of open.keys()) socket.destroy();
server.close();
console.log("done");
