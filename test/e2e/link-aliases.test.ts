/** Topic aliases over real TCP: what a broker that takes them is sent, and what it is sent after a cut. [MQTT-5.0 3.3.2.3.4] */
import type { IPublishPacket, Packet } from "mqtt-packet";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { QoS } from "../../src/core/types.ts";
import { connAck, type Visit } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { watchedLink } from "../helpers/watched-link.ts";
import { type Way, waysToConnect } from "../helpers/ways-to-connect.ts";

let close: (() => Promise<void>) | undefined;
afterEach(async () => {
  await close?.();
  close = undefined;
});

let way: Way;

const granting = (topicAliasMaximum: number) => (packet: Packet) =>
  packet.cmd === "connect" ? [connAck(packet.protocolVersion ?? 4, { topicAliasMaximum })] : undefined;

async function setUp(protocol: "3.1.1" | "5", grants: number, over: Record<string, unknown> = {}) {
  const link = await watchedLink(way, protocol, { answer: granting(grants) }, over);
  ({ close } = link);
  await link.up();
  const say = (topicName: string, packetId: number, dup = false, qos: QoS = 1) =>
    link.upstream.publish("l~1", { topicName, payload: Buffer.from("p"), qos, retain: false }, packetId, dup);
  return { ...link, say };
}

const publications = ({ packets }: Visit) =>
  packets.filter((packet): packet is IPublishPacket => packet.cmd === "publish");
const inWords = ({ topic, properties, dup }: IPublishPacket) =>
  `${topic} ${properties?.topicAlias ?? "-"}${dup ? " again" : ""}`;

describe.each(waysToConnect)("connected by $name", (each) => {
  beforeAll(() => {
    way = each;
  });

  test("a name is said once on a connection, with its alias; at the next connection all is said anew, in whole names", async () => {
    const { broker, seen, say } = await setUp("5", 10);
    say("site/hall/1", 1);
    say("site/hall/2", 2);
    say("site/hall/1", 3, false, 2);
    say("site/hall/1", 0, false, 0);
    await until("four publications", () => publications(broker.last).length === 4);
    expect(publications(broker.last).map(inWords)).toEqual(["site/hall/1 1", "site/hall/2 2", " 1", " 1"]);
    broker.last.socket.resetAndDestroy();
    await until(
      "the next connection",
      () => broker.visits.length === 2 && seen.filter((what) => what === "up").length === 2,
    );
    say("site/hall/1", 3, true, 2);
    say("site/hall/1", 1, true);
    await until("both again", () => publications(broker.last).length === 2);
    expect(publications(broker.last).map(inWords)).toEqual(["site/hall/1 1 again", " 1 again"]);
  });

  test("what was said in a turn in which the connection ended is no name that the next one knows", async () => {
    const { broker, seen, say } = await setUp("5", 10);
    broker.last.socket.resetAndDestroy();
    const isUpAgain = () => seen.filter((what) => what === "up").length === 2;
    for (let id = 1; !isUpAgain() && id < 60_000; id++) {
      say("site/hall/1", id);
      await new Promise((done) => setImmediate(done));
    }
    say("site/hall/1", 60_000);
    await until("it", () => publications(broker.last).length > 0);
    expect(publications(broker.last).slice(0, 1).map(inWords)).toEqual(["site/hall/1 1"]);
  });

  test.each([
    ["a broker that grants none", "5", 0, {}],
    ["an option that wants none", "5", 10, { topicAliases: 0 }],
    ["MQTT 3.1.1", "3.1.1", 10, {}],
  ] as const)("none with %s", async (_what, protocol, grants, over) => {
    const { broker, say } = await setUp(protocol, grants, over);
    say("site/hall/1", 1);
    say("site/hall/1", 2);
    await until("both", () => publications(broker.last).length === 2);
    expect(publications(broker.last).map(inWords)).toEqual(["site/hall/1 -", "site/hall/1 -"]);
  });

  test("a broker that ends a connection over an alias (0x94) has whole names from then on", async () => {
    const { broker, seen, say } = await setUp("5", 10);
    say("site/hall/1", 1);
    await until("it", () => publications(broker.last).length === 1);
    broker.last.say({ cmd: "disconnect", reasonCode: 0x94 } as Packet);
    broker.last.socket.end();
    await until(
      "the next connection",
      () => broker.visits.length === 2 && seen.filter((what) => what === "up").length === 2,
    );
    say("site/hall/1", 1, true);
    await until("it again", () => publications(broker.last).length === 1);
    expect(publications(broker.last).map(inWords)).toEqual(["site/hall/1 - again"]);
  });
});
