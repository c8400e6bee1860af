/** Messages of devices that wait for scripts, before the core: in order, once, with limits; and what the core makes of the answers. */
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { payloadPolicy, scriptEntries } from "../../../src/config/payloads.ts";
import type { Input } from "../../../src/core/input.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { ScriptStage } from "../../../src/runtime/script-stage.ts";
import { ScriptValues } from "../../../src/script/values.ts";
import { encode } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import { connect, disconnect, elsewhere, here, octets, ping, publish, register } from "../../helpers/bench.ts";
import { begun, data } from "../../helpers/script-stage-bench.ts";

describe("what devices say", () => {
  test("who looks on sees what the script made of it, of this client and topic alone, once it has", () => {
    const { says, scripts, values } = begun();
    const seen = (clientId: string, said: string) => values.of("in", clientId, "s/1", octets(said));
    says(data("one", 1));
    expect(seen("c1", "one")).toBeUndefined();
    scripts.answers('{"n":1}');
    expect(seen("c1", "one")).toBe('{"n":1}');
    expect([seen("c2", "one"), seen("c1", "two"), values.of("out", "c1", "s/1", octets("one"))]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    says(data("two", 2));
    scripts.answers({ is: "unfit", why: "no" });
    expect(seen("c1", "two")).toBeUndefined();
  });

  test("of what scripts said a thousand are remembered", () => {
    const values = new ScriptValues();
    for (let i = 0; i < 1_001; i++) values.note("in", "c", `t/${i}`, octets("x"), octets("{}"));
    expect(values.of("in", "c", "t/0", octets("x"))).toBeUndefined();
    expect(values.of("in", "c", "t/1", octets("x"))).toBe("{}");
    values.note("in", "c", "long", octets("x"), new Uint8Array(5_000));
    expect(values.of("in", "c", "long", octets("x"))).toBeUndefined();
  });

  test("waits for its script, and so does all that comes after it from the same device; others go on", () => {
    const { says, scripts, came, stage } = begun();
    says(data("one", 1));
    says(data("two", 2));
    says(publish({ topicIdType: "short", topicId: 0x7878, msgId: 3, data: octets("plain") }));
    says(ping);
    expect(scripts.payloads).toEqual(["one"]); // one at a time
    expect(scripts.open[0]).toMatchObject({
      sender: "c1",
      question: { file: "s.js", is: "up", fPort: 1, recvTime: 7, variables: { topic: "s/1", client: "c1" } },
    });
    expect(came()).toMatchObject({ published: [], sent: [] });
    says(ping, elsewhere);
    expect(came().sent).toEqual(["PINGRESP"]);
    says(data("theirs", 1), elsewhere);
    expect(scripts.payloads).toEqual(["one", "theirs"]);
    scripts.answers('{"n":1}');
    expect(came().published).toEqual(['s/1/json {"n":1}', "s/1/raw one"]);
    expect(scripts.payloads).toEqual(["theirs", "two"]);
    scripts.answers('{"n":2}', 1);
    expect(came()).toMatchObject({ published: ['s/1/json {"n":2}', "s/1/raw two", "xx plain"], sent: ["PINGRESP"] });
    expect(stage.waiting).toBe(1);
    scripts.answers("{}");
    expect(came().published).toEqual(["s/1/json {}", "s/1/raw theirs"]);
    expect(stage.waiting).toBe(0);
  });

  test.each([0, 1, 2] as const)("QoS %i: a repetition behind it is known as one", (qos) => {
    const { says, scripts, came, bench } = begun();
    says(data("one", 1, { qos }));
    if (qos > 0) says(data("one", 1, { qos, dup: true }));
    scripts.answers('{"n":1}');
    expect(came().published).toEqual(['s/1/json {"n":1}', "s/1/raw one"]);
    if (qos === 0) return;
    expect(scripts.payloads).toEqual(["one"]); // the repetition
    scripts.answers('{"n":1}');
    expect(came().published).toEqual([]);
    expect(bench.core.counters.dropped.repeat).toBe(1);
  });

  test("a name that was registered behind a message that waits is known when its turn comes", () => {
    const { says, scripts, came } = begun();
    says(data("one", 1));
    says(register("s/2", 2));
    says(data("two", 3, { topicId: 2 }));
    scripts.answers("1");
    expect(came().sent).toEqual(["REGACK"]);
    scripts.answers("2");
    expect(came().published).toEqual(["s/2/json 2", "s/2/raw two"]);
  });

  test("without an answer that fits, the octets go, under their own topic, and it is told", () => {
    const { says, scripts, came } = begun();
    says(data("one", 1));
    scripts.answers({ is: "unfit", why: "s.js took more than 50 ms" });
    expect(came()).toMatchObject({ published: ["s/1 one"], unfit: ["s.js took more than 50 ms"] });
    scripts.refuses = { is: "unfit", why: "not now" };
    says(data("two", 2));
    expect(came()).toMatchObject({ published: ["s/1 two"], unfit: ["not now"] });
    scripts.refuses = undefined;
    scripts.can = () => false;
    says(data("three", 3));
    expect(came()).toMatchObject({ published: ["s/1 three"], unfit: [] });
  });

  test("from a forwarder, each node has its own line", () => {
    const { says, stage, scripts, bench } = begun();
    const behind = (node: number, message: Message) => {
      const inner = encode(message);
      const bytes = Uint8Array.from([4, 0xfe, 0, node, ...inner]);
      stage.take({ kind: "datagram", from: here, bytes });
    };
    behind(1, { ...data("a", 0), qos: -1, topicIdType: "short", topicId: 0x6162 } as Message);
    behind(2, { ...data("b", 0), qos: -1, topicIdType: "short", topicId: 0x6162 } as Message);
    says(ping);
    expect(scripts.payloads).toEqual(["a", "b"]);
    expect(bench.core.counters.dropped["encapsulation-not-allowed"]).toBe(0);
  });

  test("at QoS -1, too; but strangers have few places", () => {
    const { says, scripts, came } = begun();
    const anybody = (n: number): PeerId => `udp/198.51.100.${n}:1`;
    const shout = (said: string) =>
      publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0, data: octets(said) });
    for (const n of [1, 2, 3]) says(shout(`m${n}`), anybody(n));
    expect(scripts.payloads).toEqual(["m1", "m2"]);
    // An address is easily forged: what one of them costs is on the account of all.
    expect(new Set(scripts.open.map(({ sender }) => sender))).toEqual(new Set([""]));
    expect(came()).toMatchObject({
      published: ["ab m3"],
      unfit: [expect.stringMatching(/too many senders without a session/)],
    });
    scripts.answers("1");
    says(shout("m4"), anybody(4));
    expect(came().published).toEqual(["ab 1"]);
    expect(scripts.payloads).toEqual(["m2", "m4"]);
  });

  test("at a limit the oldest goes on without its script, in order, and nothing is lost", () => {
    const { says, scripts, came, stage } = begun();
    for (const n of [1, 2, 3, 4, 5, 6]) says(data(`m${n}`, n, { qos: 0 }));
    expect(came()).toMatchObject({
      published: ["s/1 m1", "s/1 m2"],
      unfit: [/too many messages wait/, /too many messages wait/],
    });
    expect(scripts.ended).toBe(2);
    expect(scripts.payloads).toEqual(["m3"]);
    says(data("x".repeat(990), 7, { qos: 0 }));
    expect(came().published).toEqual(["s/1 m3", "s/1 m4", "s/1 m5", "s/1 m6"]);
    expect(stage.waiting).toBe(1);
    scripts.answers("7");
    expect(came().published).toEqual(["s/1/json 7", `s/1/raw ${"x".repeat(990)}`]);
    expect(stage.waiting).toBe(0);
  });

  test("at the limit for all, the line that grows gives way", () => {
    const { says, scripts, stage, bench, came } = begun();
    const third: PeerId = "udp/192.0.2.3:1000";
    bench.client(connect({ clientId: "c3" }), third);
    bench.link("c3").up();
    bench.client(register("s/1"), third);
    for (const n of [1, 2, 3, 4]) says(data(`a${n}`, n, { qos: 0 }));
    for (const n of [1, 2, 3, 4]) says(data(`b${n}`, n, { qos: 0 }), elsewhere);
    expect(stage.waiting).toBe(8);
    says(data("c1", 1, { qos: 0 }), third);
    expect(came().published).toEqual(["s/1 c1"]);
    expect(stage.waiting).toBe(8);
    expect(scripts.payloads).toEqual(["a1", "b1"]);
  });

  test("a device that goes, or whose session ends meanwhile, breaks nothing", () => {
    const { says, scripts, came, bench } = begun();
    says(data("one", 1));
    says(disconnect);
    bench.input({ kind: "dropSession", clientId: "c1" });
    scripts.answers("1");
    expect(came().published).toEqual([]);
  });

  test("declarations that change meanwhile: what was asked is answered by those of then", () => {
    const { says, scripts, came, stage, bench } = begun();
    says(data("one", 1));
    says(data("two", 2));
    bench.input({ kind: "payloadsChanged", payloads: undefined });
    stage.reload(undefined);
    scripts.answers("1");
    expect(came().published).toEqual(["s/1/json 1", "s/1/raw one", "s/1 two"]);
    expect(stage.waiting).toBe(0);
  });

  test("the end of the gateway: nothing that waits is accepted any more", () => {
    const { says, scripts, came, stage } = begun();
    says(data("one", 1));
    says(data("two", 2));
    stage.take({ kind: "shutdown" });
    expect(scripts.open).toHaveLength(0);
    expect(came().published).toEqual([]);
    expect(stage.waiting).toBe(0);
  });
});

test("without a script among the declarations nothing is looked at", () => {
  const { payloads } = parseConfig({ payloads: [{ topics: "a", format: "json" }] });
  expect(scriptEntries(payloads, payloadPolicy(payloads))).toBeUndefined();
  const taken: Input[] = [];
  const never = () => {
    throw new Error("asked");
  };
  const stage = new ScriptStage(
    {
      core: { publicationIn: never, deliveryFor: never },
      handle: (input) => taken.push(input),
      scripts: { ask: never, can: never },
      wallClock: never,
    },
    undefined,
  );
  const input: Input = { kind: "datagram", from: here, bytes: encode(ping) };
  stage.take(input);
  expect(taken).toEqual([input]);
  expect(taken[0]).toBe(input);
});
