import { expect, test } from "vitest";
import { LearntKinds } from "../../../src/core/state/learnt-kinds.ts";

const hour = 3_600_000;

/** One kind, and what is said of it. */
class Bench {
  readonly kinds = new LearntKinds();
  now = 0;

  takeOut(octets: number): void {
    const of = { key: "k", client: "c", content: `${octets}`, octets, isSure: false };
    this.kinds.noteTakenOut(this.now++, of);
  }

  answer(octets: number): void {
    this.kinds.noteAnswered("k", octets);
  }

  verdict(octets: number, content = "new"): string | undefined {
    return this.kinds.verdict(this.now, { key: "k", content, octets });
  }
}

test("after two taken out, later ones of the kind are refused for an hour, then one is let in as a suspect", () => {
  const bench = new Bench();
  bench.takeOut(5);
  expect(bench.verdict(5)).toBe("suspect");
  bench.takeOut(5);
  expect(bench.verdict(5)).toBe("refuse");
  bench.now += hour;
  expect(bench.verdict(5)).toBe("suspect");
  expect(bench.verdict(5)).toBe("refuse");
});

test("one that is answered between two taken out: the kind is not learnt", () => {
  const bench = new Bench();
  bench.takeOut(5);
  bench.answer(5);
  bench.takeOut(5);
  expect(bench.verdict(5)).toBe("suspect");
});

test("where shorter ones were answered, only those at least as long are refused", () => {
  const bench = new Bench();
  bench.takeOut(177);
  bench.answer(20);
  bench.answer(5);
  bench.takeOut(100);
  expect(bench.verdict(99)).toBeUndefined();
  expect(bench.verdict(100)).toBe("refuse");
});

test("one is taken out that is no longer than one answered between: length is not at fault, and the kind is not learnt", () => {
  const bench = new Bench();
  bench.takeOut(177);
  bench.answer(5);
  bench.answer(172);
  bench.takeOut(5);
  expect(bench.verdict(5)).toBe("suspect");
  bench.answer(5);
  expect(bench.verdict(5)).toBeUndefined();
  expect(bench.verdict(5, "177")).toBe("refuse"); // just what was taken out
});
