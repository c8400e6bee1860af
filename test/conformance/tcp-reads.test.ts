/** Reading many connections in one wake-up, on this kernel. Needs a C compiler. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { TcpReads } from "../../src/upstream/tcp-reads.ts";
import { loadNativeReads } from "../../src/upstream/tcp-reads-native.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { expectNothingOutsideItsMemory, noSanitizers } from "../helpers/sanitized.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

const native = loadNativeReads();
if (!native && process.env["CI"]) throw new Error("native/tcp-read.c is not compiled: node scripts/build-native.mjs");

describe.skipIf(!native)(`many connections, one wake-up${native ? "" : " (skipped: not compiled)"}`, () => {
  const toClose: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of toClose.splice(0).reverse()) await close();
  });

  function reads(): TcpReads {
    const found = TcpReads.open((work) => work());
    if (!(found instanceof TcpReads)) throw new Error(found.missing);
    toClose.push(() => found.close());
    return found;
  }

  async function listener() {
    const ends: Socket[] = [];
    const server: Server = createServer((socket) => {
      socket.on("error", () => {});
      socket.setNoDelay(true);
      ends.push(socket);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", 4_096, done));
    toClose.push(() => {
      for (const socket of ends) socket.destroy();
      server.close();
    });
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    return async (by: TcpReads) => {
      const got: Buffer[] = [];
      const byStream: Buffer[] = [];
      const buffer = Buffer.alloc(65_536);
      const callback = (length: number) => byStream.push(Buffer.from(buffer.subarray(0, length))) > 0;
      const socket = connect({ host: "127.0.0.1", port, onread: { buffer, callback } });
      const closing: string[] = [];
      socket.on("error", (error) => closing.push(error.message));
      socket.on("end", () => closing.push("end"));
      socket.on("close", () => closing.push("close"));
      await new Promise<void>((done) => socket.once("connect", () => done()));
      toClose.push(() => socket.destroy());
      const mine = () => ends.find((each) => each.remotePort === socket.localPort);
      await until("it was accepted", () => mine() !== undefined);
      const far = mine();
      if (!far) throw new Error("not accepted");
      const place = by.join(socket, { onOctets: (octets) => got.push(Buffer.from(octets)) });
      return { socket, far, place, got, byStream, ends: closing, text: () => Buffer.concat(got).toString() };
    };
  }

  test("1,000 connections: every octet at its own, in order, and each end after the last one", {
    timeout: 60_000,
  }, async () => {
    const by = reads();
    const open = await listener();
    const each: (Awaited<ReturnType<typeof open>> & { said: string })[] = [];
    for (let i = 0; i < 1_000; i++) each.push({ ...(await open(by)), said: "" });
    for (let turn = 0; turn < 20; turn++) {
      for (const [i, one] of each.entries()) {
        const say = `${i}.${turn} ${"x".repeat((i * 7 + turn) % 90 === 0 ? 100_000 : (i * 7 + turn) % 90)};`;
        one.said += say;
        one.far.write(say);
      }
      if (turn % 4 === 0) await new Promise((done) => setImmediate(done));
    }
    for (const { far } of each) far.end();
    await until("each end", () => each.every(({ ends }) => ends.includes("close")), 30_000);
    for (const { text, said } of each) expect(text() === said).toBe(true);
    for (const { ends } of each) expect(ends).toEqual(["end", "close"]);
    for (const { socket, place, said } of each) expect([socket.bytesRead, place?.readBytes]).toEqual([0, said.length]); // past the stream
  });

  test("one that sends without a pause, and others: nobody waits for it", async () => {
    const by = reads();
    const open = await listener();
    const flood = await open(by);
    const other = await open(by);
    const piece = Buffer.alloc(65_536, "f");
    const pour = () => {
      while (flood.far.write(piece));
    };
    flood.far.on("drain", pour);
    pour();
    const size = () => flood.got.reduce((sum, { length }) => sum + length, 0);
    await until("it floods", () => size() > 1_000_000);
    other.far.write("hello");
    await until("the other one is heard", () => other.text() === "hello");
    flood.far.removeListener("drain", pour);
    expect(flood.got.every((octets) => octets.length <= 65_536 && octets[0] === 0x66)).toBe(true);
  });

  test("many that send without a pause: a wake-up brings less than 128 KB", async () => {
    let inBatch = 0;
    let most = 0;
    const found = TcpReads.open((work) => {
      inBatch = 0;
      work();
      most = Math.max(most, inBatch);
    });
    if (!(found instanceof TcpReads)) throw new Error(found.missing);
    toClose.push(() => found.close());
    const open = await listener();
    const each: Awaited<ReturnType<typeof open>>[] = [];
    for (let i = 0; i < 20; i++) each.push(await open(found));
    for (const { place, got } of each) {
      if (!place) throw new Error("it is not read here");
      const onOctets = place.to.onOctets.bind(place.to);
      Object.assign(place.to, {
        onOctets: (octets: Buffer) => {
          inBatch += octets.length;
          onOctets(octets);
        },
      });
      expect(got).toEqual([]);
    }
    const piece = Buffer.alloc(400_000, "f");
    for (const { far } of each) far.write(piece);
    await until("all of it", () => each.every(({ place }) => place?.readBytes === piece.length));
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(2 * 65_536);
  });

  test("the other side resets: the stream says so", async () => {
    const by = reads();
    const open = await listener();
    const { far, ends } = await open(by);
    far.resetAndDestroy();
    await until("its end", () => ends.includes("close"));
    expect(ends).toEqual(["read ECONNRESET", "close"]);
  });

  test("a descriptor that was closed and is another's brings nothing to the first one", async () => {
    const by = reads();
    const open = await listener();
    const first = await open(by);
    const { fd } = first.place ?? {};
    first.far.write("never read");
    first.socket.destroy();
    const others: (typeof first)[] = [];
    while (others.every(({ place }) => place?.fd !== fd) && others.length < 50) others.push(await open(by));
    expect(others.map(({ place }) => place?.fd)).toContain(fd);
    for (const { far } of others) far.write("own");
    await until("their own", () => others.every(({ text }) => text() === "own"));
    expect(first.got).toEqual([]);
  });

  test("given back: the stream reads on, and nothing is lost between", async () => {
    const by = reads();
    const open = await listener();
    const { far, text, byStream } = await open(by);
    far.write("here ");
    await until("the first part", () => text() === "here ");
    far.write("and there");
    by.close();
    await until("the second part", () => Buffer.concat(byStream).toString() === "and there");
  });

  test("the connections of an upstream in transparent mode are read by it", async () => {
    const broker = await RecordingBroker.start(7);
    toClose.push(() => broker.close());
    let count = 0;
    const counted = native && {
      ...native,
      read: (...args: Parameters<typeof native.read>) => {
        const found = native.read(...args);
        count += Math.max(found, 0);
        return found;
      },
    };
    const by = TcpReads.open((work) => work(), counted);
    if (!(by instanceof TcpReads)) throw new Error(by.missing);
    for (const [mode, readTogether, expected] of [
      ["transparent", true, true],
      ["transparent", false, false],
      ["aggregating", true, false],
    ] as const) {
      count = 0;
      const options = upstreamOptions.parse({ url: broker.url, mode, readTogether });
      const upstream = new MqttUpstream(options, undefined, undefined, undefined, { reads: by });
      let acked = 0;
      await upstream.start(upstreamEvents({ acked: () => acked++ }));
      const id = `a-${mode}`;
      upstream.open({ linkId: `${id}~1`, upstream: "", mqttClientId: id, identity: id, clean: true, will: undefined });
      await until("it is up", () => upstream.linksUp === 1);
      upstream.subscribe(`${id}~1`, 1, "x", 1);
      await until("SUBACK", () => acked === 1);
      expect(count > 0, `${mode}, ${readTogether}`).toBe(expected);
      await upstream.shutdown(1_000);
    }
  });

  test("the compiled part takes nonsense for what it is", () => {
    if (!native) return;
    const set = native.open();
    const watch = native.watch(set, () => 0, 0);
    const arena = new Uint8Array(100);
    const words = new Uint32Array(30);
    const nonsense: (() => unknown)[] = [
      () => native.add(set, -1, 0),
      () => native.add("x" as unknown as number, 1, 0),
      () => native.remove(set, "x" as unknown as number),
      () => native.read(set, words as unknown as Uint8Array, words),
      () => native.read(set, arena, arena as unknown as Uint32Array),
      () => native.watch(set, "x" as unknown as () => number, 0),
      () => native.unwatch(set),
    ];
    for (const call of nonsense) expect(call).toThrow(TypeError);
    expect(native.add(set, 1_000_000, 0)).toBe(-9); // EBADF
    expect(native.remove(set, 1_000_000)).toBe(-9);
    expect(native.read(set, arena, words)).toBe(0);
    expect(native.read(set, new Uint8Array(0), words)).toBe(0);
    expect(native.read(set, arena, new Uint32Array(2))).toBe(0);
    native.unwatch(watch);
    native.unwatch(watch);
    expect(native.read(set, arena, words)).toBe(-9);
  });

  if (noSanitizers !== "" && process.env["CI"]) throw new Error(noSanitizers);
  test.skipIf(noSanitizers !== "")(
    `with sanitizers: nothing outside its memory${noSanitizers}`,
    { timeout: 60_000 },
    () => expectNothingOutsideItsMemory("tcp-read", "reads-exercise.mjs"),
  );
});
