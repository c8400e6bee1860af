/** The gateway of one shard, whose lease is over: it is dropped without a word, and the process lives. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { Managed } from "../../../src/config/managed.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { Gateway } from "../../../src/gateway.ts";
import { createLog } from "../../../src/observe/log.ts";
import type { Transport, TransportEvents } from "../../../src/transports/transport.ts";
import { RecordingBroker } from "../../helpers/recording-broker.ts";
import { until } from "../../helpers/test-gateway.ts";

const device = "udp/192.0.2.9:1000" as PeerId;

/** A network of which the test is both ends. */
class Net implements Transport {
  readonly name = "udp";
  readonly place = "here";
  readonly warnings = [];
  readonly sent: string[] = [];
  events: TransportEvents | undefined;
  isClosed = false;
  maxMessageBytes = () => 1_400;
  hostOf = () => "192.0.2.9";
  identityOf = () => ({ name: "192.0.2.9", by: "address", verified: false }) as const;
  async start(events: TransportEvents): Promise<void> {
    this.events = events;
  }
  send(_to: PeerId, bytes: Uint8Array): void {
    this.sent.push(Buffer.from(bytes).toString("hex"));
  }
  broadcast(): void {}
  stats = () => ({ datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 });
  async close(): Promise<void> {
    this.isClosed = true;
  }
}

const connectOf = (clientId: string) =>
  Buffer.concat([Buffer.of(6 + clientId.length, 0x04, 0x04, 0x01, 0, 60), Buffer.from(clientId)]);

async function serving(reservedIds: ReadonlySet<string> = new Set()) {
  const broker = await RecordingBroker.start();
  onTestFinished(() => broker.close());
  const config = parseConfig({
    transports: [{ type: "udp" }],
    upstream: { url: broker.url },
    store: { kind: "memory" },
    log: { level: "silent" },
  });
  const net = new Net();
  const lease = { isOurs: true };
  const gateway = new Gateway(config, await createLog(config.log), undefined, undefined, undefined, {
    transports: [net],
    managed: new Managed(config.store),
    member: { run: "run", epoch: () => 1, fenced: () => {} },
    owns: () => lease.isOurs,
    redis: {
      open: () => Promise.reject(new Error("it has none")),
      done: () => {},
    },
    reservedIds,
    noticed: () => {},
    page: { tap: undefined },
    turnedAway: () => {},
    report: () => {},
  });
  await gateway.start();
  onTestFinished(() => gateway.abandon());
  const hear = (bytes: Uint8Array) => net.events?.datagram(device, bytes);
  const said = (clientId: string) =>
    broker.packets.filter((each) => each.clientId === clientId).map(({ packet }) => packet.cmd);
  return { broker, net, lease, gateway, hear, said };
}

describe("the gateway of a shard", () => {
  test("dropped: nothing is sent to devices, and connections end without DISCONNECT", async () => {
    const { broker, net, lease, gateway, hear, said } = await serving();
    hear(connectOf("c1"));
    await until("it is connected", () => net.sent.length === 1);
    expect(net.sent).toEqual(["030500"]);
    lease.isOurs = false;
    gateway.abandon();
    expect(net.isClosed).toBe(true);
    expect(gateway.serves).toBe(false);
    hear(Buffer.of(2, 0x16)); // PINGREQ
    await until("its connections are gone", () => broker.connections === 0);
    expect(net.sent).toHaveLength(1);
    expect(said("c1")).not.toContain("disconnect");
    expect(said("mqtt-sn-gateway")).not.toContain("disconnect");
    await sleep(1_500); // no new attempt comes: the first would, after a second
    expect(broker.connections).toBe(0);
  });

  test("stopped in order it says goodbye to the broker: what is above can be seen", async () => {
    const { broker, gateway, hear, net, said } = await serving();
    hear(connectOf("c1"));
    await until("it is connected", () => net.sent.length === 1);
    await gateway.stop();
    await until("its connections are gone", () => broker.connections === 0);
    expect(said("c1")).toContain("disconnect");
  });

  test("a lease that is over stops what leaves, also before anybody drops it", async () => {
    const { net, lease, hear } = await serving();
    hear(connectOf("c1"));
    await until("it is connected", () => net.sent.length === 1);
    lease.isOurs = false;
    hear(Buffer.of(2, 0x16));
    await sleep(50);
    expect(net.sent).toHaveLength(1);
  });

  test("no client has an id of another shard's own connection", async () => {
    const { net, hear } = await serving(new Set(["mqtt-sn-gateway-s07"]));
    hear(connectOf("mqtt-sn-gateway-s07"));
    await until("it is answered", () => net.sent.length === 1);
    expect(net.sent[0]).not.toBe("030500");
  });
});
