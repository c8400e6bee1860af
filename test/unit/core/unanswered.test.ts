/** A client that is there, and does not answer one message: it costs neither the session nor the other messages. */
import { describe, expect, test } from "vitest";
import {
  Bench,
  connect,
  octets,
  ping,
  pubAck,
  regAck,
  sleep,
  subscribe,
  type Turn,
  wake,
} from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

const big = octets("B".repeat(300));

/** Two rounds without an answer, with a pause after each; meanwhile the client answers other messages. */
function twoRoundsWithOthers(bench: Bench): void {
  for (let copies = 0; copies < 2; copies++) {
    roundWithPings(bench);
    bench.client(
      pubAck(
        bench
          .link()
          .delivers({ payload: octets("x") })
          .message("PUBLISH"),
      ),
    );
    bench.after(40_000 * 2 ** copies);
  }
}

/** One round at T_retry 10 s and N_retry 3; the client pings meanwhile. */
function roundWithPings(bench: Bench): Turn {
  bench.after(39_000);
  bench.client(ping).gets("PINGRESP");
  return bench.after(1_000);
}

function subscribed(options: ConstructorParameters<typeof Bench>[0] = {}): Bench {
  return new Bench(options).connected({ cleanSession: false, duration: 600 }).subscribed("t", 2);
}

describe("a message that an active client never takes [i40] [6.13]", () => {
  test("stands aside after one round; the next one goes, and the client is not lost", () => {
    const bench = subscribed();
    const bad = bench.link().delivers({ payload: big }).message("PUBLISH");
    bench
      .link()
      .delivers({ payload: octets("small") })
      .gets();
    const turn = roundWithPings(bench).asks("ackBroker"); // in our custody, so that it does not fill the broker's window
    expect(turn.states).toEqual([]);
    const good = turn.message("PUBLISH");
    expect(good.data).toEqual(octets("small"));
    bench.client(pubAck(good)).asks("ackBroker");
    // After a pause of one round it is tried again, as what it was.
    bench.after(39_999).gets();
    expect(bench.after(1).message("PUBLISH")).toMatchObject({ msgId: bad.msgId, dup: true, data: big });
  });

  test("is a dead letter after three rounds between which others were answered", () => {
    const bench = subscribed();
    bench.link().delivers({ payload: big });
    twoRoundsWithOthers(bench);
    const end = roundWithPings(bench);
    expect(end.drops).toEqual(["unanswered"]);
    expect(end.events).toContainEqual(
      expect.objectContaining({ clientId: "c1", detail: expect.stringMatching(/^QoS 1 t: 300 octets/) }),
    );
    expect(bench.after(3_600_000).sent.filter(({ type }) => type === "PUBLISH")).toEqual([]);
  });

  test("is no dead letter while nothing else was answered: the way may be closed", () => {
    const bench = subscribed();
    bench.link().delivers({ payload: big });
    for (let i = 0; i < 40; i++) {
      bench.after(299_000);
      bench.client(ping);
      expect(bench.after(1_000).drops).toEqual([]);
    }
  });

  test("who says nothing at all after it is lost, as ever; at the next connections it does not come first for ever", () => {
    const bench = subscribed();
    bench.link().delivers({ payload: big });
    bench.after(39_000);
    expect(bench.after(1_000).states).toEqual(["lost"]);
    for (const expected of [big, octets("small")]) {
      bench.client(connect({ cleanSession: false, duration: 600 }));
      bench.link().up(true);
      if (expected === big) bench.link().delivers({ payload: octets("small") });
      else {
        const sent = bench.after(0);
        expect(sent.sent).toEqual([]);
      }
      bench.after(40_000);
    }
  });

  test("a client that only listens: the next one goes first, and its answer shows that the client is there", () => {
    const bench = subscribed();
    const bad = bench.link().delivers({ payload: big }).message("PUBLISH");
    bench
      .link()
      .delivers({ payload: octets("small") })
      .gets();
    bench.after(39_999);
    const turn = bench.after(1);
    expect(turn.states).toEqual([]);
    const good = turn.message("PUBLISH");
    expect(good.data).toEqual(octets("small"));
    bench.client(pubAck(good));
    bench.after(39_999).gets();
    expect(bench.after(1).message("PUBLISH")).toMatchObject({ msgId: bad.msgId, dup: true });
    // Nothing else waits. Its silence to this one is known, and says nothing about the client.
    expect(bench.after(40_000).states).toEqual([]);
    const fresh = bench
      .link()
      .delivers({ payload: octets("fresh") })
      .message("PUBLISH");
    bench.client(pubAck(fresh));
    bench.after(80_000);
    const end = bench.after(40_000);
    expect(end.drops).toEqual(["unanswered"]);
    expect(end.states).toEqual([]);
  });

  test("who does not answer the other one either is lost, and all of it keeps its order", () => {
    const bench = subscribed();
    for (const text of ["1", "2", "3"]) bench.link().delivers({ payload: octets(text) });
    expect(bench.after(40_000).states).toEqual([]);
    expect(bench.after(40_000).states).toEqual(["lost"]);
    bench.client(connect({ cleanSession: false, duration: 600 }));
    const heard: string[] = [];
    let turn = bench.client(regAck(bench.link().up(true).message("REGISTER")));
    while (heard.length < 2) {
      const sent = turn.message("PUBLISH");
      heard.push(new TextDecoder().decode(sent.data));
      turn = bench.client(pubAck(sent));
    }
    expect(heard).toEqual(["1", "2"]);
  });

  test("what is left unanswered in silence for the second time is ours: it does not fill the broker's window", () => {
    const bench = new Bench().connected({ cleanSession: false, duration: 600 }).subscribed("+", 2);
    bench.link().delivers({ topicName: "tt", payload: big, packetId: 7 });
    bench.after(39_000);
    expect(bench.after(1_000).asks("closeLink").states).toEqual(["lost"]);
    bench.client(connect({ cleanSession: false, duration: 600 }));
    bench.link().up(true).gets("CONNACK", "PUBLISH");
    bench.link().delivers({ topicName: "tt", payload: big, packetId: 7, dup: true });
    bench.after(39_000);
    const end = bench.after(1_000);
    expect(end.states).toEqual(["lost"]);
    expect(end.effect("ackBroker")).toMatchObject({ packetId: 7 });
  });

  test("however long it has waited, at a CONNECT the others go first", () => {
    const bench = subscribed();
    bench.link().delivers({ payload: big });
    roundWithPings(bench);
    bench.client(sleep(3_600));
    bench.after(600_000);
    bench.link().delivers({ payload: octets("small") });
    const turn = bench.client(connect({ cleanSession: false, duration: 600 }));
    expect(turn.message("PUBLISH").data).toEqual(octets("small"));
  });

  test("however many there are: each costs one round, and then what is good goes", () => {
    const bench = subscribed();
    for (let i = 0; i < 5; i++) bench.link().delivers({ payload: big });
    bench.link().delivers({ payload: octets("small") });
    for (let i = 0; i < 4; i++) roundWithPings(bench);
    const good = roundWithPings(bench).message("PUBLISH");
    expect(good.data).toEqual(octets("small"));
    // With nothing else waiting, they are tried again; what comes waits for one round of one of them.
    expect(bench.client(pubAck(good)).message("PUBLISH").data).toEqual(big);
    bench
      .link()
      .delivers({ payload: octets("later") })
      .gets();
    expect(roundWithPings(bench).message("PUBLISH").data).toEqual(octets("later"));
  });

  test("an acknowledgement that comes while it stands aside and another is in flight counts", () => {
    const bench = subscribed();
    const slow = bench.link().delivers({ payload: big, packetId: 7 }).message("PUBLISH");
    bench.link().delivers({ payload: octets("small"), packetId: 8 });
    const other = roundWithPings(bench).message("PUBLISH");
    bench.client(pubAck(slow)).gets();
    expect(bench.client(pubAck(other)).effect("ackBroker")).toMatchObject({ packetId: 8 });
    bench.after(300_000).gets();
  });

  const isQuick = process.env["QUICK"] !== undefined; // each MsgId once takes seconds
  test.skipIf(isQuick)(
    "QoS 2 keeps its MsgId, which means nothing else meanwhile; a late PUBREC goes on from there",
    () => {
      const bench = subscribed();
      const slow = bench.link().delivers({ payload: big, qos: 2 }).message("PUBLISH");
      const used = new Set<number>();
      roundWithPings(bench);
      for (let i = 0; i < 33_000; i++) {
        const sent = bench.link().delivers({ packetId: 9 }).message("PUBLISH");
        used.add(sent.msgId);
        bench.client(pubAck(sent));
      }
      expect(used.has(slow.msgId)).toBe(false);
      expect(used.has(0)).toBe(false);
      expect(Math.max(...used)).toBeLessThan(0x8000);
      bench.client({ type: "PUBREC", msgId: slow.msgId }).gets("PUBREL");
      bench.client({ type: "PUBCOMP", msgId: slow.msgId }).gets();
      bench.after(300_000).gets();
    },
  );

  test("a client that never says PUBCOMP has the message: no dead letter, and others go", () => {
    const bench = subscribed();
    const sent = bench.link().delivers({ qos: 2 }).message("PUBLISH");
    bench.client({ type: "PUBREC", msgId: sent.msgId }).gets("PUBREL");
    bench
      .link()
      .delivers({ payload: octets("next") })
      .gets();
    expect(roundWithPings(bench).message("PUBLISH").data).toEqual(octets("next"));
  });

  test("it stands aside in the next run too, and is one PUBLISH with one MsgId there", () => {
    const run = new GatewayRun();
    run.keep(run.bench.client(connect({ cleanSession: false, duration: 600 })));
    run.keep(run.bench.link().up());
    const { packetId } = run.keep(run.bench.client(subscribe("t", 1))).effect("subscribe");
    run.keep(run.bench.link().acks("suback", packetId, 1));
    const bad = run.keep(run.bench.link().delivers({ payload: big })).message("PUBLISH");
    run.keep(run.bench.after(39_000));
    run.keep(run.bench.client(ping));
    run.keep(run.bench.after(1_000));
    const { bench } = run.next();
    bench.link().up(true);
    expect(
      bench
        .link()
        .delivers({ payload: octets("small") })
        .message("REGISTER").topicName,
    ).toBe("t");
    const small = bench.client(regAck(bench.after(10_000).message("REGISTER"))).message("PUBLISH");
    expect(small.data).toEqual(octets("small"));
    bench.client(pubAck(small));
    expect(bench.after(30_000).message("PUBLISH")).toMatchObject({ msgId: bad.msgId, dup: true, data: big });
  });
});

describe("a REGISTER that an active client never answers [i40] [6.13]", () => {
  test("holds up its own name alone", () => {
    const bench = subscribed().subscribed("w/#", 1);
    bench.link().delivers({ topicName: "w/new" }).gets("REGISTER");
    bench.link().delivers({ topicName: "w/new", payload: octets("2") });
    bench.link().delivers({ payload: octets("known") });
    const turn = roundWithPings(bench);
    expect(turn.states).toEqual([]);
    expect(turn.message("PUBLISH").data).toEqual(octets("known"));
  });

  test("is given up like a message, with all that waits under its name", () => {
    const bench = subscribed().subscribed("w/#", 1);
    bench.link().delivers({ topicName: "w/new" });
    bench.link().delivers({ topicName: "w/new", payload: octets("2") });
    twoRoundsWithOthers(bench);
    expect(roundWithPings(bench).drops).toEqual(["unanswered", "unanswered"]);
    expect(bench.link().delivers({ topicName: "w/new" }).gets().drops).toEqual(["unanswered"]);
    // The client registers it by itself: from now on it goes.
    bench.registered("w/new");
    bench.link().delivers({ topicName: "w/new" }).gets("PUBLISH");
  });

  test("where a SUBACK has told the id in an earlier run, the id is used all the same", () => {
    const run = new GatewayRun();
    run.keep(run.bench.client(connect({ cleanSession: false, duration: 600 })));
    run.keep(run.bench.link().up());
    const { packetId } = run.keep(run.bench.client(subscribe("t", 1))).effect("subscribe");
    const { topicId } = run.keep(run.bench.link().acks("suback", packetId, 1)).message("SUBACK");
    const { bench } = run.next();
    bench.link().up(true);
    bench.link().delivers({}).gets("REGISTER");
    expect(roundWithPings(bench).message("PUBLISH")).toMatchObject({ topicId, dup: false });
  });

  test("where a SUBACK has told the id, one round is enough for all connections: then a single copy goes", () => {
    const bench = subscribed();
    const comeBack = () => {
      bench.client(connect({ cleanSession: false, duration: 600 }));
      return bench.link().up(true);
    };
    comeBack();
    bench.link().delivers({ packetId: 1 }).gets("REGISTER");
    bench.after(39_000);
    expect(bench.after(1_000).states).toEqual(["lost"]);
    comeBack().gets("CONNACK", "REGISTER");
    bench.link().delivers({ packetId: 1, dup: true }).gets();
    bench.client(pubAck(bench.after(10_000).message("PUBLISH"))).asks("ackBroker");
    for (const packetId of [2, 3]) {
      comeBack();
      bench.link().delivers({ packetId }).gets("REGISTER");
      bench.client(pubAck(bench.after(10_000).message("PUBLISH"))).asks("ackBroker");
    }
    // It answers one after all: from then on it is asked as often as any.
    comeBack();
    const register = bench.link().delivers({ packetId: 4 }).message("REGISTER");
    bench.client(pubAck(bench.client(regAck(register)).message("PUBLISH")));
    comeBack();
    bench.link().delivers({ packetId: 5 }).gets("REGISTER");
    bench.after(10_000).gets("REGISTER");
  });

  test("one that does not know the id after all is asked again as often as any", () => {
    const bench = subscribed();
    bench.client(connect({ cleanSession: false, duration: 600 }));
    bench.link().up(true);
    bench.link().delivers({}).gets("REGISTER");
    const sent = roundWithPings(bench).message("PUBLISH");
    bench.client(pubAck(sent, 2)).gets("REGISTER");
    for (let i = 0; i < 3; i++) bench.after(10_000).gets("REGISTER");
  });
});

describe("a message that a sleeper never takes [i40] [6.13]", () => {
  test("it asks again and again, and does not answer: the others go, and PINGRESP", () => {
    const bench = subscribed();
    bench.client(sleep(600));
    bench.link().delivers({ payload: big });
    bench.link().delivers({ payload: octets("small") });
    bench.client(wake()).gets("PUBLISH");
    bench.after(6_000);
    bench.client(wake()).gets("PUBLISH");
    bench.after(6_000);
    const good = bench.client(wake()).message("PUBLISH");
    expect(good.data).toEqual(octets("small"));
    bench.client(pubAck(good)).gets("PINGRESP");
    // In the next wake-up what is new comes first.
    bench.link().delivers({ payload: octets("later") });
    const later = bench.client(wake()).message("PUBLISH");
    expect(later.data).toEqual(octets("later"));
    expect(bench.client(pubAck(later)).message("PUBLISH").data).toEqual(big);
  });

  describe("fresh ones come for each wake-up", () => {
    /** Two wake-ups of two, so that the first of them stands aside; from then on `count` fresh messages come for each. */
    function asideOfSleeper(perWake: number): Bench {
      const bench = subscribed({ buffer: { perWakeMaxOf: () => perWake } });
      bench.client(sleep(60_000));
      bench.link().delivers({ payload: big });
      bench.link().delivers({ payload: octets("small") });
      bench.client(wake()).gets("PUBLISH");
      bench.after(6_000);
      bench.client(wake()).gets("PUBLISH");
      bench.after(6_000);
      const turn = bench.client(wake());
      if (perWake > 1) bench.client(pubAck(turn.message("PUBLISH"))).gets("PINGRESP");
      return bench;
    }

    /** One wake-up with so many fresh messages; answers what was sent, the big one is not answered. */
    function wakeUp(bench: Bench, fresh: number, goesOn: boolean): { sizes: number[]; drops: string[] } {
      for (let i = 0; i < fresh; i++) bench.link().delivers({ payload: octets("x") });
      const sizes: number[] = [];
      const drops: string[] = [];
      let turn = bench.client(wake());
      for (let asked = 0; asked < 10; asked++) {
        drops.push(...turn.drops);
        const sent = turn.sent.find((message) => message.type === "PUBLISH");
        if (sent?.type !== "PUBLISH") return { sizes, drops };
        sizes.push(sent.data.length);
        if (sent.data.length < 100) {
          if (!goesOn) bench.client(sleep(60_000));
          turn = bench.client(pubAck(sent));
        } else {
          drops.push(...bench.after(6_000).drops);
          turn = bench.client(wake());
        }
      }
      return { sizes, drops };
    }

    test.each([1, 2, 3])("and a wake-up takes %i: it has its turn all the same, and comes to an end", (perWake) => {
      const bench = asideOfSleeper(perWake);
      const all = Array.from({ length: 30 }, () => wakeUp(bench, perWake, true));
      const turns = all.filter(({ sizes }) => sizes.some((size) => size > 100)).length;
      expect(turns).toBeGreaterThanOrEqual(4);
      expect(all.flatMap(({ drops }) => drops)).toEqual(["unanswered"]);
      // The fresh ones wait for one place in two wake-ups at most.
      expect(all.flatMap(({ sizes }) => sizes.filter((size) => size < 100)).length).toBeGreaterThanOrEqual(
        15 * perWake,
      );
    });

    test("and the client sleeps on before PINGRESP: after some of them it comes first", () => {
      const bench = asideOfSleeper(100);
      const all = Array.from({ length: 40 }, () => wakeUp(bench, 2, false));
      expect(all.flatMap(({ drops }) => drops)).toEqual(["unanswered"]);
    });
  });

  test("it waits in silence: after one round one other message is tried", () => {
    const bench = subscribed();
    bench.client(sleep(600));
    bench.link().delivers({ payload: big });
    bench.link().delivers({ payload: octets("small") });
    bench.client(wake());
    const good = bench.after(40_000).sent.filter(({ type }) => type === "PUBLISH");
    expect(good.at(-1)).toMatchObject({ data: octets("small") });
  });

  test("it is away in the middle of a wake-up: all of it keeps its order", () => {
    const bench = subscribed();
    bench.client(sleep(600));
    for (const text of ["1", "2", "3"]) bench.link().delivers({ payload: octets(text) });
    bench.client(wake());
    expect(bench.after(80_000).states).toEqual(["asleep"]);
    const heard: string[] = [];
    for (let turn = bench.client(wake()); heard.length < 3; ) {
      const sent = turn.message("PUBLISH");
      heard.push(new TextDecoder().decode(sent.data));
      turn = bench.client(pubAck(sent));
    }
    expect(heard).toEqual(["1", "2", "3"]);
  });

  test("is a dead letter after some wake-ups in which others were answered, and never before twelve copies", () => {
    const bench = subscribed();
    bench.client(sleep(600));
    bench.link().delivers({ payload: big });
    let copies = 0;
    let given = false;
    for (let i = 0; i < 12 && !given; i++) {
      bench.link().delivers({ payload: octets("x") });
      let turn = bench.client(wake());
      for (let asked = 0; asked < 5; asked++) {
        for (const message of turn.sent) {
          if (message.type !== "PUBLISH") continue;
          if (message.data.length < 100) turn = bench.client(pubAck(message));
        }
        copies += turn.sent.filter((m) => m.type === "PUBLISH" && m.data.length > 100).length;
        given ||= turn.drops.includes("unanswered");
        if (turn.sent.some(({ type }) => type === "PINGRESP")) break;
        copies += bench.after(6_000).sent.length;
        turn = bench.client(wake());
      }
    }
    expect(given).toBe(true);
    expect(copies).toBeGreaterThanOrEqual(12);
    expect(copies).toBeLessThan(20);
  });
});
