/** Links to a broker that says nothing, or only what it must: each of these takes seconds, so all wait at the same time. */
import type { Packet } from "mqtt-packet";
import { describe, expect, type TestContext, test } from "vitest";
import { connAck } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { watchedLink } from "../helpers/watched-link.ts";
import { waysToConnect } from "../helpers/ways-to-connect.ts";

describe.concurrent.each(waysToConnect)("connected by $name", (way) => {
  type Rest = Parameters<typeof watchedLink> extends [unknown, ...infer Others] ? Others : never;
  const setUp = async (onTestFinished: TestContext["onTestFinished"], ...of: Rest) => {
    const link = await watchedLink(way, ...of);
    onTestFinished(link.close);
    return link;
  };

  test.concurrent("something is written and nothing comes any more: the broker is asked, and then it is silent", async ({
    onTestFinished,
  }) => {
    let isDeaf = false;
    const { broker, upstream, up, end } = await setUp(onTestFinished, "3.1.1", {
      answer: () => (isDeaf ? [] : undefined),
    });
    await up();
    isDeaf = true;
    upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 0, retain: false }, 0, false);
    expect(await end()).toMatchObject({ cause: "silent" });
    expect(broker.visits[0]?.packets.map(({ cmd }) => cmd)).toEqual(["connect", "publish", "pingreq"]);
  });

  test.concurrent("a broker that answers nothing but the question is there", async ({ onTestFinished }) => {
    const { broker, upstream, seen, up } = await setUp(onTestFinished, "3.1.1");
    await up();
    const asked = () => broker.last.packets.filter(({ cmd }) => cmd === "pingreq").length;
    for (let i = 1; i <= 2; i++) {
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 1, retain: false }, i, false);
      await until("the question", () => asked() === i);
    }
    expect(broker.visits).toHaveLength(1);
    expect(seen).toEqual(["up"]); // the answer belongs to no other PINGREQ
  });

  test.concurrent("nobody answers PINGREQ of the keep-alive, though pings of the core were answered before: silent", async ({
    onTestFinished,
  }) => {
    let pings = 0;
    const { upstream, seen, up, end } = await setUp(
      onTestFinished,
      "3.1.1",
      { answer: ({ cmd }) => (cmd === "pingreq" && ++pings > 1 ? [] : undefined) },
      { keepAliveSeconds: 5 },
    );
    await up();
    upstream.ping("l~1");
    await until("its answer", () => seen.includes("pong"));
    expect(await end()).toMatchObject({ cause: "silent", showedLife: true });
    expect(pings).toBe(2);
  });

  test.concurrent("answers to the keep-alive are its own, also with a ping of the core among them", async ({
    onTestFinished,
  }) => {
    const { broker, upstream, seen, up } = await setUp(onTestFinished, "5", {
      answer: ({ cmd }) => (cmd === "connect" ? [connAck(5, { serverKeepAlive: 1 })] : undefined),
    });
    await up();
    const pings = () => broker.last.packets.filter(({ cmd }) => cmd === "pingreq").length;
    await until("the first of the keep-alive", () => pings() === 1);
    upstream.ping("l~1");
    await until("two more of the keep-alive", () => pings() === 4);
    expect(seen).toEqual(["up", "pong"]);
    expect(broker.visits).toHaveLength(1);
  });

  const stretched = { keepAliveSeconds: 5, keepAliveMaxSeconds: 600 };
  /** A broker whose own keep alive is a second. */
  const hasty = () => {
    const state = { isDeaf: false };
    const answer = ({ cmd }: Packet) => {
      if (cmd === "connect") return [connAck(5, { serverKeepAlive: 1 })];
      return state.isDeaf ? [] : undefined;
    };
    return { state, answer };
  };

  test.concurrent("a keep alive that may be stretched: the broker is told it, and its own counts more", async ({
    onTestFinished,
  }) => {
    const { broker, up } = await setUp(onTestFinished, "5", { answer: hasty().answer }, stretched);
    await up();
    expect(broker.last.packets[0]).toMatchObject({ cmd: "connect", keepalive: 600 });
    const pings = () => broker.last.packets.filter(({ cmd }) => cmd === "pingreq").length;
    await until("three of the keep-alive", () => pings() === 3, 10_000);
    expect(broker.visits).toHaveLength(1);
  });

  test.concurrent("stretched: where something is said, there is no PINGREQ", async ({ onTestFinished }) => {
    const { broker, upstream, seen, up } = await setUp(
      onTestFinished,
      "5",
      {
        answer: (packet) =>
          packet.cmd === "publish" ? [{ cmd: "puback", messageId: packet.messageId ?? 0 }] : hasty().answer(packet),
      },
      stretched,
    );
    await up();
    for (let id = 1; id <= 12; id++) {
      upstream.publish("l~1", { topicName: "t", payload: new Uint8Array(1), qos: 1, retain: false }, id, false);
      await new Promise((done) => setTimeout(done, 250));
    }
    expect(seen.filter((what) => what === "puback")).toHaveLength(12);
    expect(broker.last.packets.filter(({ cmd }) => cmd === "pingreq")).toEqual([]);
  });

  test.concurrent("stretched: a PINGREQ that nobody answers is asked once more, and then the broker is silent", async ({
    onTestFinished,
  }) => {
    const { state, answer } = hasty();
    const { broker, up, end } = await setUp(onTestFinished, "5", { answer }, stretched);
    await up();
    state.isDeaf = true;
    expect(await end()).toMatchObject({ cause: "silent" });
    const pings = broker.visits[0]?.packets.filter(({ cmd }) => cmd === "pingreq") ?? [];
    // The keep-alive's, and one that asks for a sign of life; more may be due meanwhile.
    expect(pings.length).toBeGreaterThanOrEqual(2);
  });
});
