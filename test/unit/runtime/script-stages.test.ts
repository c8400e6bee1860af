/** Stages that share the process of scripts: those of all shards of a fleet. Their limits are for all together, and one ends alone. */
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { payloadPolicy, scriptEntries } from "../../../src/config/payloads.ts";
import { elsewhere, octets, publish } from "../../helpers/bench.ts";
import { begun, data, declared, json, limits } from "../../helpers/script-stage-bench.ts";

const shared = () => ({ messages: 0, bytes: 0, strangers: 0 });
const unfitLetter = (payload: Uint8Array) => ({
  id: 1,
  clientId: "c1",
  record: {
    direction: "down" as const,
    reason: "payload-unfit" as const,
    at: 0,
    publication: { topicName: "s/1", payload, qos: 1 as const, retain: false },
  },
});

describe("two stages", () => {
  test("keep the limit of all messages together", () => {
    const waiting = shared();
    const [one, other] = [begun("transparent", declared, waiting), begun("transparent", declared, waiting)];
    for (let i = 0; i < limits.lineMax; i++) one.says(data(`a${i}`, i + 1));
    for (let i = 0; i < limits.lineMax; i++) one.says(data(`b${i}`, i + 1), elsewhere);
    expect(waiting.messages).toBe(limits.allMax);
    expect(one.came().unfit).toEqual([]);
    other.says(data("c", 1));
    expect(other.came().unfit).toEqual([expect.stringMatching(/too many messages wait behind it/)]);
    expect(other.stage.waiting, "here none waits, and there all of them").toBe(limits.allMax);
    one.stage.end();
    expect(waiting).toMatchObject({ messages: 0, bytes: 0 });
    other.says(data("d", 2));
    expect(other.scripts.payloads).toEqual(["d"]);
  });

  test("count senders without a session together", () => {
    const waiting = shared();
    const declarations = [{ topics: "xx", script: "s.js" }];
    const [one, other] = [begun("transparent", declarations, waiting), begun("transparent", declarations, waiting)];
    const stranger = (host: number) => `udp/192.0.2.${host}:7` as Parameters<typeof one.says>[1];
    const says = (from: typeof one, host: number) =>
      from.says(
        publish({ qos: -1, topicIdType: "short", topicId: 0x7878, msgId: 0, data: octets("x") }),
        stranger(host),
      );
    for (let i = 0; i < limits.strangersMax; i++) says(one, i + 1);
    expect(waiting.strangers).toBe(limits.strangersMax);
    says(other, 99);
    expect(other.scripts.open).toHaveLength(0);
    one.scripts.answers();
    says(other, 100);
    expect(other.scripts.open).toHaveLength(1);
  });
});

describe("a stage that has ended", () => {
  test("has no open question, and gets no answer", () => {
    const { stage, says, scripts, came } = begun();
    says(data("one", 1));
    says(data("two", 2));
    const [open] = scripts.open;
    stage.end();
    expect(scripts).toMatchObject({ open: [], ended: 1 });
    expect(stage.waiting).toBe(0);
    open?.done({ is: "made", payload: octets("{}"), warnings: [] });
    expect(came()).toMatchObject({ published: [], sent: [] });
  });

  test("asks nothing any more, also after a reload", () => {
    const { stage, says, scripts } = begun();
    stage.end();
    const { payloads } = parseConfig({ payloads: declared });
    stage.reload(scriptEntries(payloads, payloadPolicy(payloads)));
    says(data("one", 1));
    expect(scripts.open).toHaveLength(0);
  });

  test("lets dead letters wait no longer, and asks for no further ones", async () => {
    const { stage, scripts } = begun();
    const asked = stage.answersFor([unfitLetter(json(1)), unfitLetter(json(2))]);
    expect(scripts.payloads).toEqual(["1"]);
    stage.end();
    const policy = await asked;
    expect(scripts.open).toHaveLength(0);
    for (const said of [1, 2])
      expect(policy?.down("c1", "s/1", json(said))).toEqual({
        is: "unfit",
        why: "s.js was not asked: the gateway ends",
      });
  });
});
