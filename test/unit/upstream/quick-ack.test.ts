/** When the gateway has the kernel acknowledge at once what a broker has sent. [tcp(7), TCP_QUICKACK] */
import { connect, createServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { generate } from "mqtt-packet";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { MqttUpstream } from "../../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../../src/upstream/options.ts";
import { QuickAck, WriteLoad } from "../../../src/upstream/quick-ack.ts";
import { loadNativeReads } from "../../../src/upstream/tcp-reads-native.ts";
import { ScriptedBroker } from "../../helpers/scripted-broker.ts";
import { until } from "../../helpers/test-gateway.ts";
import { upstreamEvents } from "../../helpers/upstream-events.ts";

describe("the load of a connection", () => {
  test("is high from five packets in a millisecond on, counted over 20 ms", () => {
    const load = new WriteLoad();
    for (let now = 1_000; now < 1_100; now++) load.noteWritten(4, now);
    expect(load.isHigh(1_100)).toBe(false);
    for (let now = 1_100; now < 1_200; now++) load.noteWritten(6, now);
    expect(load.isHigh(1_200)).toBe(true);
  });

  test("is not high any more when nothing is written", () => {
    const load = new WriteLoad();
    for (let now = 1_000; now < 1_100; now++) load.noteWritten(100, now);
    expect(load.isHigh(1_101)).toBe(true);
    expect(load.isHigh(1_150)).toBe(false);
    load.noteWritten(1, 5_000);
    expect(load.isHigh(5_001)).toBe(false);
  });
});

const message = (qos: 0 | 1) =>
  generate({ cmd: "publish", topic: "t", payload: "x", qos, messageId: 7, retain: false, dup: false });

async function started(
  mode: "aggregating" | "transparent",
  quickAck: boolean,
  delivered: (packetId: number) => void = () => {},
) {
  const acknowledged: unknown[] = [];
  const broker = await ScriptedBroker.start();
  onTestFinished(() => broker.close());
  const options = upstreamOptions.parse({ url: broker.url, protocol: "3.1.1", mode, quickAck });
  const together = { quickAck: { acknowledge: (stream: unknown) => acknowledged.push(stream) } };
  const upstream = new MqttUpstream(options, undefined, undefined, undefined, together);
  onTestFinished(() => upstream.shutdown(500));
  let isUp = false;
  let came = 0;
  await upstream.start(
    upstreamEvents({
      up: () => {
        isUp = true;
      },
      delivered: (_link, { packetId }) => {
        came++;
        delivered(packetId);
      },
    }),
  );
  upstream.open({ linkId: "l~1", upstream: "", mqttClientId: "c", identity: "c", clean: true, will: undefined });
  await until("CONNACK", () => isUp);
  acknowledged.length = 0;
  return { broker, upstream, acknowledged, came: () => came };
}

describe.each([
  ["aggregating", true, true],
  ["aggregating", false, false],
  ["transparent", true, false],
] as const)("%s, quickAck %s", (mode, quickAck, isAcknowledged) => {
  test("what comes while nothing is to be sent", async () => {
    const { broker, acknowledged, came } = await started(mode, quickAck);
    broker.last.socket.write(message(0));
    await until("a message", () => came() === 1);
    expect(acknowledged.length).toBe(isAcknowledged ? 1 : 0);
  });

  test("not if the answer leaves in the same turn and carries the acknowledgement", async () => {
    const { broker, upstream, acknowledged, came } = await started(mode, quickAck, (id) =>
      upstream.ack("l~1", "puback", id),
    );
    broker.last.socket.write(message(1));
    await until("a message", () => came() === 1);
    await until("its answer", () => broker.last.packets.some(({ cmd }) => cmd === "puback"));
    expect(acknowledged).toEqual([]);
  });
});

test("not under load: the next packets carry it soon", async () => {
  const clock = vi.spyOn(performance, "now").mockReturnValue(1_000);
  onTestFinished(() => clock.mockRestore());
  const { broker, upstream, acknowledged, came } = await started("aggregating", true);
  const received = () => broker.last.packets.filter(({ cmd }) => cmd === "publish").length;
  for (const [at, total] of [
    [1_000, 200],
    [1_030, 400],
  ] as const) {
    clock.mockReturnValue(at);
    for (let i = 0; i < 200; i++)
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 0, retain: false }, 0, false);
    await until(`${total} packets`, () => received() === total);
  }
  broker.last.socket.write(message(0));
  await until("a message", () => came() === 1);
  expect(acknowledged).toEqual([]);
  clock.mockReturnValue(1_080);
  broker.last.socket.write(message(0));
  await until("another one", () => came() === 2);
  expect(acknowledged.length).toBe(1);
});

describe.skipIf(!loadNativeReads())("with the compiled part", () => {
  test("an open TCP connection, and nothing else", async () => {
    const native = loadNativeReads();
    if (!native) return;
    const told: number[] = [];
    const quick = QuickAck.open({
      ...native,
      acknowledge: (fd) => {
        const result = native.acknowledge(fd);
        told.push(result);
        return result;
      },
    });
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    onTestFinished(() => void server.close());
    const socket: Socket = connect(port, "127.0.0.1");
    quick?.acknowledge(socket); // it is not connected yet
    await new Promise<void>((done) => socket.once("connect", () => done()));
    quick?.acknowledge(socket);
    quick?.acknowledge(undefined);
    quick?.acknowledge(new PassThrough());
    socket.destroy();
    quick?.acknowledge(socket);
    expect(told).toEqual([0]);
    expect(native.acknowledge(1_000_000)).toBe(-9);
    expect(() => native.acknowledge("x" as unknown as number)).toThrow(TypeError);
  });
});
