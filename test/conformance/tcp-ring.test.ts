/** Writing to many connections with one system call, on this kernel. Needs a C compiler, and io_uring. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { TcpRing } from "../../src/upstream/tcp-ring.ts";
import { loadNativeRing } from "../../src/upstream/tcp-ring-native.ts";
import { TurnEnd } from "../../src/upstream/turn-end.ts";
import { expectNothingOutsideItsMemory, noSanitizers } from "../helpers/sanitized.ts";
import { until } from "../helpers/test-gateway.ts";

const native = loadNativeRing();
if (!native && process.env["CI"]) throw new Error("native/tcp-ring.c is not compiled: node scripts/build-native.mjs");
const opened = TcpRing.open(new TurnEnd(), () => {});
const missing = opened instanceof TcpRing ? undefined : opened.missing;
const why = missing === undefined ? "" : ` (skipped: ${missing})`;

describe.skipIf(missing !== undefined)(`many connections, one system call${why}`, () => {
  const toClose: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of toClose.splice(0).reverse()) await close();
  });

  function ring(): TcpRing {
    const found = TcpRing.open(new TurnEnd(), (say) => expect.unreachable(say));
    if (!(found instanceof TcpRing)) throw new Error(found.missing);
    toClose.push(() => found.close());
    return found;
  }

  /** A server that keeps what comes, by connection; `reads: false`: it reads nothing until told to. */
  async function listener(reads = true) {
    const ends: { readonly socket: Socket; octets: Buffer[] }[] = [];
    const server: Server = createServer((socket) => {
      const end = { socket, octets: [] as Buffer[] };
      ends.push(end);
      socket.on("error", () => {});
      socket.on("data", (chunk) => end.octets.push(chunk));
      if (!reads) socket.pause();
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", 4_096, done));
    toClose.push(() => {
      for (const { socket } of ends) socket.destroy();
      server.close();
    });
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const open = async () => {
      const socket = connect({ host: "127.0.0.1", port });
      socket.on("error", () => {});
      await new Promise<void>((done) => socket.once("connect", () => done()));
      toClose.push(() => socket.destroy());
      const mine = () => ends.find((each) => each.socket.remotePort === socket.localPort);
      await until("it was accepted", () => mine() !== undefined);
      const far = mine();
      if (!far) throw new Error("not accepted");
      return { socket, far, text: () => Buffer.concat(far.octets).toString() };
    };
    return { open };
  }

  const fdOf = (socket: Socket) => (socket as Socket & { readonly _handle?: { readonly fd: number } })._handle?.fd;

  test("1,000 connections: every octet at its own, in order", { timeout: 60_000 }, async () => {
    const by = ring();
    const { open } = await listener();
    const opened = [];
    for (let i = 0; i < 1_000; i++) opened.push(await open());
    const each = opened.map((end) => ({ ...end, place: by.join(end.socket), said: "" }));
    for (let turn = 0; turn < 20; turn++) {
      for (const [i, one] of each.entries()) {
        const say = `${i}.${turn} ${"x".repeat((i * 7 + turn) % 90)};`;
        one.said += say;
        if (!one.place?.send(Buffer.from(say))) {
          one.place?.flush();
          one.socket.write(say);
        }
      }
      by.flush();
      if (turn % 4 === 0) await new Promise((done) => setImmediate(done));
    }
    await until(
      "all of it",
      () => each.every(({ far, said }) => Buffer.concat(far.octets).length >= said.length),
      30_000,
    );
    for (const { text, said } of each) expect(text()).toBe(said);
    for (const { socket, said } of each) expect(socket.bytesWritten).toBeLessThan(said.length); // past the stream
  });

  test("nobody reads: what the kernel does not take waits in the stream, and nothing overtakes it", async () => {
    const by = ring();
    const { open } = await listener(false);
    const { socket, far, text } = await open();
    const place = by.join(socket);
    let said = "";
    let byStream = 0;
    for (let i = 0; i < 2_000; i++) {
      const say = `${i}:${"y".repeat(8_000)};`;
      said += say;
      if (place?.send(Buffer.from(say))) by.flush();
      else {
        byStream++;
        socket.write(say);
      }
    }
    expect(byStream).toBeGreaterThan(0);
    expect(socket.writableLength).toBeGreaterThan(0);
    far.socket.resume();
    await until("all of it", () => far.octets.reduce((sum, { length }) => sum + length, 0) === said.length);
    expect(text() === said).toBe(true);
    await until("the stream is empty", () => socket.writableLength === 0);
    expect(place?.send(Buffer.from("again"))).toBe(true);
  });

  test("a descriptor that was closed and is another's: nothing goes there", async () => {
    const by = ring();
    const { open } = await listener();
    const first = await open();
    const place = by.join(first.socket);
    const fd = fdOf(first.socket);
    expect(place?.send(Buffer.from("last"))).toBe(true);
    first.socket.destroy();
    expect(place?.send(Buffer.from("late"))).toBe(false);
    const others: (typeof first)[] = [];
    while (others.every(({ socket }) => fdOf(socket) !== fd) && others.length < 50) others.push(await open());
    expect(others.map(({ socket }) => fdOf(socket))).toContain(fd);
    place?.send(Buffer.from("later"));
    by.flush();
    await until("what was sent before", () => first.text() === "last");
    for (const { socket } of others) by.join(socket)?.send(Buffer.from("own"));
    by.flush();
    await until("their own", () => others.every(({ text }) => text() !== ""));
    expect(new Set(others.map(({ text }) => text()))).toEqual(new Set(["own"]));
  });

  test("the other side is gone: the stream says so, as without the ring", async () => {
    const by = ring();
    const { open } = await listener();
    const { socket, far } = await open();
    const place = by.join(socket);
    const ends: string[] = [];
    socket.on("error", (error) => ends.push("code" in error ? String(error.code) : error.message));
    socket.on("close", () => ends.push("close"));
    far.socket.resetAndDestroy();
    const say = setInterval(() => {
      if (place?.send(Buffer.from("hello?"))) by.flush();
    }, 1);
    await until("its end", () => ends.includes("close"));
    clearInterval(say);
    expect(ends[0]).toMatch(/ECONNRESET|EPIPE|close/);
  });

  test("the compiled part takes nonsense for what it is", () => {
    if (!native) return;
    const of = native.open(4);
    const arena = new Uint8Array(100);
    const words = new Uint32Array(20);
    const nonsense: (() => unknown)[] = [
      () => native.open(0),
      () => native.open(5_000),
      () => native.add({}, 1),
      () => native.add(of, -1),
      () => native.remove(7, 0, 0),
      () => native.remove(of, "x" as unknown as number, 0),
      () => native.send(of, words as unknown as Uint8Array, words, 0),
      () => native.send(of, arena, arena as unknown as Uint32Array, 0),
      () => native.send(of, arena, words, 5),
      () => native.send(undefined, arena, words, 0),
      () => native.close(undefined),
    ];
    for (const call of nonsense) expect(call).toThrow(TypeError);
    words.set([0, 1, 90, 11]);
    expect(() => native.send(of, arena, words, 1)).toThrow(/outside the arena/);
    words.set([0xffff_ffff, 1, 0, 1]); // no such place
    expect(native.send(of, arena, words, 1)).toBe(1);
    expect(words[4]).toBe(2 ** 32 - 9);
    native.close(of);
    native.close(of);
    const key = native.add(of, 0);
    words.set([key % 2 ** 20, Math.floor(key / 2 ** 20), 0, 1]);
    expect(native.send(of, arena, words, 1)).toBe(1);
    expect(words[4]).toBe(2 ** 32 - 9);
  });

  if (noSanitizers !== "" && process.env["CI"]) throw new Error(noSanitizers);
  test.skipIf(noSanitizers !== "")(
    `with sanitizers: nothing outside its memory${noSanitizers}`,
    { timeout: 60_000 },
    () => expectNothingOutsideItsMemory("tcp-ring", "ring-exercise.mjs"),
  );
});
