/** Writing to many connections at once: the order of octets, and what becomes of those that the kernel does not take. */
import { Socket } from "node:net";
import { beforeEach, expect, test } from "vitest";
import { TcpRing } from "../../../src/upstream/tcp-ring.ts";
import type { NativeRing } from "../../../src/upstream/tcp-ring-native.ts";
import { TurnEnd } from "../../../src/upstream/turn-end.ts";

/** A connection whose stream writes into a list; `stalls`: what is written to it waits. */
class FakeSocket extends Socket {
  readonly name: string;
  stalls = false;
  #held: (() => void)[] = [];

  constructor(name: string, fd: number) {
    super();
    this.name = name;
    Object.assign(this, { _handle: { fd, close: (done: () => void) => setImmediate(done) } });
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    left.push(`stream ${this.name} ${chunk.toString()}`);
    if (this.stalls) this.#held.push(done);
    else done();
  }

  override _final(done: (error?: Error | null) => void): void {
    left.push(`end ${this.name}`);
    done();
  }

  goOn(): void {
    this.stalls = false;
    for (const done of this.#held.splice(0)) done();
  }
}

/** What left, in its order. */
let left: string[] = [];
/** What the kernel takes of each send: octets, or -errno. */
let takes: (fd: number, length: number) => number = (_fd, length) => length;
let calls = 0;
let broke: string[] = [];
/** Descriptors by place, as the compiled part keeps them. */
let slots: { fd: number; generation: number }[] = [];

const native: NativeRing = {
  open: () => ({}),
  add: (_ring, fd) => {
    const free = slots.findIndex((each) => each.fd < 0);
    const slot = free < 0 ? slots.push({ fd, generation: 1 }) - 1 : free;
    const taken = slots[slot] ?? { fd, generation: 1 };
    taken.fd = fd;
    return taken.generation * 2 ** 20 + slot;
  },
  remove: (_ring, slot, generation) => {
    const each = slots[slot];
    if (each?.generation !== generation) return;
    each.fd = -1;
    each.generation++;
  },
  send: (_ring, arena, words, count) => {
    calls++;
    let notWhole = 0;
    for (let i = 0; i < count; i++) {
      const [slot = 0, generation = 0, offset = 0, length = 0] = words.subarray(i * 5);
      const place = slots[slot];
      const taken =
        place && place.fd >= 0 && place.generation === generation ? Math.min(takes(place.fd, length), length) : -9;
      if (taken > 0) left.push(`ring ${place?.fd} ${Buffer.from(arena.subarray(offset, offset + taken)).toString()}`);
      words[i * 5 + 4] = taken;
      if (taken !== length) notWhole++;
    }
    return notWhole;
  },
  close: () => {},
};

beforeEach(() => {
  left = [];
  takes = (_fd, length) => length;
  calls = 0;
  broke = [];
  slots = [];
});

function open(turnEnd = new TurnEnd()): TcpRing {
  const ring = TcpRing.open(turnEnd, (why) => broke.push(why), native);
  if (!(ring instanceof TcpRing)) throw new Error(ring.missing);
  return ring;
}

function place(ring: TcpRing, socket: Socket) {
  const found = ring.join(socket);
  if (!found) throw new Error("no place");
  return found;
}

const octets = (text: string) => Buffer.from(text);

test("what several connections have to say at the end of a turn leaves in one call", () => {
  const turnEnd = new TurnEnd();
  const ring = open(turnEnd);
  const places = [10, 11, 12].map((fd) => place(ring, new FakeSocket("x", fd)));
  turnEnd.around(() => {
    for (const [i, each] of places.entries()) turnEnd.add(() => expect(each.send(octets(`m${i}`))).toBe(true));
  });
  expect(left).toEqual(["ring 10 m0", "ring 11 m1", "ring 12 m2"]);
  expect(calls).toBe(1);
});

test("a short write: the rest goes to the stream, and what follows behind it, until it has left", () => {
  const ring = open();
  const socket = new FakeSocket("a", 10);
  const a = place(ring, socket);
  takes = () => 3;
  socket.stalls = true;
  a.send(octets("abcdef"));
  ring.flush();
  expect(left).toEqual(["ring 10 abc", "stream a def"]);
  expect(a.send(octets("next"))).toBe(false);
  socket.goOn();
  takes = (_fd, length) => length;
  expect(a.send(octets("more"))).toBe(true);
  ring.flush();
  expect(left.slice(2)).toEqual(["ring 10 more"]);
});

test.each([
  ["EAGAIN", -11],
  ["EPIPE", -32],
  ["ECONNRESET", -104],
  ["ENOBUFS", -105],
])("%s: all of it goes to the stream, which says what it always said", (_name, code) => {
  const ring = open();
  const [a, b] = [new FakeSocket("a", 10), new FakeSocket("b", 11)].map((socket) => place(ring, socket));
  takes = (fd, length) => (fd === 10 ? code : length);
  a?.send(octets("to a"));
  b?.send(octets("to b"));
  ring.flush();
  expect(left).toEqual(["ring 11 to b", "stream a to a"]);
  expect(broke).toEqual([]);
});

test("one place in a call: what comes meanwhile is the stream's, behind it", () => {
  const ring = open();
  const socket = new FakeSocket("a", 10);
  const a = place(ring, socket);
  expect(a.send(octets("first"))).toBe(true);
  expect(a.send(octets("second"))).toBe(false);
  a.flush();
  socket.write("second");
  expect(left).toEqual(["ring 10 first", "stream a second"]);
});

test("a stream that is not connected, is ended, or has something to write is not gone past", () => {
  const ring = open();
  const waits = new FakeSocket("waits", 10);
  const a = place(ring, waits);
  waits.stalls = true;
  waits.write("before");
  expect(a.send(octets("x"))).toBe(false);
  const ended = new FakeSocket("ended", 11);
  const b = place(ring, ended);
  ended.end();
  expect(b.send(octets("x"))).toBe(false);
  const corked = new FakeSocket("corked", 12);
  const c = place(ring, corked);
  corked.cork();
  corked.write("before");
  expect(c.send(octets("x"))).toBe(false);
  expect(ring.join(new Socket())).toBeUndefined();
});

test("destroyed with something under way: it leaves first, and nothing is sent by its number afterwards", () => {
  const ring = open();
  const a = new FakeSocket("a", 10);
  const first = place(ring, a);
  first.send(octets("last words"));
  a.destroy();
  expect(left).toEqual(["ring 10 last words"]);
  expect(first.send(octets("too late"))).toBe(false);
  const next = new FakeSocket("b", 10); // the same number
  const second = place(ring, next);
  expect([second.slot, second.generation]).toEqual([first.slot, first.generation + 1]);
  ring.flush();
  expect(left).toHaveLength(1);
});

test("more than there is room for leaves in several calls, in order", () => {
  const ring = open();
  const places = Array.from({ length: 600 }, (_, i) => place(ring, new FakeSocket(`${i}`, 1_000 + i)));
  for (const [i, each] of places.entries()) expect(each.send(octets(`${i}`))).toBe(true);
  ring.flush();
  expect(left).toEqual(places.map((_, i) => `ring ${1_000 + i} ${i}`));
  expect(calls).toBe(3);
  const large = Buffer.alloc(16_000, "x");
  for (const each of places.slice(0, 40)) expect(each.send(large)).toBe(true);
  ring.flush();
  expect(left).toHaveLength(640);
  expect(places[0]?.send(Buffer.alloc(16_385))).toBe(false);
});

test("a ring that fails: what it did not take is written, said once, and all else goes by the streams", () => {
  const ring = open();
  const sockets = [new FakeSocket("a", 10), new FakeSocket("b", 11)];
  const [a, b] = sockets.map((socket) => place(ring, socket));
  takes = (fd) => (fd === 10 ? -9 : -(2 ** 31));
  a?.send(octets("to a"));
  b?.send(octets("to b"));
  const errors: string[] = [];
  sockets[1]?.on("error", ({ message }) => errors.push(message));
  ring.flush();
  expect(left).toEqual(["stream a to a"]);
  expect(sockets[1]?.destroyed).toBe(true); // it may have left, or a part of it
  expect(broke).toHaveLength(1);
  expect(a?.send(octets("more"))).toBe(false);
  expect(ring.join(new FakeSocket("c", 12))).toBeUndefined();
});

test("who is called back when something is handed back may send: it goes past no rest", () => {
  const ring = open();
  const sockets = [new FakeSocket("a", 10), new FakeSocket("b", 11)] as const;
  const [a, b] = sockets.map((socket) => place(ring, socket));
  takes = () => 1;
  const taken: (boolean | undefined)[] = [];
  const write = sockets[0].write.bind(sockets[0]);
  Object.assign(sockets[0], {
    write: (chunk: Buffer) => {
      taken.push(b?.send(octets("zz")));
      return write(chunk);
    },
  });
  a?.send(octets("abcd"));
  b?.send(octets("efgh"));
  ring.flush();
  expect(taken).toEqual([false]);
  expect(left.filter((line) => / b |11/.test(line))).toEqual(["ring 11 e", "stream b fgh"]);
});

test("no io_uring: it says why", () => {
  const missing = (of: NativeRing | undefined) => TcpRing.open(new TurnEnd(), () => {}, of);
  expect(missing({ ...native, open: () => -38 })).toEqual({ missing: "io_uring: ENOSYS" });
  expect(missing({ ...native, open: () => -1 })).toEqual({ missing: "io_uring: EPERM" });
});
