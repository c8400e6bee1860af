/** The rule by which a packet is blamed for the end of a connection, line by line. */

import { describe, expect, test } from "vitest";
import type { EndOfConnection } from "../../../src/core/state/search-choice.ts";
import { searchFigures } from "../../../src/core/state/search-figures.ts";
import { byPeer, cut, named, SuspectsBench } from "../../helpers/suspects-bench.ts";

describe("1: suspects", () => {
  test("one end changes nothing; what was outside at two is suspect", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1");
    expect(bench.upAndSend()).toBe("flow a1 b1");
    bench.answer("b1");
    bench.down();
    expect(bench.names()).toEqual([]);
    bench.add("b2");
    expect(bench.upAndSend()).toBe("flow a1 b2");
    bench.down();
    expect(bench.names()).toEqual(["a1"]);
  });

  test("an end that the broker did not make blames nobody", () => {
    const bench = new SuspectsBench();
    bench.add("a1");
    for (let i = 0; i < 5; i++) {
      expect(bench.upAndSend()).toBe("flow a1");
      bench.down(cut);
    }
    expect(bench.suspects.remembers).toBe(false);
  });

  test("not more than a thousand: the youngest are none", () => {
    const bench = new SuspectsBench();
    bench.add(...Array.from({ length: 1_100 }, (_, i) => `a${i}`));
    bench.suspectAll();
    expect(bench.names()).toHaveLength(1_000);
    expect(bench.names()).not.toContain("a1000");
  });
});

describe("2: with suspects", () => {
  test("PINGREQ goes first, and nothing before its answer", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1");
    bench.suspectAll();
    bench.up();
    expect(bench.choose()).toEqual({ kind: "ping" });
    expect(bench.choose()).toMatchObject({ kind: "hold" });
    bench.suspects.showsLife();
    expect(bench.choose().kind).toBe("test");
  });

  test("others flow, each client behind its own oldest suspect, and the first test comes at once", () => {
    const bench = new SuspectsBench();
    bench.add("a1");
    bench.suspectAll();
    bench.add("a2", "b1");
    expect(bench.upAndSend()).toBe("test a1");
    expect(bench.send()).toBe("hold");
    bench.answer("a1");
    expect(bench.send()).toBe("flow a2 b1");
  });

  test("a test waits until nothing is outside", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1");
    bench.upAndSend();
    bench.answer("b1");
    bench.down();
    bench.add("b2");
    bench.upAndSend();
    bench.answer("b2");
    bench.down();
    bench.add("b3");
    bench.up();
    bench.suspects.showsLife();
    bench.outside.push({ name: "b3", client: "b", suspicion: undefined });
    expect(bench.choose().kind).toBe("hold");
  });

  test("the oldest alone, then half of those that have not died, later behind each new connection", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1", "c1", "d1");
    bench.suspectAll();
    expect(bench.upAndSend()).toBe("test a1");
    bench.down();
    bench.add("e1", "e2");
    expect(bench.upAndSend(100)).toBe("flow e1 e2"); // the next test comes after a second
    bench.now += 800;
    bench.down(cut);
    bench.lines.delete("e");
    expect(bench.upAndSend(0)).toBe("test b1 c1");
  });

  test("a group that died is halved on, whoever has become a suspect since", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1", "c1", "d1");
    bench.suspectAll();
    expect(bench.upAndSend()).toBe("test a1");
    bench.answer("a1");
    bench.now += 200;
    expect(bench.send()).toBe("test b1");
    bench.answer("b1");
    bench.add("e1", "f1", "g1");
    bench.now += 200;
    expect(bench.send()).toBe("test c1");
    bench.down();
    for (let i = 0; i < 2; i++) {
      bench.upAndSend(0); // they flow, before it is time for a test
      bench.down();
    }
    bench.up(0);
    expect(bench.send()).toBe("test e1 f1"); // those that flowed died together; d1 did not
    bench.down();
    expect(bench.upAndSend(0)).toBe("flow d1 g1");
    bench.answer("d1");
    bench.add("h1", "i1");
    expect(bench.send()).toBe("flow h1 i1");
    bench.answer("g1", "h1", "i1");
    bench.now += 10_000;
    expect(bench.send()).toBe("test c1");
    bench.answer("c1");
    bench.now += 1_000;
    expect(bench.send()).toBe("test e1");
  });

  test("a group that passes is cleared, one that dies clears the rest", () => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1", "c1", "d1", "e1");
    bench.suspectAll();
    bench.upAndSend();
    bench.answer("a1");
    expect(bench.names()).toEqual(["b1", "c1", "d1", "e1"]);
    bench.now += 200;
    expect(bench.send()).toBe("test b1");
    bench.down(); // b1 died
    expect(bench.upAndSend()).toBe("test c1 d1");
    bench.down();
    expect(bench.names()).toEqual(["b1", "c1", "d1"]);
    expect(bench.suspects.find("e1")?.isSuspect).toBe(false);
  });
});

test("3: after a death it waits for a witness, as far into a connection as it came; epochs are deaths with one", () => {
  const bench = new SuspectsBench();
  bench.add("a1");
  bench.suspectAll();
  bench.add("b1", "b2", "b3");
  bench.up();
  bench.suspects.showsLife();
  expect(bench.send()).toBe("test a1");
  bench.down();
  const suspicion = bench.suspects.find("a1");
  expect(suspicion).toMatchObject({ deaths: 1, epochs: 1, ordinal: 1, witnessed: false });
  expect(bench.upAndSend(5_000)).toBe("flow b1 b2 b3");
  bench.now += 10_000;
  bench.answer("b1");
  expect(suspicion?.witnessed).toBe(true);
  bench.answer("b2", "b3");
  expect(bench.send()).toBe("test a1"); // the fourth of this connection
  bench.down();
  expect(suspicion).toMatchObject({ deaths: 2, epochs: 2, ordinal: 4, witnessed: false });
  bench.add("b4", "b5", "b6", "b7");
  bench.upAndSend(5_000);
  bench.answer("b4", "b5", "b6");
  expect(suspicion?.witnessed).toBe(false);
  bench.answer("b7");
  expect(suspicion?.witnessed).toBe(true);
});

test("4: where nobody else has anything to send, the client's next are tried, after two deaths without a witness", () => {
  const bench = new SuspectsBench();
  bench.add("a1");
  bench.suspectAll();
  bench.add("a2", "a3");
  const tests: string[] = [];
  for (let i = 0; i < 3; i++) {
    bench.up(5_000);
    tests.push(bench.send());
    if (i < 2) bench.down();
  }
  expect(tests).toEqual(["test a1", "test a1", "test a2"]);
  bench.answer("a2");
  expect(bench.suspects.find("a1")?.witnessed).toBe(true);
});

describe("5: taken out", () => {
  const taken = (end: EndOfConnection, cleanSeconds = 10_000) => {
    const bench = new SuspectsBench(cleanSeconds);
    bench.add("a1");
    bench.suspectAll();
    for (let deaths = 1; deaths < 20; deaths++) {
      bench.up(70_000);
      bench.send();
      bench.down(end);
      if (bench.end.takenOut !== undefined) return deaths;
      bench.add(`b${deaths}`);
      bench.upAndSend();
      bench.answer(`b${deaths}`);
      bench.down(cut);
    }
    return Number.POSITIVE_INFINITY;
  };

  test("after three deaths with a witness between them, after two where the broker named a reason", () => {
    expect(taken(byPeer)).toBe(3);
    expect(taken(named)).toBe(2);
  });

  test("later where chance is not excluded: on a line that ends often", () => {
    const bench = new SuspectsBench(100);
    for (let i = 0; i < 50; i++) {
      bench.up(0);
      bench.down(byPeer, 2_000);
    }
    bench.add("a1");
    bench.suspectAll();
    let deaths = 0;
    while (bench.end.takenOut === undefined && deaths < 20) {
      bench.up(2_000);
      bench.send();
      bench.down(byPeer, 500);
      deaths++;
      bench.add(`b${deaths}`);
      bench.upAndSend();
      bench.answer(`b${deaths}`);
      bench.down(cut);
    }
    expect(deaths).toBeGreaterThan(5);
  });
});

test("6: without any witness six deaths over two minutes, and never a second before something was answered", () => {
  const bench = new SuspectsBench();
  const deathsOf = (name: string, limit: number) => {
    bench.add(name);
    bench.suspectAll();
    const first = bench.now;
    for (let deaths = 1; deaths <= limit; deaths++) {
      bench.up(60_000);
      bench.send();
      bench.down();
      if (bench.end.takenOut === name) return { deaths, seconds: (bench.now - first) / 1_000 };
    }
    return undefined;
  };
  const out = deathsOf("a1", 30);
  expect(out?.deaths).toBeGreaterThanOrEqual(6);
  expect(out?.seconds).toBeGreaterThanOrEqual(120);
  expect(deathsOf("a2", 30)).toBeUndefined();
});

test("6: while the broker ends others' connections and answers nobody, a death without a witness counts only after ten minutes", () => {
  const bench = new SuspectsBench();
  const doubtful = { ...byPeer, isDoubtful: true };
  bench.add("a1");
  bench.suspectAll();
  const first = bench.now;
  for (let deaths = 1; deaths < 30 && bench.end.takenOut === undefined; deaths++) {
    bench.up(60_000);
    bench.send();
    bench.down(deaths === 6 ? byPeer : doubtful); // also where one of them was by chance
  }
  expect(bench.end.takenOut).toBe("a1");
  expect(bench.now - first).toBeGreaterThanOrEqual(searchFigures.unwitnessedInDoubtSpanMs);
});

describe("6: another is answered before it on each connection, and nobody comes as far as it", () => {
  /** A client alone on its connection, which requests its filter again on each connection. */
  const deathsOf = (isClosedBy: (name: string, ordinal: number) => boolean) => {
    const bench = new SuspectsBench();
    bench.add("a1");
    bench.suspectAll();
    for (let deaths = 0; deaths < 12; deaths++) {
      bench.up(1_000);
      bench.add(`b${deaths}`);
      for (let ordinal = 1; ordinal <= 3; ordinal++) {
        let sent = bench.send();
        if (!/^(test|flow) /.test(sent)) {
          bench.now += 200_000;
          sent = bench.send();
        }
        const [, ...names] = sent.split(" ");
        if (names.length === 0 || names.some((name) => isClosedBy(name, ordinal))) break;
        bench.answer(...names);
        if (names.includes("a1")) return "answered";
      }
      bench.down();
      if (bench.end.takenOut !== undefined) return deaths + 1;
    }
    return "never";
  };

  test("it is tried as the first itself: the others are its witnesses then, and it is taken out", () => {
    expect(deathsOf((name) => name === "a1")).toBeLessThanOrEqual(8);
  });

  test("a broker that closes after every second packet answers it as the first", () => {
    expect(deathsOf((_name, ordinal) => ordinal === 2)).toBe("answered");
  });
});

test("8: an answer clears it, whatever it had", () => {
  const bench = new SuspectsBench();
  bench.add("a1");
  bench.suspectAll();
  for (let i = 0; i < 2; i++) {
    bench.upAndSend(10_000);
    bench.down();
  }
  expect(bench.suspects.takeChanged()).toHaveLength(1);
  bench.upAndSend(20_000);
  bench.answer("a1");
  expect(bench.suspects.remembers).toBe(false);
  expect(bench.suspects.takeChanged()).toMatchObject([{ key: "a1", deaths: 0 }]);
});

test("a suspect of an earlier run is tested alone before it meets others", () => {
  const bench = new SuspectsBench();
  bench.suspects.suspect({ key: "a1", client: "a", deaths: 2, epochs: 2, ordinal: 1 });
  bench.add("b1", "a1");
  expect(bench.upAndSend()).toBe("flow b1"); // its witness
  bench.answer("b1");
  bench.now += 8_000;
  expect(bench.send()).toBe("test a1");
  bench.down();
  expect(bench.end.takenOut).toBe("a1");
});

test("a suspect of an earlier run that comes in again as one of a known kind keeps its deaths", () => {
  const bench = new SuspectsBench();
  bench.suspects.suspect({ key: "a1", client: "a", deaths: 2, epochs: 2, ordinal: 1 });
  bench.suspects.suspect({ key: "a1", client: "a", ofKnownKind: true });
  expect(bench.suspects.find("a1")).toMatchObject({ deaths: 2, epochs: 2, ofKnownKind: true });
});

test("a packet that is over in the middle of its test leaves the way free", () => {
  const bench = new SuspectsBench();
  bench.add("a1");
  bench.suspectAll();
  bench.add("b1");
  expect(bench.upAndSend()).toBe("test a1");
  const [packet] = bench.outside.splice(0);
  if (packet) bench.suspects.detach(packet);
  bench.lines.delete("a");
  expect(bench.send()).toBe("flow b1");
});
