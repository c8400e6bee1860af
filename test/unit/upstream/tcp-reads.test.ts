/** Reading many connections in one wake-up: who gets which octets, and what becomes of the streams. */
import { closeSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { beforeEach, describe, expect, test } from "vitest";
import { TcpReads } from "../../../src/upstream/tcp-reads.ts";
import type { NativeReads } from "../../../src/upstream/tcp-reads-native.ts";
import { TurnEnd } from "../../../src/upstream/turn-end.ts";

class FakeSocket extends Socket {
  readonly fd: number;
  readonly ends: string[] = [];

  constructor(fd: number) {
    super();
    this.fd = fd;
    Object.assign(this, { _handle: { fd, close: (done: () => void) => setImmediate(done) } });
    this.on("error", (error) => this.ends.push(error.message));
    this.on("close", () => this.ends.push("close"));
  }

  override _read(): void {}
}

/** What the kernel has for each descriptor: octets, 0 at the end, or -errno. */
let has: Map<number, (string | number)[]>;
/** The connections of the set, by descriptor. */
let set: Map<number, number> | undefined;
let wake: ((what: number) => number) | undefined;
let reads = 0;
let fails: { open?: number; add?: number; watch?: number; read?: number } = {};

const native: NativeReads = {
  open: () => {
    set = new Map();
    return fails.open ?? 1_000;
  },
  add: (_set, fd, connection) => {
    if (fails.add) return fails.add;
    set?.set(fd, connection);
    return 0;
  },
  remove: (_set, fd) => (set?.delete(fd) ? 0 : -2),
  read: (_set, arena, words) => {
    reads++;
    if (fails.read) return fails.read;
    let count = 0;
    let offset = 0;
    for (const [fd, connection] of set ?? []) {
      const next = has.get(fd)?.shift();
      if (next === undefined || count === 256) continue;
      const octets = Buffer.from(typeof next === "string" ? next : "");
      words.set([connection, offset, typeof next === "string" ? octets.length : 2 ** 32 + next], count * 3);
      arena.set(octets, offset);
      offset += octets.length;
      count++;
    }
    return count;
  },
  acknowledge: () => 0,
  watch: (_set, call) => {
    if (fails.watch) return fails.watch;
    wake = call;
    return {};
  },
  unwatch: () => {
    set = undefined;
    wake = undefined;
  },
};

let turnEnd: TurnEnd;
let together: TcpReads;

beforeEach(() => {
  has = new Map();
  set = undefined;
  wake = undefined;
  reads = 0;
  fails = {};
  turnEnd = new TurnEnd();
  const opened = TcpReads.open((work) => turnEnd.around(work), native);
  if (!(opened instanceof TcpReads)) throw new Error(opened.missing);
  together = opened;
});

/** A connection that is read here, and what it got. */
function joined(fd: number, then: (text: string) => void = () => {}) {
  const socket = new FakeSocket(fd);
  const got: string[] = [];
  const place = together.join(socket, {
    onOctets: (octets) => {
      got.push(octets.toString());
      then(octets.toString());
    },
  });
  return { socket, got, place };
}

test("what several connections have brought is read in one call, and each gets its own", () => {
  const all = [10, 11, 12].map((fd) => joined(fd));
  for (const fd of [10, 11, 12]) has.set(fd, [`a${fd}`, `b${fd}`]);
  wake?.(1);
  expect(reads).toBe(1);
  wake?.(1);
  expect(all.map(({ got }) => got.join(" "))).toEqual(["a10 b10", "a11 b11", "a12 b12"]);
  expect(all.map(({ place }) => place?.readBytes)).toEqual([6, 6, 6]);
});

test("a stream is paused while its connection is here, and what is written at the end of the turn leaves at once", () => {
  const left: string[] = [];
  const { socket } = joined(10, (text) => turnEnd.add(() => left.push(text)));
  expect(socket.isPaused()).toBe(true);
  has.set(10, ["x"]);
  wake?.(1);
  expect(left).toEqual(["x"]);
});

test("a connection that another one ends gets nothing more, nor does the one that gets its number", () => {
  const next: string[] = [];
  const third = joined(12);
  joined(10, () => {
    second.socket.destroy();
    together.join(new FakeSocket(13), { onOctets: (octets) => next.push(octets.toString()) });
  });
  const second = joined(11);
  has.set(10, ["end it"]);
  has.set(11, ["too late"]);
  has.set(12, ["mine"]);
  wake?.(1);
  expect(second.got).toEqual([]);
  expect(next).toEqual([]);
  expect(third.got).toEqual(["mine"]);
  has.set(13, ["hello"]);
  wake?.(1);
  expect(next).toEqual(["hello"]);
});

test("the end of a stream is found by the stream; after it, nothing is read here", () => {
  const { socket, got, place } = joined(10);
  const other = joined(11);
  has.set(10, ["last"]);
  wake?.(1);
  has.set(10, [0]);
  has.set(11, ["x"]);
  wake?.(1);
  expect(got).toEqual(["last"]);
  expect(place?.isOpen).toBe(false);
  expect(socket.isPaused()).toBe(false);
  expect(socket.destroyed).toBe(false);
  expect(other.got).toEqual(["x"]);
  expect([...(set?.keys() ?? [])]).toEqual([11]);
});

test("an error ends the connection as Node does", async () => {
  const { socket } = joined(10);
  const errors: Error[] = [];
  socket.on("error", (error) => errors.push(error));
  has.set(10, [-104]);
  wake?.(1);
  await new Promise((done) => setImmediate(done));
  expect(errors).toMatchObject([{ message: "read ECONNRESET", code: "ECONNRESET", errno: -104, syscall: "read" }]);
  expect(socket.destroyed).toBe(true);
});

describe("with the last connection the set ends, so that it keeps no process alive", () => {
  test("by itself", () => {
    const { socket } = joined(10);
    expect(wake).toBeDefined();
    socket.destroy();
    expect(wake).toBeUndefined();
    const { got } = joined(10);
    has.set(10, ["again"]);
    wake?.(1);
    expect(got).toEqual(["again"]);
  });

  test("while it is read", () => {
    const many = Array.from({ length: 256 }, (_, i) => joined(20 + i, () => end()));
    const end = () => {
      for (const { socket } of many) socket.destroy();
    };
    for (const { socket } of many) has.set(socket.fd, ["x", "y"]);
    wake?.(1);
    expect(reads).toBe(1);
    expect(many.flatMap(({ got }) => got)).toEqual(["x"]);
    expect(wake).toBeUndefined();
  });
});

test("more connections than one call takes are read in the same wake-up, up to 64 KB", () => {
  const many = Array.from({ length: 256 }, (_, i) => joined(20 + i));
  for (const { socket } of many) has.set(socket.fd, ["x", "y"]);
  wake?.(1);
  expect(reads).toBe(3); // the last one finds nothing
  for (const { socket } of many) has.set(socket.fd, ["x".repeat(256), "y"]);
  wake?.(1);
  expect(reads).toBe(4);
  wake?.(1);
  expect(many.every(({ got }) => got.at(-1) === "y")).toBe(true);
});

describe("what cannot be read here is read by its stream", () => {
  test.each([
    ["there is no set", { open: -24 }],
    ["the connection cannot be added", { add: -28 }],
  ])("%s", (_name, failure) => {
    fails = failure;
    const { socket, place } = joined(10);
    expect(place).toBeUndefined();
    expect(socket.isPaused()).toBe(false);
    expect(wake).toBeUndefined();
    fails = {};
    expect(joined(11).place).toBeDefined();
  });

  test("it cannot be waited for: the descriptor is closed", () => {
    const fd = openSync("/dev/null", "r");
    fails = { open: fd, watch: -12 };
    expect(joined(10).place).toBeUndefined();
    expect(() => closeSync(fd)).toThrow(/EBADF/);
  });

  test.each([
    ["reading fails", () => Object.assign(fails, { read: -9 }) && wake?.(1)],
    ["waiting fails", () => wake?.(-9)],
    ["it is closed", () => together.close()],
  ])("%s", (_name, fail) => {
    const all = [10, 11].map((fd) => joined(fd));
    fail();
    expect(all.map(({ socket }) => socket.isPaused())).toEqual([false, false]);
    expect(all.map(({ socket }) => socket.destroyed)).toEqual([false, false]);
    expect(wake).toBeUndefined();
    expect(joined(12).place).toBeUndefined();
  });
});
