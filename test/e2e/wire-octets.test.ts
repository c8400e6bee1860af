/** Octets of an upstream are counted as TCP carries them: what the broker's side of the socket says is what is counted, to the octet. */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createWebSocketStream, WebSocketServer } from "ws";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { TcpReads } from "../../src/upstream/tcp-reads.ts";
import { TcpRing } from "../../src/upstream/tcp-ring.ts";
import { TurnEnd } from "../../src/upstream/turn-end.ts";
import { fixture } from "../helpers/mosquitto.ts";
import { serve, type Visit } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { TlsBroker } from "../helpers/tls-broker.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

const toClose: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

/** Octets that a broker had and sent, over all its connections; and who came. */
interface Counting {
  readonly url: string;
  readonly visits: Visit[];
  readonly carried: () => { in: number; out: number };
  readonly cut: () => void;
}

async function tcpBroker(scheme: "mqtt" | "ws"): Promise<Counting> {
  const sockets: Socket[] = [];
  const visits: Visit[] = [];
  const answering = (socket: Socket) =>
    visits.push(
      serve(socket, (packet) =>
        packet.cmd === "publish" && packet.qos === 1
          ? [{ cmd: "puback", messageId: packet.messageId ?? 0 }]
          : undefined,
      ),
    );
  const server = createServer();
  server.on("connection", (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
  });
  if (scheme === "mqtt") server.on("connection", answering);
  else {
    const { createServer: createHttpServer } = await import("node:http");
    const http = createHttpServer();
    new WebSocketServer({ server: http }).on("connection", (socket) =>
      answering(createWebSocketStream(socket) as unknown as Socket),
    );
    server.on("connection", (socket) => http.emit("connection", socket));
  }
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  toClose.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    url: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    visits,
    carried: () => ({
      in: sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
      out: sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    }),
    cut: () => sockets.at(-1)?.end(),
  };
}

async function tlsBroker(scheme: "mqtts" | "wss", maxVersion: "TLSv1.2" | "TLSv1.3"): Promise<Counting> {
  const broker = await TlsBroker.start(scheme, { maxVersion });
  toClose.push(() => broker.close());
  return {
    url: `${scheme}://localhost:${broker.port}`,
    get visits() {
      return broker.secured.map(({ visit }) => visit);
    },
    carried: () => broker.carried,
    cut: () => broker.secured.at(-1)?.visit.socket.end(),
  };
}

const ways = [
  { name: "mqtt, with io_uring where it can be had", broker: () => tcpBroker("mqtt"), over: { ioUring: true } },
  { name: "mqtt, without io_uring", broker: () => tcpBroker("mqtt"), over: { ioUring: false } },
  { name: "mqtt, read by itself", broker: () => tcpBroker("mqtt"), over: { readTogether: false } },
  { name: "mqtt by MQTT.js", broker: () => tcpBroker("mqtt"), over: { connectBy: "mqtt.js", ioUring: false } },
  { name: "ws", broker: () => tcpBroker("ws"), over: {} },
  ...(["mqtts", "wss"] as const).flatMap((scheme) =>
    (["TLSv1.2", "TLSv1.3"] as const).map((version) => ({
      name: `${scheme}, ${version}`,
      broker: () => tlsBroker(scheme, version),
      over: { tls: { ca: fixture("ca.pem") } },
    })),
  ),
];

describe.each(ways)("$name", ({ broker: newBroker, over }) => {
  test("every octet that the broker had or sent is counted, over two connections, and what is counted never becomes less", async () => {
    const broker = await newBroker();
    const turnEnd = new TurnEnd();
    const ring = TcpRing.open(turnEnd, () => {});
    const reads = TcpReads.open((work) => turnEnd.around(work));
    const options = upstreamOptions.parse({
      url: broker.url,
      protocol: "5",
      reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
      ...over,
    });
    const upstream = new MqttUpstream(options, undefined, undefined, turnEnd, {
      ring: ring instanceof TcpRing ? ring : undefined,
      reads: reads instanceof TcpReads ? reads : undefined,
    });
    toClose.push(() => upstream.shutdown(500));
    let ups = 0;
    await upstream.start(
      upstreamEvents({
        up: () => ups++,
      }),
    );
    const counted = () => upstream.counters.wire.total;
    expect(counted()).toEqual({ in: 0, out: 0 });
    for (const id of ["a", "b"])
      upstream.open({ linkId: `${id}~1`, upstream: "", mqttClientId: id, identity: id, clean: true, will: undefined });
    await until("both", () => ups === 2);
    const publish = (of: "a" | "b", packetId: number) => {
      const publication = { topicName: "site/hall", payload: Buffer.alloc(300), qos: 1, retain: false } as const;
      upstream.publish(`${of}~1`, publication, packetId, false);
    };
    const arrived = (count: number) =>
      until(
        `${count} publications`,
        () => broker.visits.flatMap(({ packets }) => packets).filter(({ cmd }) => cmd === "publish").length === count,
      );
    for (let id = 1; id <= 20; id++) publish(id % 2 === 0 ? "a" : "b", id);
    await arrived(20);
    const settled = () =>
      until("the same on both sides", () => JSON.stringify(counted()) === JSON.stringify(broker.carried()));
    await settled();
    const before = counted();
    broker.cut();
    await until("again", () => ups === 3);
    publish("a", 21);
    publish("b", 22);
    await settled();
    expect(counted().out).toBeGreaterThan(before.out);
    expect(counted().in).toBeGreaterThan(before.in);
    await upstream.shutdown(2_000);
    await settled();
  });
});
