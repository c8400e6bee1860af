/** Links to a broker that says nothing, or only what it must: each of these takes seconds, so all wait at the same time. */
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
    expect(seen).toEqual(["up"]); // the answer is nobody else's
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
});
