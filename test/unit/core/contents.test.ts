/** Payloads by declaration in the core: asked once, when a publication is accepted; what was made is what is stored and sent. */
import { describe, expect, test } from "vitest";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { Origin, PayloadPolicy } from "../../../src/core/payloads.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { toHex } from "../../../src/payload/value.ts";
import { encode } from "../../../src/wire/v12/codec.ts";
import { Bench, connect, octets, pubAck, publish, register, sleep, type Turn, wake } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const modes = ["transparent", "aggregating"] as const;
type Mode = (typeof modes)[number];

const text = (payload: Uint8Array) => new TextDecoder().decode(payload);

/** Upper case up; down what is between braces; "bad" fits nothing. Counts how often it was asked. */
class Shouting implements PayloadPolicy {
  asked = 0;
  readonly origins: ((() => Origin) | undefined)[] = [];
  readonly mark: string;
  readonly raw: string | undefined;

  constructor(mark = "", raw?: string) {
    this.mark = mark;
    this.raw = raw;
  }

  up(_clientId: string | undefined, topicName: string, payload: Uint8Array, origin?: () => Origin) {
    this.asked++;
    this.origins.push(origin);
    if (topicName !== "t" && topicName !== "ab") return undefined;
    if (text(payload) === "bad") return { is: "unfit", why: "it is bad" } as const;
    return {
      is: "made",
      topicName: `${topicName}/json`,
      payload: octets(text(payload).toUpperCase() + this.mark),
      contentType: "application/json",
      ...(this.raw !== undefined && { rawTopicName: this.raw }),
    } as const;
  }

  down(_clientId: string, _topicName: string, payload: Uint8Array) {
    const said = /^\{(.*)\}$/.exec(text(payload))?.[1];
    if (said === undefined) return undefined;
    return said === "bad"
      ? ({ is: "unfit", why: "it is bad" } as const)
      : ({ is: "made", payload: octets(said) } as const);
  }
}

const storing = { ...testOptions.uplink.policyOf(""), whenAway: "store" as const };

function begun(mode: Mode, payloads: PayloadPolicy, over: Partial<CoreOptions> = {}) {
  const upstream = { ...testOptions.upstream, mode, will: { ...testOptions.upstream.will, held: "gateway" as const } };
  const uplink = { ...testOptions.uplink, policyOf: () => storing };
  const run = new GatewayRun({ payloads, upstream, uplink, ...over });
  return connectedIn(run, mode);
}

function connectedIn(run: GatewayRun, mode: Mode) {
  const { bench } = run;
  const link = () => bench.link(mode === "transparent" ? "c1" : "gateway");
  if (mode === "aggregating") run.keep(link().up());
  run.keep(bench.client(connect({ cleanSession: false })));
  if (mode === "transparent") run.keep(link().up());
  run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: "t" }));
  return { run, bench, link };
}

function published(turn: Turn) {
  return turn.effects.flatMap((effect) =>
    effect.kind === "publish"
      ? [{ ...effect.publication, payload: text(effect.publication.payload), packetId: effect.packetId }]
      : [],
  );
}

/** Publications on disk for the broker. */
function recordsOf({ table }: GatewayRun) {
  const backlog = table.read("c1", 0, 100).map(([, { publication }]) => publication);
  const uplink = [...table.states()].flatMap((state) => state.uplink.map(([, { publication }]) => publication));
  return [...backlog, ...uplink].map((each) => ({ ...each, payload: text(each.payload) }));
}

describe.each(modes)("up, %s", (mode) => {
  test.each([0, 1, 2] as const)("at QoS %d what is made goes, and is asked for once", (qos) => {
    const payloads = new Shouting();
    const { run, bench } = begun(mode, payloads);
    const sent = published(run.keep(bench.client(publish({ qos, msgId: 7, data: octets("warm") }))));
    expect(sent).toMatchObject([{ topicName: "t/json", payload: "WARM", qos }]);
    run.keep(bench.client(publish({ qos, msgId: 7, dup: true, data: octets("warm") })));
    expect(payloads.asked).toBe(qos === 0 ? 2 : 1);
  });

  test("what does not fit goes as it is, counted, with the field and the octets", () => {
    const { run, bench } = begun(mode, new Shouting());
    const turn = run.keep(bench.client(publish({ qos: 1, msgId: 7, data: octets("bad") })));
    expect(published(turn)).toMatchObject([{ topicName: "t", payload: "bad" }]);
    expect(turn.events).toContainEqual({
      event: "payload_unfit",
      clientId: "c1",
      peer: "udp/192.0.2.1:1000",
      topicName: "t",
      direction: "up",
      why: "it is bad",
      octets: 3,
      begin: "626164",
    });
    expect(bench.core.counters.payloadsUnfit).toBe(1);
  });

  test("QoS 2: a repetition is known by what the device said, whatever was made of it, over a restart too", () => {
    const { run, bench, link } = begun(mode, new Shouting());
    const [sent] = published(run.keep(bench.client(publish({ qos: 2, msgId: 7, data: octets("warm") }))));
    run.keep(link().acks("pubrec", sent?.packetId ?? 0)).gets("PUBREC");
    run.keep(bench.client(publish({ qos: 2, msgId: 7, dup: true, data: octets("warm") }))).gets("PUBREC");
    const next = run.next();
    const again = next.keep(next.bench.client(publish({ qos: 2, msgId: 7, dup: true, data: octets("warm") })));
    expect(published(again)).toEqual([]);
  });

  test("QoS 2 not answered yet: after a new CONNECT the device's repetition adopts it, another message does not", () => {
    const { run, bench } = begun(mode, new Shouting());
    expect(published(run.keep(bench.client(publish({ qos: 2, msgId: 7, data: octets("warm") }))))).toHaveLength(1);
    run.keep(bench.client(connect({ cleanSession: false })));
    const repeated = run.keep(bench.client(publish({ qos: 2, msgId: 7, dup: true, data: octets("warm") })));
    expect(published(repeated)).toEqual([]);
  });

  test("a declaration that changes changes nothing that waits under a packet id", () => {
    const { run, bench, link } = begun(mode, new Shouting());
    run.keep(bench.client(publish({ qos: 2, msgId: 7, data: octets("warm") })));
    run.keep(bench.input({ kind: "payloadsChanged", payloads: new Shouting("!") }));
    run.keep(link().down());
    if (mode === "transparent") bench.after(2_000);
    const again = published(run.keep(link().up(true)));
    expect(again).toMatchObject([{ topicName: "t/json", payload: "WARM" }]);
    const next = published(run.keep(bench.client(publish({ qos: 1, msgId: 8, data: octets("cold") }))));
    expect(next).toMatchObject([{ payload: "COLD!" }]);
  });

  test("accepted while the broker is away: what was made is on disk, and the declaration of then counts", () => {
    const { run, bench, link } = begun(mode, new Shouting());
    run.keep(link().down(false, { cause: "network" }));
    run.keep(bench.client(publish({ qos: 1, msgId: 7, data: octets("warm") })));
    bench.after(6_000);
    const records = recordsOf(run);
    expect(records).toMatchObject([{ topicName: "t/json", payload: "WARM" }]);
    run.keep(bench.client(publish({ qos: 1, msgId: 7, dup: true, data: octets("warm") })));
    expect(recordsOf(run)).toEqual(records);
  });

  test("a raw copy is a publication of its own, at the same QoS, on disk before either leaves", () => {
    for (const qos of [1, 2] as const) {
      const { run, bench, link } = begun(mode, new Shouting("", "t/raw"));
      const turn = bench.client(publish({ qos, msgId: 7, retain: true, data: octets("warm") }));
      const sent = published(turn);
      expect(sent).toMatchObject([
        { topicName: "t/json", payload: "WARM", qos, retain: true },
        { topicName: "t/raw", payload: "warm", qos, retain: true },
      ]);
      const { token } = turn.effect("persist");
      const behind = turn.effects.flatMap((effect) => (effect.kind === "publish" ? [effect.behind] : []));
      expect(behind).toEqual([token, token]);
      run.keep(turn);
      // The device's answer is that of the converted message; the copy continues alone, also after a crash.
      run
        .keep(link().acks(qos === 1 ? "puback" : "pubrec", sent[0]?.packetId ?? 0))
        .gets(qos === 1 ? "PUBACK" : "PUBREC");
      expect(run.records).toBeGreaterThan(0);
      run.keep(link().acks(qos === 1 ? "puback" : "pubrec", sent[1]?.packetId ?? 0)).gets();
      if (qos === 2) {
        run.keep(link().acks("pubcomp", sent[1]?.packetId ?? 0)).gets();
        continue;
      }
      expect(run.records).toBe(0);
    }
  });

  test("a refused publication has no raw copy", () => {
    const { run, bench } = begun(mode, new Shouting("", "t/raw"));
    const { uplinkInFlightMax } = testOptions.clients;
    for (let msgId = 1; msgId <= uplinkInFlightMax; msgId++)
      run.keep(bench.client(publish({ qos: 1, msgId, data: octets(`m${msgId}`) })));
    const turn = run.keep(bench.client(publish({ qos: 1, msgId: 100, data: octets("more") }))).gets("PUBACK");
    expect(published(turn)).toEqual([]);
  });

  test("QoS -1 is decoded, too", () => {
    const { bench } = begun(mode, new Shouting());
    const turn = bench.client(
      publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0, data: octets("warm") }),
      "udp/192.0.2.77:7",
    );
    expect(published(turn)).toMatchObject([{ topicName: "ab/json", payload: "WARM", qos: 0 }]);
  });
});

describe.each(modes)("down, %s", (mode) => {
  function subscribed(payloads: PayloadPolicy) {
    const { run, bench, link } = begun(mode, payloads);
    const asked = run.keep(
      bench.client({ type: "SUBSCRIBE", dup: false, qos: 2, topicIdType: "normal", msgId: 3, topic: "set" }),
    );
    run.keep(link().acks("suback", asked.effect("subscribe").packetId, 2)).gets("SUBACK");
    return { run, bench, link };
  }

  test.each([0, 1, 2] as const)("at QoS %d a command becomes the device's octets", (qos) => {
    const { run, link } = subscribed(new Shouting());
    const turn = run.keep(link().delivers({ topicName: "set", payload: octets("{on}"), qos }));
    expect(text(turn.message("PUBLISH").data)).toBe("on");
  });

  test("what is no command goes as it is", () => {
    const { run, link } = subscribed(new Shouting());
    expect(text(run.keep(link().delivers({ topicName: "set", payload: octets("on") })).message("PUBLISH").data)).toBe(
      "on",
    );
  });

  test("one that does not fit is dropped and told, the broker is released, and the next goes on", () => {
    const { run, bench, link } = subscribed(new Shouting());
    const turn = run.keep(link().delivers({ topicName: "set", payload: octets("{bad}"), qos: 1, packetId: 50 }));
    expect(turn.sent).toEqual([]);
    expect(turn.drops).toEqual(["payload-unfit"]);
    expect(turn.effects).toContainEqual(expect.objectContaining({ kind: "ackBroker", ack: "puback", packetId: 50 }));
    expect(turn.events).toContainEqual(expect.objectContaining({ event: "payload_unfit", direction: "down" }));
    run.keep(link().delivers({ topicName: "set", payload: octets("{on}") })).gets("PUBLISH");
    expect(bench.core.counters.payloadsUnfit).toBe(1);
  });

  test("for a sleeper it is made when it is accepted, before the limits on its size", () => {
    const buffer = { ...testOptions.buffer };
    const small = { ...buffer.policyOf("c1", "set"), payloadBytesMax: 3 };
    const { run, bench, link } = begun(mode, new Shouting(), { buffer: { ...buffer, policyOf: () => small } });
    const asked = run.keep(
      bench.client({ type: "SUBSCRIBE", dup: false, qos: 1, topicIdType: "normal", msgId: 3, topic: "set" }),
    );
    run.keep(link().acks("suback", asked.effect("subscribe").packetId, 1)).gets("SUBACK");
    run.keep(bench.client(sleep(100))).gets("DISCONNECT");
    const turn = run.keep(link().delivers({ topicName: "set", payload: octets("{abc}"), qos: 1 }));
    expect(turn.drops).toEqual([]);
    run.keep(bench.input({ kind: "payloadsChanged", payloads: undefined }));
    const woken = run.keep(bench.client(wake()));
    expect(text(woken.message("PUBLISH").data)).toBe("abc");
    run.keep(bench.client(pubAck(woken.message("PUBLISH"))));
  });
});

describe.each(modes)("who and when, MQTT 5, %s", (mode) => {
  const upstream = {
    ...testOptions.upstream,
    mode,
    protocol: "5" as const,
    tellsSender: true,
    will: { ...testOptions.upstream.will, held: "gateway" as const },
  };
  const sender = [
    ["client", "c1"],
    ["transport", "udp"],
  ];

  test("a publication says who sent it, and that it is JSON if it is", () => {
    const { run, bench } = begun(mode, new Shouting(), { upstream });
    expect(published(run.keep(bench.client(publish({ qos: 1, msgId: 7, data: octets("warm") }))))).toMatchObject([
      { meta: { userProperties: sender, contentType: "application/json" } },
    ]);
    const [bad] = published(run.keep(bench.client(publish({ qos: 1, msgId: 8, data: octets("bad") }))));
    expect(bad?.meta).toEqual({ userProperties: sender });
  });

  test("how loud it was heard, where its network knows it; of a node behind a forwarder nobody does", () => {
    const loudness = (peer: string) => (peer.startsWith("udp/192.0.2.1:") ? -61 : undefined);
    const payloads = new Shouting();
    const bench = new Bench({ upstream, payloads }, [], undefined, loudness);
    if (mode === "aggregating") bench.link("gateway").up();
    const metaOf = (clientId: string, from: PeerId, wrap = (hex: string) => hex) => {
      bench.datagram(wrap(toHex(encode(connect({ clientId })))), from);
      if (mode === "transparent") bench.link(clientId).up();
      bench.datagram(wrap(toHex(encode(register("t")))), from);
      const [sent] = published(bench.datagram(wrap(toHex(encode(publish({ qos: 1, data: octets("bad") })))), from));
      return sent?.meta?.userProperties?.slice(2);
    };
    const behind = (hex: string) => `04fe0007${hex}`;
    expect(metaOf("near", "udp/192.0.2.1:7")).toEqual([["rssi", "-61"]]);
    expect(metaOf("far", "udp/192.0.2.2:7")).toEqual([]);
    expect(metaOf("node", "udp/192.0.2.1:8", behind)).toEqual([]);
    expect(payloads.origins.map((origin) => origin?.())).toEqual([
      { transport: "udp", rssi: -61 },
      { transport: "udp" },
      { transport: "udp" },
    ]);
  });

  test("without the option, and with MQTT 3.1.1, it says nothing", () => {
    for (const over of [{ tellsSender: false }, { protocol: "3.1.1" as const }]) {
      const { run, bench } = begun(mode, new Shouting(), { upstream: { ...upstream, ...over } });
      const [sent] = published(run.keep(bench.client(publish({ qos: 1, msgId: 7, data: octets("bad") }))));
      expect(sent && "meta" in sent).toBe(false);
    }
  });

  test("what waited for the broker says when it was accepted, also in the next run", () => {
    const accepted = Date.UTC(2026, 0, 2, 3, 4, 5);
    const { run, bench, link } = begun(mode, new Shouting(), { upstream });
    run.keep(link().down(false, { cause: "network" }));
    bench.after(6_000);
    bench.wallAhead = accepted - bench.now;
    run.keep(bench.client(publish({ qos: 1, msgId: 7, data: octets("bad") })));
    const next = run.next(accepted + 3_600_000);
    const { bench: later } = connectedIn(next, mode);
    const turn = later.after(1_000);
    const reading = turn.effects.find((effect) => effect.kind === "fetch");
    const entries = next.table.read("c1", 0, 100);
    const read = reading ? later.input({ kind: "fetched", clientId: "c1", entries }) : turn;
    const sent = [...published(read), ...published(later.after(1_000))];
    expect(sent.map(({ payload, meta }) => [payload, meta])).toEqual([
      ["bad", { userProperties: sender, originAt: accepted }],
    ]);
  });
});

describe("wills", () => {
  const say = (bench: GatewayRun["bench"], payload: string) => {
    bench.client(connect({ will: true, cleanSession: false }));
    bench.client({ type: "WILLTOPIC", qos: 1, retain: true, willTopic: "t" });
    return bench.client({ type: "WILLMSG", willMsg: octets(payload) });
  };

  test("the broker holds what was made, also of an update", () => {
    const { bench } = new GatewayRun({ payloads: new Shouting() });
    const { will } = say(bench, "gone").effect("openLink").link;
    expect(will).toMatchObject({ topicName: "t/json", payload: octets("GONE"), qos: 1, retain: true });
    bench.link().up();
    bench.client({ type: "WILLMSGUPD", willMsg: octets("new") }).gets("WILLMSGRESP");
    expect(published(bench.after(90_000))).toMatchObject([{ topicName: "t/json", payload: "NEW" }]);
  });

  test("one that was not updated is the broker's to publish, also while a declaration is there", () => {
    const { bench } = new GatewayRun({ payloads: new Shouting() });
    say(bench, "gone");
    bench.link().up();
    expect(bench.after(90_000).effect("closeLink").how).toBe("abandon");
  });

  test("one that does not fit is held as it is", () => {
    const { bench } = new GatewayRun({ payloads: new Shouting() });
    expect(say(bench, "bad").effect("openLink").link.will).toMatchObject({ topicName: "t", payload: octets("bad") });
  });

  test("over a shared connection the gateway publishes what was made", () => {
    const { bench, link } = begun("aggregating", new Shouting());
    say(bench, "gone");
    const turn = bench.after(90_000);
    expect(published(turn)).toMatchObject([{ topicName: "t/json", payload: "GONE" }]);
    link().acks("puback", turn.effect("publish").packetId);
  });
});
