/** Messages that wait for scripts, before the core: in order, once, with limits; and what the core makes of the answers. */
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/load.ts";
import { payloadPolicy, scriptEntries } from "../../../src/config/payloads.ts";
import type { Input } from "../../../src/core/input.ts";
import type { LinkId, PeerId, Publication, QoS } from "../../../src/core/types.ts";
import { ScriptStage, type StageLimits } from "../../../src/runtime/script-stage.ts";
import type { Answer, Question } from "../../../src/script/question.ts";
import { ScriptValues } from "../../../src/script/values.ts";
import { encode } from "../../../src/wire/v12/codec.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import {
  Bench,
  connect,
  disconnect,
  elsewhere,
  here,
  octets,
  ping,
  pubAck,
  publish,
  register,
  subscribe,
  type Turn,
} from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const text = (payload: Uint8Array) => new TextDecoder().decode(payload);
const json = (value: unknown) => octets(JSON.stringify(value));
const made = (said: string): Answer => ({ is: "made", payload: octets(said), warnings: [] });
/** Messages that wait for a sleeper. */
const bufferMax = 3;
const limits: StageLimits = {
  lineMax: 4,
  lineBytesMax: 1_000,
  allMax: 8,
  allBytesMax: 10_000,
  strangersMax: 2,
};

/** A script that answers when the test says so. */
class Asked {
  readonly open: { question: Question; sender: string; done: (answer: Answer) => void }[] = [];
  ended = 0;
  refuses: Answer | undefined;
  can = () => true;

  ask = (question: Question, sender: string, done: (answer: Answer) => void): Answer | (() => void) => {
    if (this.refuses) return this.refuses;
    const each = { question, sender, done };
    this.open.push(each);
    return () => {
      const at = this.open.indexOf(each);
      if (at >= 0) this.open.splice(at, 1);
      this.ended++;
    };
  };

  get payloads(): string[] {
    return this.open.map(({ question }) => text(question.payload));
  }

  answers(answer: Answer | string = "{}", at = 0): void {
    const [each] = this.open.splice(at, 1);
    if (!each) throw new Error("nothing was asked");
    each.done(typeof answer === "string" ? made(answer) : answer);
  }
}

const declared = [
  { topics: "cal", format: "json" },
  { topics: "s/+", script: "s.js", to: "{topic}/json", raw: "{topic}/raw" },
  { topics: "ab", script: "s.js" },
  { topics: "plain", script: "down.js", direction: "down" },
];

function world(mode: "transparent" | "aggregating" = "transparent", declarations: unknown[] = declared) {
  const { payloads } = parseConfig({ payloads: declarations });
  const policy = payloadPolicy(payloads);
  const buffer = { ...testOptions.buffer, messagesMax: bufferMax };
  const bench = new Bench({ payloads: policy, buffer, upstream: { ...testOptions.upstream, mode } });
  const scripts = new Asked();
  const values = new ScriptValues();
  const turns: Turn[] = [];
  const stage = new ScriptStage(
    {
      core: bench.core,
      handle: (input) => turns.push(bench.input(input)),
      scripts,
      wallClock: () => 7,
      limits,
      values,
    },
    scriptEntries(payloads, policy),
  );
  const says = (message: Message, from: PeerId = here) =>
    stage.take({ kind: "datagram", from, bytes: encode(message) });
  const links = () => bench.links;
  const link = (name = "c1"): LinkId => {
    const id = links().get(mode === "transparent" ? name : "gateway");
    if (id === undefined) throw new Error("no link");
    return id;
  };
  let packetId = 0;
  const delivers = (topicName: string, payload: Uint8Array, qos: QoS = 1, name = "c1") => {
    const publication: Publication = { topicName, payload, qos, retain: false };
    stage.take({ kind: "delivered", linkId: link(name), publication, packetId: qos && ++packetId, dup: false });
    return packetId;
  };
  /** Everything since the last look. */
  const came = () => {
    const effects = turns.splice(0).flatMap((turn) => turn.effects);
    return {
      published: effects.flatMap((effect) =>
        effect.kind === "publish" ? [`${effect.publication.topicName} ${text(effect.publication.payload)}`] : [],
      ),
      sent: effects.flatMap((effect) => (effect.kind === "send" ? [effect.message.type] : [])),
      told: effects.flatMap((effect) =>
        effect.kind === "send" && effect.message.type === "PUBLISH" ? [text(effect.message.data)] : [],
      ),
      acked: effects.flatMap((effect) => (effect.kind === "ackBroker" ? [effect.packetId] : [])),
      unfit: effects.flatMap((effect) =>
        effect.kind === "report" && effect.event.event === "payload_unfit" ? [effect.event.why] : [],
      ),
    };
  };
  return { bench, stage, scripts, values, says, delivers, came, link, turns };
}

function begun(mode: "transparent" | "aggregating" = "transparent", declarations: unknown[] = declared) {
  const all = world(mode, declarations);
  const connects = (clientId: string, from: PeerId) => {
    all.bench.client(connect({ clientId }), from);
    if (mode === "transparent") all.bench.link(clientId).up();
  };
  if (mode === "aggregating") all.bench.link("gateway").up();
  connects("c1", here);
  connects("c2", elsewhere);
  all.bench.client(register("s/1"), here);
  all.bench.client(register("s/1"), elsewhere);
  return all;
}

const data = (said: string, msgId: number, more: Partial<Extract<Message, { type: "PUBLISH" }>> = {}) =>
  publish({ data: octets(said), msgId, ...more });

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
    expect(came()).toMatchObject({ published: ["ab m3"], unfit: [/too many senders without a session/] });
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
    expect(came()).toMatchObject({ told: [], acked: [], unfit: [/the connection to the broker ended/] });
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
