/** The gateway of one shard, whose lease is over: it is dropped without a word, and the process lives. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { RecordingBroker } from "../../helpers/recording-broker.ts";
import { connectOf, shardGateway } from "../../helpers/shard-gateway.ts";
import { until } from "../../helpers/test-gateway.ts";

async function serving(reservedIds: ReadonlySet<string> = new Set()) {
  const broker = await RecordingBroker.start();
  onTestFinished(() => broker.close());
  const { net, lease, gateway, hear } = await shardGateway(broker.url, { reservedIds });
  onTestFinished(() => gateway.abandon());
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
