/** The real gateway at a broker that closes the connection for a CONNECT with a will, orderly or not. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { connect, octets, publish } from "../helpers/bench.ts";
import { ScriptedBroker, type Visit } from "../helpers/scripted-broker.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

const ways = { FIN: ({ socket }: Visit) => socket.end(), RST: ({ socket }: Visit) => socket.resetAndDestroy() };

async function setUp(protocol: "3.1.1" | "5", close: (visit: Visit) => void, config: Record<string, unknown>) {
  let closed = 0;
  const broker = await ScriptedBroker.start({
    answer: (packet, visit) => {
      if (packet.cmd === "connect" && packet.will) {
        closed++;
        close(visit);
        return [];
      }
      return packet.cmd === "publish" && packet.qos === 1
        ? [{ cmd: "puback", messageId: packet.messageId as number }]
        : undefined;
    },
  });
  toClose.push(() => broker.close());
  const { mode = "transparent", ...rest } = config;
  const { gateway, port } = await startGateway({
    upstream: { url: broker.url, protocol, mode, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
    ...rest,
  });
  toClose.push(() => gateway.stop());
  const socket = createSocket("udp4");
  toClose.push(async () => {
    socket.close();
  });
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  const heard: Message[] = [];
  socket.on("message", (bytes) => {
    const decoded = decode(bytes);
    if ("message" in decoded) heard.push(decoded.message as Message);
  });
  const answer = async <Type extends Message["type"]>(message: Message, type: Type) => {
    const before = heard.length;
    socket.send(encode(message));
    await until(`${type} in ${heard.map((each) => each.type).join(", ")}`, () =>
      heard.slice(before).some((each) => each.type === type),
    );
    return heard.slice(before).find((each) => each.type === type) as Extract<Message, { type: Type }>;
  };
  return { answer, closed: () => closed };
}

describe.each(["3.1.1", "5"] as const)("MQTT %s", (protocol) => {
  test.each(Object.keys(ways) as (keyof typeof ways)[])("a device's will, %s: it hears 0x03", async (way) => {
    const { answer, closed } = await setUp(protocol, ways[way], {});
    const say = async () => {
      await answer(connect({ will: true, cleanSession: false }), "WILLTOPICREQ");
      await answer({ type: "WILLTOPIC", willTopic: "w", qos: 1, retain: false }, "WILLMSGREQ");
      return answer({ type: "WILLMSG", willMsg: octets("gone") }, "CONNACK");
    };
    expect(await say()).toMatchObject({ returnCode: 3 });
    expect(closed()).toBe(3);
    expect(await say()).toMatchObject({ returnCode: 3 });
    expect(closed()).toBe(3);
    expect(await answer(connect({ will: false, cleanSession: false }), "CONNACK")).toMatchObject({ returnCode: 0 });
  });

  test.each(["transparent", "aggregating"] as const)(
    "the status message as a will, %s: devices are served",
    async (mode) => {
      const { answer, closed } = await setUp(protocol, ways.FIN, { mode, status: { topic: "site" } });
      // "congestion" as long as the shared connection is looked into
      while ((await answer(connect({ cleanSession: false }), "CONNACK")).returnCode !== 0);
      const { topicId } = await answer({ type: "REGISTER", topicId: 0, msgId: 1, topicName: "t" }, "REGACK");
      expect(await answer(publish({ topicId, msgId: 2 }), "PUBACK")).toMatchObject({ msgId: 2, returnCode: 0 });
      await until("three ends", () => closed() === 3);
    },
  );
});
