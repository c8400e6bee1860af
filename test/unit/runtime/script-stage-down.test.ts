/** Messages for devices that wait for scripts, before the core, and dead letters that are sent again. */
import { describe, expect, test } from "vitest";
import type { Input } from "../../../src/core/input.ts";
import { elsewhere, here, octets, pubAck, subscribe } from "../../helpers/bench.ts";
import { begun, bufferMax, declared, json } from "../../helpers/script-stage-bench.ts";
import { testOptions } from "../../simulation/options.ts";

describe("what devices are told", () => {
  const told = (mode: "transparent" | "aggregating", declarations = declared as unknown[]) => {
    const all = begun(mode, declarations);
    for (const [from, clientId] of [
      [here, "c1"],
      [elsewhere, "c2"],
    ] as const)
      for (const topic of ["s/1", "plain"]) {
        const { packetId } = all.bench
          .client(subscribe(topic, 1, 9), from)
          .effects.find((effect) => effect.kind === "subscribe") ?? { packetId: undefined };
        if (packetId !== undefined)
          all.bench.link(mode === "transparent" ? clientId : "gateway").acks("suback", packetId, 1);
      }
    all.came();
    return all;
  };

  test.each(["transparent", "aggregating"] as const)(
    "%s: a command waits, and is octets before it is a message",
    (mode) => {
      const { delivers, scripts, came, stage, values } = told(mode);
      delivers("s/1", json({ level: 1 }), 0);
      delivers("s/1", json({ level: 2 }), 0);
      expect(scripts.payloads).toEqual(['{"level":1}']);
      expect(scripts.open[0]?.question).toMatchObject({ is: "down", file: "s.js", variables: { topic: "s/1" } });
      expect(came().told).toEqual([]);
      scripts.answers("A");
      scripts.answers("B");
      expect(values.of("out", "c1", "s/1", octets("A"))).toBe('{"level":1}');
      const everybody = mode === "aggregating" ? 2 : 1;
      expect(came().told).toEqual(["A", "B"].flatMap((each) => Array<string>(everybody).fill(each)));
      expect(stage.waiting).toBe(0);
    },
  );

  test("what is no JSON, or of another topic, does not wait", () => {
    const { delivers, scripts, came } = told("transparent");
    delivers("s/1", octets("raw"), 0);
    expect(came().told).toEqual(["raw"]);
    delivers("s/1", json({ level: 1 }), 0);
    delivers("plain", octets("text"), 0);
    expect(came().told).toEqual(["text"]);
    expect(scripts.open).toHaveLength(1);
  });

  test("each client by its own script", () => {
    const { delivers, scripts, came } = told("aggregating", [
      { topics: "s/1", clients: "c1", script: "one.js" },
      { topics: "s/1", script: "other.js" },
      { topics: "s/1", script: "never.js" },
    ]);
    delivers("s/1", json(1), 0);
    expect(scripts.open.map(({ question }) => question.file)).toEqual(["one.js", "other.js"]);
    scripts.answers("other", 1);
    expect(came().told).toEqual([]);
    scripts.answers("one");
    expect(came().told.sort()).toEqual(["one", "other"]);
  });

  test("what cannot be made into octets is dropped, and told", () => {
    const { delivers, scripts, came, bench } = told("transparent");
    delivers("s/1", json({}), 1);
    scripts.answers({ is: "unfit", why: "s.js says: no level" });
    expect(came()).toMatchObject({ told: [], acked: [1], unfit: ["s.js says: no level"] });
    expect(bench.core.counters.dropped["payload-unfit"]).toBe(1);
  });

  test("one that finds no room keeps its octets until there is some", () => {
    const { delivers, scripts, came, turns, says } = told("transparent");
    says({ type: "DISCONNECT", duration: 600 });
    const last = bufferMax + testOptions.upstream.receiveMaximum;
    for (let i = 0; i <= last; i++) {
      delivers("s/1", json(i), 1);
      scripts.answers(`m${i}`);
    }
    came();
    // It wakes up and takes them one by one; the last was left at the broker until then.
    const heard: string[] = [];
    says({ type: "PINGREQ", clientId: "c1" });
    for (let i = 0; i <= last; i++) {
      const message = turns.flatMap(({ sent }) => sent).find(({ type }) => type === "PUBLISH");
      heard.push(...came().told);
      if (message?.type === "PUBLISH") says(pubAck(message));
    }
    expect(heard).toEqual(Array.from({ length: last + 1 }, (_, i) => `m${i}`));
    expect(scripts.open).toHaveLength(0);
  });

  test("a connection that ends: QoS 1 is the broker's to send again, QoS 0 is dropped and told; the next is as new", () => {
    const { delivers, scripts, came, stage, link } = told("transparent");
    delivers("s/1", json(1), 1);
    delivers("s/1", json(2), 0);
    const linkId = link();
    const end: Input = {
      kind: "linkDown",
      linkId,
      reason: "reset",
      takenOver: false,
      cause: "network",
      showedLife: true,
    };
    stage.take(end);
    expect(scripts.open).toHaveLength(0);
    expect(stage.waiting).toBe(0);
    expect(came()).toMatchObject({
      told: [],
      acked: [],
      unfit: [expect.stringMatching(/the connection to the broker ended/)],
    });
  });

  test("dead letters are asked about again", async () => {
    const { stage, scripts } = told("transparent");
    const letter = (payload: Uint8Array, reason: "payload-unfit" | "expired") => ({
      id: 1,
      clientId: "c1",
      record: {
        direction: "down" as const,
        reason,
        at: 0,
        publication: { topicName: "s/1", payload, qos: 1 as const, retain: false },
      },
    });
    const asked = stage.answersFor([letter(json(1), "payload-unfit"), letter(json(2), "expired")]);
    await Promise.resolve();
    expect(scripts.payloads).toEqual(["1"]);
    scripts.answers("one");
    const policy = await asked;
    expect(policy?.down("c1", "s/1", json(1))).toEqual({ is: "made", payload: octets("one") });
    expect(policy?.down("c1", "s/1", json(2))).toMatchObject({ is: "unfit" });
  });
});
