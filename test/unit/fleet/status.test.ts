/** The state of each gateway of a fleet: over connections of its process, with a will; its shards publish the states of clients alone. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { Managed } from "../../../src/config/managed.ts";
import { shardConfig } from "../../../src/config/shard-config.ts";
import { FleetStatus } from "../../../src/gateway-fleet-status.ts";
import { ScriptProcess } from "../../../src/gateway-scripts.ts";
import { createLog } from "../../../src/observe/log.ts";
import { RecordingBroker } from "../../helpers/recording-broker.ts";
import { connectOf, shardGateway } from "../../helpers/shard-gateway.ts";
import { until } from "../../helpers/test-gateway.ts";

async function aBroker(): Promise<RecordingBroker> {
  const broker = await RecordingBroker.start();
  onTestFinished(() => broker.close());
  return broker;
}

function configOf(urls: readonly string[], more: Readonly<Record<string, unknown>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "status-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [url, second] = urls;
  return parseConfig({
    upstream: { url, mode: "aggregating", topicPrefix: "barn/" },
    ...(second !== undefined && { upstreams: [{ name: "second", url: second, clients: "x-*" }] }),
    store: { kind: "redis", folder },
    fleet: { enabled: true, name: "gw-a", listen: "127.0.0.1:1884" },
    status: { topic: "site/{gateway}" },
    log: { level: "silent" },
    ...more,
  });
}

async function statusOf(config: ReturnType<typeof parseConfig>): Promise<FleetStatus> {
  const log = await createLog(config.log);
  const status = new FleetStatus(config, {
    log,
    managed: new Managed(config.store),
    scripts: new ScriptProcess(config, () => {}),
  });
  onTestFinished(() => status.stop());
  return status;
}

const id = "mqtt-sn-gateway-status-gw-a";
const packetsOf = ({ packets }: RecordingBroker, clientId: string) =>
  packets.filter((each) => each.clientId === clientId).map(({ packet }) => packet);
const publishedBy = (broker: RecordingBroker, clientId: string) =>
  packetsOf(broker, clientId).flatMap((packet) =>
    packet.cmd === "publish" ? [`${packet.topic} ${packet.payload}${packet.retain ? " retained" : ""}`] : [],
  );

describe("the state of a gateway", () => {
  test("is online, and offline when it ends in order or its will is published, at each broker", async () => {
    const brokers = [await aBroker(), await aBroker()] as const;
    const status = await statusOf(configOf(brokers.map(({ url }) => url)));
    await status.start();
    for (const [i, broker] of brokers.entries()) {
      const topic = i === 0 ? "barn/site/gw-a/gateway" : "site/gw-a/gateway";
      await until("it is online", () => publishedBy(broker, id).length === 1);
      expect(publishedBy(broker, id)).toEqual([`${topic} online retained`]);
      expect(packetsOf(broker, id)[0]).toMatchObject({
        cmd: "connect",
        clean: true,
        will: { topic, payload: Buffer.from("offline"), retain: true, qos: 0 },
      });
      expect(new Set(broker.packets.map(({ clientId }) => clientId))).toEqual(new Set([id]));
    }
    expect(status.upstreams.map(({ linksUp, carried }) => [linksUp, carried.out > 0])).toEqual([
      [1, true],
      [1, true],
    ]);
    await status.stop();
    for (const broker of brokers) {
      await until("it has said goodbye", () => packetsOf(broker, id).at(-1)?.cmd === "disconnect");
      expect(publishedBy(broker, id).at(-1)).toMatch(/site\/gw-a\/gateway offline retained$/);
    }
  });

  test("is published again after a cut of the connection", async () => {
    const broker = await aBroker();
    const config = configOf([broker.url], {
      upstream: { url: broker.url, reconnect: { minSeconds: 0.05, maxSeconds: 0.1 } },
    });
    const status = await statusOf(config);
    await status.start();
    await until("it is online", () => publishedBy(broker, id).length === 1);
    broker.broker.cutAll();
    await until("it is online again", () => publishedBy(broker, id).length === 2);
    expect(broker.wills).toContain(id);
  });

  test("which was never started can be stopped, as when a port of the process cannot be opened", async () => {
    const broker = await aBroker();
    const status = await statusOf(configOf([broker.url]));
    await status.stop();
    expect(broker.packets).toEqual([]);
  });

  test("is not published without status.topic: there is no connection", async () => {
    const broker = await aBroker();
    const status = await statusOf(configOf([broker.url], { status: {} }));
    await status.start();
    expect(status.upstreams).toEqual([]);
    await status.stop();
    expect(broker.packets).toEqual([]);
  });
});

test("the gateway of a shard publishes the states of its clients, under the topic of the whole fleet, and has no will", async () => {
  const broker = await aBroker();
  const whole = shardConfig(configOf([broker.url]), 7);
  const { net, gateway, hear } = await shardGateway(broker.url, { whole });
  onTestFinished(() => gateway.abandon());
  hear(connectOf("c1"));
  await until("it is connected", () => net.sent.includes("030500"));
  const shard = "mqtt-sn-gateway-s07";
  await until("its state is published", () => publishedBy(broker, shard).length > 0);
  // It is published when the client connects, and when the connection to the broker is there.
  expect(new Set(publishedBy(broker, shard))).toEqual(new Set(["barn/site/clients/c1 active retained"]));
  expect(packetsOf(broker, shard)[0]).not.toHaveProperty("will.topic");
});
