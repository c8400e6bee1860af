/** What captures get, what they cost, and what happens to a capture that is not read. */
import { expect, test } from "vitest";
import { datagramIn } from "../../../src/capture/capture-file.ts";
import { PcapngReader } from "../../../src/capture/pcapng.ts";
import { payloadStart } from "../../../src/core/dialects/payload-start.ts";
import { type CaptureOptions, Tap, type TapLimits } from "../../../src/runtime/tap.ts";
import { encode } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import { Bench, connect, disconnect, here, octets, publish } from "../../helpers/bench.ts";

const everything: CaptureOptions = { client: undefined, transport: undefined, payload: true };

function tapped(limits: Partial<TapLimits> = {}) {
  const bench = new Bench();
  const signs: (() => void)[] = [];
  let looks = 0;
  const every = (_ms: number, call: () => void) => {
    signs.push(call);
    return () => void signs.splice(signs.indexOf(call), 1);
  };
  const tap = new Tap({
    transports: ["udp", "ble"],
    timers: { now: () => bench.now, after: () => () => {}, every },
    wallClockUs: () => 1_000_000,
    whoSays: (from, bytes) => {
      looks++;
      return bench.core.whoSays(from, bytes);
    },
    clientAt: (peer) => bench.core.clientAt(peer),
    payloadStart,
    saidIn: (way, clientId, bytes) => (bytes[1] === 0x0c ? `{"${way} ${clientId}":1}` : undefined),
    limits,
  });
  const begin = (options: Partial<CaptureOptions> = {}) => {
    const octets = tap.capture({ ...everything, ...options });
    if (!octets) return undefined;
    const iterator = octets[Symbol.asyncIterator]();
    const reader = new PcapngReader();
    return {
      iterator,
      reader,
      /** What is there by now, as it is read. */
      read: async () => {
        const { value } = await iterator.next();
        return reader.push(value ?? new Uint8Array()).map((packet) => {
          const datagram = datagramIn(packet);
          return { ...datagram, payload: Buffer.from(datagram?.payload ?? []).toString("hex") };
        });
      },
    };
  };
  /** A message comes, and what it causes leaves. */
  const says = (message: Message, from = here) => {
    const bytes = encode(message);
    tap.heard(from, bytes);
    for (const effect of bench.client(message, from).effects) {
      if (effect.kind === "openLink") bench.link(effect.link.mqttClientId).up();
      if (effect.kind === "send") tap.said(effect.to, effect.dialect.encode(effect.message) ?? new Uint8Array());
    }
  };
  return { bench, tap, begin, says, signs, looks: () => looks };
}

test("nobody captures: nothing is looked at, nothing is kept", async () => {
  const { tap, begin, says, signs, looks } = tapped();
  says(connect());
  tap.said(here, Uint8Array.of(2, 0x17));
  tap.saidToAll("udp", Uint8Array.of(3, 1, 0));
  expect([looks(), signs.length]).toEqual([0, 0]);
  const capture = begin();
  expect(signs).toHaveLength(1);
  await capture?.iterator.return?.();
  says(disconnect);
  expect([looks(), signs.length, tap.readers]).toEqual([0, 0, 0]);
});

test("a datagram is there with its direction, its device and its client, from the CONNECT to behind the DISCONNECT", async () => {
  const { begin, says, tap } = tapped();
  const capture = begin();
  says(connect());
  says(disconnect);
  tap.said(here, Uint8Array.of(2, 0x18));
  tap.saidToAll("ble", Uint8Array.of(3, 1, 0));
  const comment = "client c1 at udp/192.0.2.1:1000";
  const all = (await capture?.read()) ?? [];
  expect(all.map(({ direction, device, comment }) => [direction, device, comment])).toEqual([
    ["in", "192.0.2.1:1000", comment],
    ["in", "192.0.2.1:1000", comment],
    ["out", "192.0.2.1:1000", comment],
    ["out", "192.0.2.1:1000", comment],
    ["out", "255.255.255.255:1883", "to everybody"],
  ]);
  expect(all.at(-1)).toMatchObject({ transport: "ble" });
});

test("what a payload says by its declaration is beside it, and nowhere in a capture without contents", async () => {
  const { begin, says } = tapped();
  const capture = begin();
  const bare = begin({ payload: false });
  says(connect());
  says(publish({ qos: 0 }));
  const all = (await capture?.read()) ?? [];
  expect(all.map(({ value }) => value)).toEqual([undefined, '{"in c1":1}', undefined]);
  expect(all[1]?.comment).toBe("client c1 at udp/192.0.2.1:1000");
  expect(((await bare?.read()) ?? []).map(({ value }) => value)).toEqual([undefined, undefined, undefined]);
});

test("one client, one transport, without contents", async () => {
  const { begin, says, tap } = tapped();
  const one = begin({ client: "c2" });
  const ble = begin({ transport: "ble" });
  const bare = begin({ payload: false });
  const elsewhere = "udp/192.0.2.9:9000" as const;
  says(connect());
  says(connect({ clientId: "c2" }), elsewhere);
  says(publish({ data: octets("secret"), qos: 0, topicIdType: "predefined" }));
  const long = encode(publish({ data: octets("s".repeat(400)) }));
  tap.said("ble/c0:00:00:00:00:01", long);
  tap.heard(here, Uint8Array.of(9, 0x63, 1, 2, 3, 4, 5, 6, 7));
  expect((await one?.read())?.map(({ device }) => device)).toEqual(["192.0.2.9:9000"]);
  expect((await ble?.read())?.map(({ payload }) => payload)).toEqual([Buffer.from(long).toString("hex")]);
  expect(
    (await bare?.read())?.map(({ payload, wholeBytes = 0 }) => [payload, wholeBytes > payload.length / 2]),
  ).toEqual([
    [Buffer.from(encode(connect())).toString("hex"), false],
    [Buffer.from(encode(connect({ clientId: "c2" }))).toString("hex"), false],
    ["0d0c0100010001", true],
    ["070d0001000102", false],
    [Buffer.from(long.subarray(0, 9)).toString("hex"), true],
    ["09630102030405", true],
  ]);
});

test("what comes from behind a forwarder is its node's", async () => {
  const { begin, bench, tap } = tapped();
  const capture = begin();
  tap.heard(here, encode(connect(), { nodeId: Uint8Array.of(0xab), radius: 0 }));
  tap.said("udp/192.0.2.1:1000#ab", Uint8Array.of(2, 0x17));
  expect((await capture?.read())?.map(({ device, comment }) => [device, comment])).toEqual([
    ["192.0.2.1:1000", "client c1 at node ab behind udp/192.0.2.1:1000"],
    ["192.0.2.1:1000", "client c1 at node ab behind udp/192.0.2.1:1000"],
  ]);
  expect(bench.core.sizes.sessions).toBe(0);
});

test("who reads too slowly loses the oldest, is told how many, and the others lose nothing", async () => {
  const { begin, tap } = tapped({ waitingBytesMax: 4_000 });
  const slow = begin();
  const quick = begin();
  await slow?.read();
  await quick?.read();
  let seen = 0;
  for (let i = 0; i < 5_000; i++) {
    tap.heard(here, Uint8Array.of(2, 0x16));
    seen += (await quick?.read())?.length ?? 0;
  }
  const left = (await slow?.read()) ?? [];
  expect(left.length).toBeLessThan(14);
  expect(left[0]?.comment).toBe(
    `${5_000 - left.length} datagrams before this one are lost, because they were read too slowly; udp/192.0.2.1:1000`,
  );
  expect(left[1]?.comment).toBe("udp/192.0.2.1:1000");
  expect(slow?.reader.dropped).toBe(5_000 - left.length);
  expect([seen, quick?.reader.dropped]).toEqual([5_000, 0]);
});

test("a quiet capture shows that it lives; four may capture, and all end with the gateway", async () => {
  const { begin, signs, tap } = tapped();
  const captures = [begin(), begin(), begin(), begin()];
  expect(begin()).toBeUndefined();
  const [first] = captures;
  expect(await first?.read()).toEqual([]);
  const waiting = first?.read();
  for (const sign of [...signs]) sign();
  expect([await waiting, first?.reader.fault, first?.reader.dropped]).toEqual([[], undefined, 0]);
  await first?.iterator.return?.();
  expect(begin()).toBeDefined();
  tap.heard(here, Uint8Array.of(2, 0x16));
  tap.close();
  const second = captures[1];
  expect(await second?.read()).toHaveLength(1);
  expect(await second?.iterator.next()).toEqual({ done: true, value: undefined });
  expect([signs.length, tap.readers, begin()]).toEqual([0, 0, undefined]);
});
