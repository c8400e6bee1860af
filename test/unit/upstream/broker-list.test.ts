import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BrokerList, type Movable } from "../../../src/upstream/broker-list.ts";
import { type BrokerUrl, parseBrokerUrl } from "../../../src/upstream/broker-url.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

class Link implements Movable {
  brokerIndex: number | undefined;
  moves: string[] = [];
  move(reason: string): void {
    this.moves.push(reason);
    this.brokerIndex = undefined;
  }
}

function setUp(size: number, options: { links?: number; returnSeconds?: number } = {}) {
  const links = Array.from({ length: options.links ?? 1 }, () => new Link());
  const there = new Set<string>();
  const probed: string[] = [];
  const told: string[] = [];
  const urls = ["a", "b", "c"].slice(0, size).map((name) => parseBrokerUrl(`mqtt://${name}`) as BrokerUrl);
  const list = new BrokerList({
    urls,
    returnSeconds: options.returnSeconds ?? 60,
    links: () => links,
    probe: (url, done) => {
      probed.push(url.host);
      done(there.has(url.host));
    },
    random: () => 0.999,
    told: (_level, say) => told.push(say),
  });
  const at = () => list.pick().url.host;
  /** All links come to where the list says. */
  const arrive = () => {
    for (const link of links) {
      const { index } = list.pick();
      link.brokerIndex = index;
      list.accepted(index);
    }
  };
  const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1_000);
  return { list, links, there, probed, told, at, arrive, pass };
}

describe("the list of brokers", () => {
  test("what cannot be reached makes way for the next, and after the last comes the first", () => {
    const { list, at } = setUp(3);
    const visited = [at()];
    for (let i = 0; i < 4; i++) {
      list.failed(list.pick().index, 1, "refused");
      visited.push(at());
    }
    expect(visited).toEqual(["a", "b", "c", "a", "b"]);
  });

  test("many who fail at one broker move the choice by one", () => {
    const { list, at } = setUp(3);
    for (let i = 0; i < 10; i++) list.failed(0, 1, "refused");
    expect(at()).toBe("b");
  });

  test("one that fails where others stand moves nobody, until it has failed three times in a row", () => {
    const { list, links, at } = setUp(2, { links: 2 });
    if (links[0]) links[0].brokerIndex = 0;
    list.failed(0, 1, "reset");
    list.failed(0, 2, "reset");
    expect(at()).toBe("a");
    list.failed(0, 3, "reset");
    expect(at()).toBe("b");
  });

  test("a list of one is a list of one", () => {
    const { list, at, probed, pass, arrive } = setUp(1);
    for (let i = 1; i < 9; i++) list.failed(0, i, "refused");
    arrive();
    pass(10_000);
    expect([at(), probed]).toEqual(["a", []]);
  });

  test("back: one connection first, the others when it was accepted, 200 a second", () => {
    const { list, links, there, told, at, arrive, pass } = setUp(2, { links: 1_000 });
    list.failed(0, 1, "refused");
    arrive();
    pass(60);
    expect(at()).toBe("b"); // not there yet
    there.add("a");
    pass(60);
    expect(at()).toBe("a");
    expect(links.filter(({ moves }) => moves.length > 0)).toEqual([links[0]]);
    pass(600);
    expect(links.filter(({ moves }) => moves.length > 0)).toHaveLength(1);
    if (links[0]) links[0].brokerIndex = 0;
    list.accepted(0);
    pass(4.9);
    expect(links.filter(({ moves }) => moves.length > 0)).toHaveLength(1); // all dice say late here
    pass(0.2);
    expect(links.every(({ moves }) => moves.length === 1)).toBe(true);
    expect(told).toEqual(["mqtt://a cannot be used (refused): trying mqtt://b", "back at mqtt://a"]);
  });

  test("where CONNECT is not accepted there, one connection was disturbed, and the next look is twice as far away", () => {
    const { list, links, there, probed, at, arrive, pass } = setUp(2, { links: 50 });
    list.failed(0, 1, "refused");
    arrive();
    there.add("a");
    const pauses: number[] = [];
    for (let i = 0; i < 6; i++) {
      let seconds = 0;
      for (const before = probed.length; probed.length === before; seconds++) pass(1);
      pauses.push(Math.round(seconds / 60));
      list.failed(0, 1, "not accepted");
      expect(at()).toBe("b");
      arrive();
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 16]);
    expect(links.map(({ moves }) => moves.length)).toEqual([6, ...Array(49).fill(0)]);
  });

  test("the best one that is there is taken, not the first that answers by chance", () => {
    const { list, there, at, arrive, pass } = setUp(3);
    list.failed(0, 1, "refused");
    list.failed(1, 1, "refused");
    arrive();
    there.add("b");
    pass(60);
    expect(at()).toBe("b");
    arrive();
    there.add("a");
    pass(60);
    expect(at()).toBe("a");
  });

  test("a client id that comes to another broker than the last time is told apart", () => {
    const { list } = setUp(2);
    const visits = [list.isElsewhere("a", 0), list.isElsewhere("a", 0), list.isElsewhere("b", 1)];
    expect([...visits, list.isElsewhere("a", 1), list.isElsewhere("a", 1), list.isElsewhere("a", 0)]).toEqual([
      false,
      false,
      false,
      true,
      false,
      true,
    ]);
  });

  test("0 seconds: it stays; and a closed one does nothing more", () => {
    const staying = setUp(2, { returnSeconds: 0 });
    staying.list.failed(0, 1, "refused");
    staying.arrive();
    staying.pass(10_000);
    expect(staying.probed).toEqual([]);
    const closed = setUp(2);
    closed.list.failed(0, 1, "refused");
    closed.arrive();
    closed.list.close();
    closed.pass(10_000);
    expect(closed.probed).toEqual([]);
  });
});
