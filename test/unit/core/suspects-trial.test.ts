/**
 * The search for a packet for which the broker closes the connection, tried in hours of virtual time: on connections that end often, with
 * late acknowledgements, at faulty brokers. No good packet is ever taken out.
 */
import { describe, expect, test } from "vitest";
import { type Health, type Trial, TrialWorld } from "../../helpers/suspects-world.ts";
import { Rng } from "../../simulation/rng.ts";

const flapping = (random: Rng) => random.between(0.5, 20);
const one = [[0, 10]] as const;
const seeds = [1, 2];

/** Runs each seed; answers the worst. */
function worst(trial: Omit<Trial, "seed">, { from = 10, but = [0] }: { from?: number; but?: number[] } = {}) {
  const worlds = seeds.map((seed) => new TrialWorld({ ...trial, seed }).run());
  return {
    good: worlds.reduce((sum, { goodTakenOut }) => sum + goodTakenOut, 0),
    poison: worlds.map(({ poisonTakenOut }) => poisonTakenOut),
    slowest: Math.max(...worlds.map(({ slowest }) => slowest)),
    silence: Math.max(...worlds.map((world) => world.silence(from, but))),
    ends: Math.max(...worlds.map(({ ends }) => ends)),
  };
}

describe("a poison among twenty clients", () => {
  test("is taken out, and the others are hardly held up", () => {
    const { good, poison, slowest, silence } = worst({ poison: one, untilSeconds: 120 });
    expect({ good, poison }).toEqual({ good: 0, poison: [1, 1] });
    expect(slowest).toBeLessThan(15);
    expect(silence).toBeLessThan(5);
  });

  test("also where acknowledgements come 200 ms late, so that the first unanswered is innocent", () => {
    const { good, poison, silence } = worst({ poison: one, lateSeconds: 0.2, untilSeconds: 200 });
    expect({ good, poison }).toEqual({ good: 0, poison: [1, 1] });
    expect(silence).toBeLessThan(5);
  });

  test("also on a line that is cut every half second to twenty seconds", () => {
    const { good, poison } = worst({ poison: one, cut: flapping, roundTripSeconds: 0.5, untilSeconds: 600 });
    expect({ good, poison }).toEqual({ good: 0, poison: [1, 1] });
  });

  test("also several in a row, and at the head of ten thousand", () => {
    const row = worst({ poison: [one[0], one[0], one[0], one[0], one[0]], untilSeconds: 120 });
    expect({ good: row.good, poison: row.poison }).toEqual({ good: 0, poison: [5, 5] });
    const head = worst({ backlog: 10_000, isHeadPoison: true, untilSeconds: 60 }, { from: 1 });
    expect({ good: head.good, poison: head.poison }).toEqual({ good: 0, poison: [1, 1] });
    expect(head.silence).toBeLessThan(5);
  });
});

describe("a poison at the head of each client", () => {
  const heads = (clients: number, each: number) =>
    Array.from({ length: clients * each }, (_, i) => [i % clients, 10] as const);

  test.each([2, 3, 5, 20])("of %i: all are taken out, and the good ones flow meanwhile", (clients) => {
    const { good, poison, silence } = worst({ clients, poison: heads(clients, 1), untilSeconds: 600 }, { but: [] });
    expect({ good, poison }).toEqual({ good: 0, poison: [clients, clients] });
    expect(silence).toBeLessThan(15);
  });

  test("also where each says something else once a minute only: that is waited for, and few connections end", () => {
    const trial = { clients: 10, rate: 1 / 60, poison: heads(10, 1), untilSeconds: 900 };
    const { good, poison, ends } = worst(trial, { but: [] });
    expect({ good, poison }).toEqual({ good: 0, poison: [10, 10] });
    expect(ends).toBeLessThan(20 * 10);
  });

  test("also two in a row of each", () => {
    const { good, poison, silence } = worst({ clients: 3, poison: heads(3, 2), untilSeconds: 600 }, { but: [] });
    expect({ good, poison }).toEqual({ good: 0, poison: [6, 6] });
    expect(silence).toBeLessThan(30);
  });
});

describe("a client alone on its connection", () => {
  test("its next packets are the witnesses", () => {
    const { good, poison, slowest } = worst({ clients: 1, poison: one, untilSeconds: 120 });
    expect({ good, poison }).toEqual({ good: 0, poison: [1, 1] });
    expect(slowest).toBeLessThan(15);
  });

  test("five in a row are told from a broker that is sick", () => {
    const { good, poison } = worst({ clients: 1, poison: [one[0], one[0], one[0], one[0], one[0]], untilSeconds: 400 });
    expect({ good, poison }).toEqual({ good: 0, poison: [5, 5] });
  });

  test.each([8, 12, 20])(
    "also %i in a row: behind more than are tried beside the order it is looked for one that passes",
    (count) => {
      const poison = Array.from({ length: count }, () => one[0]);
      const { good, poison: found, slowest } = worst({ clients: 1, poison, untilSeconds: 900 });
      expect({ good, found }).toEqual({ good: 0, found: [count, count] });
      expect(slowest).toBeLessThan(300);
    },
  );

  test("one packet in the world needs two minutes, and ends few connections", () => {
    const { good, poison, slowest, ends } = worst({ clients: 1, rate: 0, poison: one, untilSeconds: 600 });
    expect({ good, poison }).toEqual({ good: 0, poison: [1, 1] });
    expect(slowest).toBeGreaterThanOrEqual(120);
    expect(ends).toBeLessThanOrEqual(12);
  });
});

describe("nobody is taken out, and all goes on,", () => {
  test("on lines that flap", () => {
    expect(worst({ cut: flapping, untilSeconds: 1_800 })).toMatchObject({ good: 0 });
    expect(worst({ cut: flapping, roundTripSeconds: 0.5, untilSeconds: 1_800 })).toMatchObject({ good: 0 });
    expect(worst({ cut: flapping, roundTripSeconds: 2, rate: 0.2, untilSeconds: 1_800 })).toMatchObject({ good: 0 });
    expect(worst({ clients: 1, cut: flapping, roundTripSeconds: 0.5, untilSeconds: 1_800 })).toMatchObject({ good: 0 });
  });

  test("on lines that are cut with what is sent, as by a router that has forgotten the connection", () => {
    const rare = { clients: 5, rate: 0.2, roundTripSeconds: 0.04, untilSeconds: 1_800 };
    for (const cutShare of [0.05, 0.2]) {
      for (let seed = 1; seed <= 15; seed++) {
        const world = new TrialWorld({ ...rare, seed, cutShare, poison: [[0, 100]] }).run();
        expect(world.goodTakenOut, `${cutShare}, seed ${seed}`).toBe(0);
        expect(world.poisonTakenOut).toBe(1);
      }
    }
  });

  test.each(["down", "closesAll", "closesPackets"] as const)("at a broker that is %s for ten minutes", (sickness) => {
    const health = (seconds: number): Health => (seconds > 50 && seconds < 650 ? sickness : "ok");
    for (const clients of [1, 20]) {
      const { good, silence } = worst({ clients, health, untilSeconds: 900 }, { from: 720, but: [99] });
      expect(good).toBe(0);
      expect(silence).toBeLessThan(20);
    }
  });

  test("at a broker that always closes after every n packets", () => {
    for (const n of [1, 2, 3, 10])
      for (const clients of [1, 20])
        expect(worst({ clients, health: () => n, untilSeconds: 300 })).toMatchObject({ good: 0 });
  });
});

test("random worlds: no good packet is taken out, and nearly every poison is", () => {
  let poisons = 0;
  let found = 0;
  for (let seed = 1; seed <= 24; seed++) {
    const world = new TrialWorld(randomTrial(seed)).run();
    expect(world.goodTakenOut, `seed ${seed}`).toBe(0);
    poisons += randomTrial(seed).poison?.length ?? 0;
    found += world.poisonTakenOut;
  }
  expect(found).toBeGreaterThan(0.9 * poisons);
});

function randomTrial(seed: number): Trial {
  const random = new Rng(seed * 7_919);
  const clients = random.int(1, 20);
  const spells = Array.from({ length: random.int(0, 2) }, () => {
    const from = random.between(20, 400);
    const what = random.pick<Health>(["down", "closesAll", "closesPackets", random.int(2, 10)]);
    return { from, to: from + random.between(5, 120), what };
  });
  return {
    seed,
    clients,
    rate: random.between(0.1, 1.5),
    untilSeconds: 900,
    roundTripSeconds: random.between(0.01, 1),
    ...(random.chance(0.4) && { cut: (dice: Rng) => dice.between(0.5, 40) }),
    lateSeconds: random.chance(0.4) ? random.between(0.05, 0.4) : 0,
    poison: Array.from(
      { length: random.int(0, 4) },
      () => [random.int(0, clients - 1), random.between(1, 450)] as const,
    ),
    health: (seconds) => spells.find(({ from, to }) => seconds > from && seconds < to)?.what ?? "ok",
  };
}
