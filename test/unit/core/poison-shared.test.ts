/** A packet for which the broker closes a shared connection: the other clients continue. */
import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import { connect, here, octets, publish, subscribe } from "../../helpers/bench.ts";
import { bad, isBadKind, isForbidden, isRetained, say, shared, storing } from "../../helpers/poison-broker.ts";
import { testOptions } from "../../simulation/options.ts";

describe("over a shared connection", () => {
  test("a request does not overtake one for its filter that a search had held, which has come to nothing", () => {
    const broker = shared(isForbidden);
    broker.take(broker.bench.client(subscribe("a/#")));
    broker.take(broker.bench.client(subscribe("no/#", 1, 2)));
    broker.after(1); // the second end: it is a suspect
    broker.isMute = true;
    broker.after(2);
    const unsubscribe = (filter: string, msgId: number) =>
      broker.take(broker.bench.client({ ...subscribe(filter, 1, msgId), type: "UNSUBSCRIBE" } as never));
    broker.asked.length = 0;
    unsubscribe("a/#", 3);
    expect(broker.asked).toEqual([]); // nothing before the sign of life
    unsubscribe("no/#", 4);
    broker.take(broker.bench.client(subscribe("a/#", 1, 5)));
    expect(broker.asked.filter((each) => each.endsWith(" a/#"))).toEqual(["unsubscribe a/#", "subscribe a/#"]);
  });

  test("the others get through, and hear of it nothing but a pause", () => {
    const broker = shared();
    say(broker, bad, 1);
    let asked = 0;
    for (let i = 0; i < 30; i++) {
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      asked++;
      broker.after(1);
    }
    broker.after(5);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(asked);
    expect(broker.answers("PUBACK").filter((code) => code === 3)).toHaveLength(1);
    expect(broker.ends).toBeLessThanOrEqual(6);
  });

  test("a will for which the broker closed is not tried again each time that its device is lost", () => {
    const broker = shared();
    const { run, bench } = broker;
    const peer = "udp/192.0.2.3:3" as PeerId;
    for (let i = 0; i < 5; i++) {
      run.keep(bench.client(connect({ clientId: "w", will: true, duration: 60 }), peer));
      run.keep(bench.client({ type: "WILLTOPIC", willTopic: "w", qos: 1, retain: false }, peer));
      run.keep(bench.client({ type: "WILLMSG", willMsg: octets(bad) }, peer)).gets("CONNACK");
      for (let tick = 0; tick < 60; tick++) {
        broker.after(5);
        broker.take(bench.client(publish({ data: octets(`d ${i} ${tick}`), msgId: 1 + tick }), "udp/192.0.2.2:2"));
      }
    }
    expect(broker.events.filter(({ event }) => event === "packet_taken_out")).toHaveLength(1);
    expect(broker.ends).toBeLessThanOrEqual(8);
    expect(bench.core.counters.dropped["refused-by-broker"]).toBe(5);
    expect([...run.table.letters.values()]).toHaveLength(5);
  });

  test("where each client has a poison in front it is no sick broker: all are found, and what is good flows", () => {
    const broker = shared();
    const { run, bench } = broker;
    const peers = ["c1", "d", "e", "f", "g"].map(
      (clientId, i) => [clientId, `udp/192.0.2.${1 + i}:${1_000 + i}`] as const,
    );
    for (const [clientId, peer] of peers) {
      run.keep(bench.client(connect({ clientId, cleanSession: false, duration: 0 }), peer as PeerId));
      run.keep(bench.client({ type: "REGISTER", topicId: 0, msgId: 9, topicName: clientId }, peer as PeerId));
    }
    let said = 0;
    for (let i = 0; i < 120; i++) {
      for (const [clientId, peer] of peers) {
        const text = i === 0 ? bad : `${clientId} ${i}`;
        broker.take(bench.client(publish({ data: octets(text), msgId: 1 + i }), peer as PeerId));
        if (i > 0) said++;
      }
      broker.after(2);
    }
    const refused = broker.events.filter(({ event }) => event === "packet_taken_out");
    expect(refused).toHaveLength(peers.length);
    // A client whose window is full behind its refused packet gets "congestion"; nothing else is missing.
    const putOff = broker.answers("PUBACK").filter((code) => code === 1).length;
    expect(putOff).toBeLessThan(said / 20);
    expect(broker.got.length).toBe(said - putOff);
  });

  test.each([
    ["alone", false, () => bad],
    ["among others that publish every second", true, () => bad],
    ["among others, with another content each time", true, (i: number) => `${bad} ${i}`],
  ])(
    "a device that says it every ten seconds for an hour, %s, ends at most fifteen connections",
    (_how, hasOthers, text) => {
      const broker = shared(isBadKind);
      let said = 0;
      for (let i = 0; i < 360; i++) {
        say(broker, text(i), 1 + i);
        for (let second = 0; second < 10; second++) {
          if (hasOthers) {
            said++;
            broker.take(broker.bench.client(publish({ data: octets(`d${said}`), msgId: said }), "udp/192.0.2.2:2"));
          }
          broker.after(1);
        }
        broker.take(broker.bench.client({ type: "PINGREQ", clientId: "" }));
      }
      expect(broker.ends).toBeLessThanOrEqual(15);
      expect(broker.got).toHaveLength(said);
    },
  );

  test.each([1, 2] as const)(
    "several of one kind at QoS %i that wait for their answers: when it is learnt, the others are refused and end nothing more",
    (qos) => {
      const broker = shared(isBadKind);
      for (let i = 0; i < 8; i++) say(broker, `${bad} ${i}`, 1 + i, qos);
      for (let i = 0; i < 60; i++) {
        broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
        broker.after(1);
      }
      expect(broker.answers("PUBACK").filter((code) => code === 3)).toHaveLength(8);
      expect(broker.ends).toBeLessThanOrEqual(16);
      expect(broker.got).toHaveLength(60);
    },
  );

  test("a filter that was granted and is refused later is kept, shown and not asked for", () => {
    const broker = shared(isForbidden);
    const { bench } = broker;
    broker.up = false;
    broker.take(bench.link("gateway").down(false, { cause: "network" }));
    broker.take(bench.client(subscribe("no/#"), here));
    expect(broker.answers("SUBACK")).toEqual([0]);
    for (let i = 0; i < 30; i++) {
      broker.after(1);
      broker.take(bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
    }
    const { ends } = broker.after(10);
    expect(ends).toBeLessThanOrEqual(6);
    expect(bench.core.session("c1")?.record.subscriptions).toMatchObject([{ filter: "no/#", isRefused: true }]);
    expect(broker.after(100).ends).toBe(ends);
  });

  test.each([0, 1] as const)(
    "twenty at QoS %i that had been accepted end few connections each, and others that wait on disk get through between",
    (qos) => {
      const qos0 = { ...storing, qos0: true };
      const broker = shared(isBadKind, { uplink: { ...testOptions.uplink, policyOf: () => qos0 } });
      const { bench } = broker;
      broker.up = false;
      broker.take(bench.link("gateway").down(false, { cause: "network" }));
      for (let i = 0; i < 20; i++) say(broker, `${bad} ${i}`, qos === 0 ? 0 : 1 + i, qos);
      say(broker, "good", 30);
      for (let i = 0; i < 600; i++) {
        broker.take(bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
        broker.after(1);
      }
      expect(broker.ends).toBeLessThanOrEqual(4 * 20);
      expect(broker.run.table.letters.size).toBe(qos * 20);
      expect(broker.got).toHaveLength(601);
    },
  );

  test("at QoS -1 too, from whomever: a stranger ends it a few times, and then no more", () => {
    const broker = shared();
    for (let i = 0; i < 360; i++) {
      broker.take(
        broker.bench.client(
          publish({ data: octets(bad), qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0 }),
          "udp/192.0.2.3:3",
        ),
      );
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(10);
    }
    expect(broker.ends).toBeLessThanOrEqual(15);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(360);
  });

  test("the gateway's own status messages, where the broker closes for what is retained: a few times, and then no more", () => {
    const broker = shared(isRetained, { status: { topic: "site" } });
    const peer = "udp/192.0.2.3:3";
    for (let i = 0; i < 180; i++) {
      broker.take(broker.bench.client(connect({ clientId: "e", cleanSession: false, duration: 0 }), peer));
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(10);
      broker.take(broker.bench.client({ type: "DISCONNECT", duration: undefined }, peer));
      broker.after(10);
    }
    expect(broker.ends).toBeLessThanOrEqual(15);
    expect(broker.got.filter((text) => text.startsWith("d"))).toHaveLength(180);
  });

  test("a publication at QoS 0 that closes it is found by its kind, and refused from then on", () => {
    const broker = shared();
    for (let i = 0; i < 60; i++) {
      say(broker, bad, 0, 0);
      broker.take(broker.bench.client(publish({ data: octets(`d${i}`), msgId: 1 + i }), "udp/192.0.2.2:2"));
      broker.after(2);
    }
    const { ends } = broker;
    expect(ends).toBeLessThanOrEqual(12);
    for (let i = 0; i < 20; i++) {
      say(broker, bad, 0, 0);
      broker.after(2);
    }
    expect(broker.ends).toBe(ends);
  });

  test("while a packet of another client is looked for, QoS 2 stays on disk behind the QoS 1 ahead of it", () => {
    const broker = shared();
    const { bench, run } = broker;
    const other = "udp/192.0.2.2:2";
    broker.take(bench.client(publish({ data: octets(bad), msgId: 1 }), other));
    while (broker.ends < 2) broker.after(1);
    broker.up = false;
    broker.take(bench.link("gateway").down(false, { cause: "network" }));
    broker.unanswered.add("one");
    say(broker, "one", 1, 1);
    say(broker, "two", 2, 2);
    broker.after(5);
    expect(broker.got).toContain("one");
    expect(run.table.read("c1", 0, 9).map(([, { publication }]) => publication.qos)).toEqual([1, 2]);
    expect(run.table.state("c1")?.uplink).toEqual([]);
  });
});
