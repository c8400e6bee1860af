/** A broker that seems sick, and the pauses between connections while a packet is searched for. */
import { expect, test } from "vitest";
import { searchFigures } from "../../../src/core/state/search-figures.ts";
import { byPeer, cut, SuspectsBench } from "../../helpers/suspects-bench.ts";

test("at a sick broker one that was outside at many ends before does not wait for hours until it is tried", () => {
  const bench = new SuspectsBench();
  bench.add("a1", "b1", "c1", "d1", "e1");
  for (let i = 0; i < 40; i++) {
    bench.up();
    bench.outside = bench.lines.get("a")?.slice() ?? [];
    bench.down();
  }
  for (let i = 0; i < 40 && !bench.suspects.isSick; i++) {
    if (bench.upAndSend(10_000) === "flow") bench.now += 60_000;
    bench.down();
  }
  expect(bench.suspects.isSick).toBe(true);
  const tried: string[] = [];
  for (let i = 0; i < 20; i++) {
    bench.up();
    let said = bench.send();
    for (let wait = 0; wait < 10 && said === "hold"; wait++) {
      bench.now += 5_000;
      said = bench.send();
    }
    tried.push(said);
    bench.down();
  }
  expect(tried.filter((said) => said === "test a1").length, `${tried}`).toBeGreaterThan(1);
});

test("7: three different ones died and nothing was answered: the broker is sick, nobody is a suspect", () => {
  const bench = new SuspectsBench();
  bench.add("a1", "b1", "c1", "c2");
  bench.suspectAll();
  for (let i = 0; i < 10 && !bench.suspects.isSick; i++) {
    bench.upAndSend(5_000);
    bench.down();
  }
  expect(bench.suspects.isSick).toBe(true);
  expect(bench.names()).toEqual([]);
  const turns = [];
  const sendAtLast = () => {
    if (bench.upAndSend(5_000) === "hold") bench.now += searchFigures.sickHoldMs;
    return bench.send();
  };
  for (let i = 0; i < 6; i++) {
    turns.push(sendAtLast());
    bench.down();
  }
  expect(new Set(turns).size).toBeGreaterThan(3); // another each time
  expect(bench.end.pause).toBe("next");
  bench.answer(sendAtLast().replace("test ", ""));
  expect(bench.suspects.isSick).toBe(false);
  expect(bench.send()).toMatch(/^flow/);
});

test("7: all that waits has died: the connection stands for a while, so that somebody can connect and be the witness", () => {
  const bench = new SuspectsBench();
  bench.add("a1", "b1", "c1");
  bench.suspectAll();
  for (let i = 0; i < 10 && !bench.suspects.isSick; i++) {
    bench.upAndSend(5_000);
    bench.down();
  }
  for (let i = 0; i < 3; i++) {
    bench.upAndSend(5_000);
    if (bench.outside.length > 0) bench.down();
  }
  expect(bench.upAndSend(5_000)).toBe("hold");
  const { now } = bench;
  expect(bench.choose()).toEqual({ kind: "hold", until: now + searchFigures.sickHoldFirstMs });
  bench.add("d1"); // its client has connected meanwhile
  expect(bench.send()).toBe("test d1");
  bench.answer("d1");
  expect(bench.suspects.isSick).toBe(false);
});

test("7: all that waits has died: on a line that never stands for long enough one of them is tried after the same time", () => {
  const bench = new SuspectsBench();
  bench.add("a1", "b1", "c1");
  bench.suspectAll();
  for (let i = 0; i < 10 && !bench.suspects.isSick; i++) {
    bench.upAndSend(5_000);
    bench.down();
  }
  for (let i = 0; i < 3; i++) {
    bench.upAndSend(5_000);
    if (bench.outside.length > 0) bench.down();
  }
  const chosen: string[] = [];
  for (let i = 0; i < 12; i++) {
    chosen.push(bench.upAndSend(1_000).replace(/ .*/, ""));
    bench.down(byPeer, 2_000);
  }
  // After 4, 8 and 15 s for which the connections stood.
  expect(chosen.join(" ")).toBe("hold hold test hold hold hold hold test hold hold hold hold");
});

test.each([0, 1, 2])(
  "7: all that waits has died: whoever was outside at the fewest ends is tried first (%i)",
  (more) => {
    const bench = new SuspectsBench();
    bench.add("a1", "b1", "c1");
    bench.suspectAll();
    for (let i = 0; i < 10 && !bench.suspects.isSick; i++) {
      bench.upAndSend(5_000);
      bench.down();
    }
    const sendAtLast = () => {
      if (bench.upAndSend(5_000) === "hold") bench.now += searchFigures.sickHoldMs;
      return bench.send();
    };
    for (let i = 0; i < more; i++) {
      sendAtLast();
      bench.down();
    }
    bench.add("d1");
    expect(bench.upAndSend(5_000)).toBe("test d1");
    bench.down(); // by chance
    expect(sendAtLast()).toBe("test d1");
  },
);

test("9: the pause grows without an answer, and starts anew after one; a search is not held up, six times", () => {
  const bench = new SuspectsBench();
  bench.up();
  bench.down({ ...byPeer, showedLife: false });
  expect(bench.end.pause).toBe("next");
  bench.up();
  bench.down(byPeer); // nothing to say, and it lived
  expect(bench.end.pause).toBe("first");
  bench.add("a1", "b1");
  bench.upAndSend();
  bench.down(); // it had shown no life yet
  expect(bench.end.pause).toBe("next");
  bench.upAndSend();
  bench.answer("b1");
  bench.down();
  expect(bench.end.pause).toBe("first");
  const pauses = [];
  for (let i = 0; i < 6; i++) {
    bench.upAndSend(70_000);
    bench.down();
    pauses.push(bench.end.pause);
  }
  expect(pauses).toEqual([...Array(5).fill("least"), "bounded"]);
});

test("9: a connection that had nothing to answer was of use if it stood for some seconds", () => {
  const bench = new SuspectsBench();
  bench.up();
  bench.down({ ...cut, showedLife: false }, 4_000);
  expect(bench.end.pause).toBe("next");
  bench.up();
  bench.down({ ...cut, showedLife: false }, 6_000);
  expect(bench.end.pause).toBe("first");
});

test("9: a connection that stood for long is followed by the first pause, also where a suspect ended it", () => {
  const bench = new SuspectsBench();
  bench.add("a1");
  bench.suspectAll();
  bench.upAndSend();
  bench.down();
  expect(bench.end.pause).toBe("least");
  bench.upAndSend();
  bench.down(byPeer, searchFigures.restMs);
  expect(bench.end).toEqual({ takenOut: undefined, pause: "first" });
});
