/** native/tcp-read.c, played with: connections come, send pieces of every length, and go. Run under sanitizers. */
import assert from "node:assert";
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { setImmediate } from "node:timers/promises";

const native = createRequire(import.meta.url)(process.argv[2]);
/** The same numbers in each run. */
let seed = 12_345;
const random = (below) => {
  seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
  return seed % below;
};

const server = createServer((socket) => socket.on("error", () => {}));
server.listen(0, "127.0.0.1");
await once(server, "listening");

const set = native.open();
assert(set > 0);
let wakings = 0;
const watch = native.watch(
  set,
  () => {
    wakings++;
    return 0;
  },
  0,
);
const arena = new Uint8Array(65_536);
const words = new Uint32Array(64 * 3);
const lengths = new Int32Array(words.buffer);
const open = new Map();
let numbers = 0;

async function come() {
  const [[far], socket] = await Promise.all([once(server, "connection"), opened()]);
  const number = numbers++;
  assert.strictEqual(native.add(set, socket._handle.fd, number), 0);
  assert.strictEqual(native.add(set, socket._handle.fd, number), -17); // EEXIST
  open.set(number, { socket, far, said: [], got: [] });
}

async function opened() {
  const onread = { buffer: Buffer.alloc(1), callback: () => assert.fail("Node reads too") };
  const socket = connect({ host: "127.0.0.1", port: server.address().port, onread });
  await once(socket, "connect");
  socket.pause(); // with this option it stops the reading at once
  return socket;
}

function readAll() {
  const count = native.read(set, arena, words);
  assert(count >= 0 && count <= 64);
  for (let i = 0; i < count; i++) {
    const length = lengths[i * 3 + 2];
    const from = words[i * 3 + 1];
    assert(length > 0 && from + length <= arena.length);
    open.get(words[i * 3])?.got.push(Buffer.from(arena.subarray(from, from + length)));
  }
}

for (let round = 0; round < 400; round++) {
  while (open.size < 80) await come();
  for (const { far, said } of [...open.values()].slice(0, random(80))) {
    const piece = Buffer.alloc(random(10) === 0 ? random(40_000) : 1 + random(200), 97 + random(26));
    said.push(piece);
    far.write(piece);
  }
  readAll();
  await setImmediate();
  if (random(3) === 0) {
    const [number, { socket, far }] = [...open][random(open.size)];
    assert.strictEqual(native.remove(set, socket._handle.fd), 0);
    assert.strictEqual(native.remove(set, socket._handle.fd), -2); // ENOENT
    open.delete(number);
    socket.destroy();
    far.destroy();
  }
  if (round % 100 === 0) globalThis.gc();
}
const sum = (pieces) => pieces.reduce((octets, { length }) => octets + length, 0);
const until = performance.now() + 20_000;
while ([...open.values()].some(({ said, got }) => sum(got) < sum(said))) {
  assert(performance.now() < until, "octets are missing");
  readAll();
  await setImmediate();
}
for (const { said, got } of open.values()) assert(Buffer.concat(got).equals(Buffer.concat(said)));
assert(wakings > 0);
for (const { socket, far } of open.values()) {
  socket.destroy();
  far.destroy();
}
native.unwatch(watch);
native.unwatch(watch);
server.close();
console.log("done");
