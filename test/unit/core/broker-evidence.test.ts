/** Whether an end of one connection speaks against what was sent on it, by what the broker does to the others. */
import { beforeEach, expect, test } from "vitest";
import { BrokerEvidence } from "../../../src/core/state/broker-evidence.ts";
import { searchFigures } from "../../../src/core/state/search-figures.ts";

const [mine, theirs] = [{}, {}];
let evidence: BrokerEvidence;

beforeEach(() => {
  evidence = new BrokerEvidence();
});

test("a connection whose own ends are all that is known is not doubted", () => {
  evidence.noteEnd(mine, 1_000);
  evidence.noteEnd(mine, 2_000);
  expect(evidence.isDoubtful(mine, 2_000)).toBe(false);
});

test("it is, where another one was ended and nobody was answered since, however often its own ended", () => {
  evidence.noteEnd(theirs, 1_000);
  for (const at of [2_000, 3_000]) evidence.noteEnd(mine, at);
  expect(evidence.isDoubtful(mine, 3_000)).toBe(true);
  expect(evidence.isDoubtful(theirs, 3_000)).toBe(true);
});

test("an answer to anybody ends the doubt", () => {
  evidence.noteEnd(theirs, 1_000);
  evidence.noteAnswered(1_500);
  evidence.noteEnd(mine, 2_000);
  expect(evidence.isDoubtful(mine, 2_000)).toBe(false);
});

test("so does time", () => {
  evidence.noteEnd(theirs, 1_000);
  evidence.noteEnd(mine, 2_000);
  expect(evidence.isDoubtful(mine, 1_000 + searchFigures.doubtMs)).toBe(true);
  expect(evidence.isDoubtful(mine, 1_001 + searchFigures.doubtMs)).toBe(false);
});
