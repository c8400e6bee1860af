/** Which topic names get an alias, and when they lose it. [MQTT-5.0 3.3.2.3.4] */
import { describe, expect, test } from "vitest";
import { AliasRules, TopicAliases } from "../../../src/upstream/topic-aliases.ts";

const name = (of: number | string) => `site/hall/${of}`;

/** What stands for each name: "+1" is alias 1 beside the name, "1" in place of it, "-" the name alone. */
function said(aliases: TopicAliases, names: readonly (number | string)[]): string {
  return names
    .map((of) => aliases.of(name(of)))
    .map((alias) => (alias === 0 ? "-" : alias < 0 ? `+${-alias}` : `${alias}`))
    .join(" ");
}

describe("topic aliases of a connection", () => {
  test("the first time a name and its alias are said, then the alias alone", () => {
    expect(said(new TopicAliases(3), ["a", "a", "b", "a", "b"])).toBe("+1 1 +2 1 2");
  });

  test("no more than the broker takes, and then the name that was used longest ago makes room", () => {
    const aliases = new TopicAliases(2);
    expect(said(aliases, ["a", "b", "a"])).toBe("+1 +2 1");
    // b is the older one now; c takes its place when it comes the second time since b was used.
    expect(said(aliases, ["c", "a", "c", "c", "a", "b"])).toBe("- 1 +2 2 1 -");
  });

  test("names by turns, more of them than aliases: the first keep theirs, and no octet is spent on the others", () => {
    const aliases = new TopicAliases(10, 1_000);
    const round = Array.from({ length: 300 }, (_, i) => i);
    expect(said(aliases, round).match(/\+/g)).toHaveLength(10);
    for (let i = 0; i < 5; i++) expect(said(aliases, round)).not.toContain("+");
    expect(said(aliases, round.slice(0, 11))).toBe("1 2 3 4 5 6 7 8 9 10 -");
  });

  test("other names than before take over", () => {
    const aliases = new TopicAliases(4);
    said(aliases, [1, 2, 3, 4]);
    said(aliases, [5, 6, 7, 8, 5, 6, 7, 8]);
    expect(said(aliases, [5, 6, 7, 8])).toBe("1 2 3 4");
  });

  test("a name so short that an alias saves next to nothing has none", () => {
    const aliases = new TopicAliases(4);
    expect([aliases.of("t/1234"), aliases.of("t/1234")]).toEqual([0, 0]);
    expect([aliases.of("t/12345"), aliases.of("t/12345")]).toEqual([-1, 1]);
  });

  test("what it remembers is bounded: names with an alias, and as many without", () => {
    const aliases = new TopicAliases(5, 20);
    for (let i = 0; i < 10_000; i++) aliases.of(name(i));
    expect(aliases.size).toBe(25);
  });
});

describe("whether a connection has aliases", () => {
  const connAck = (properties: object) => ({ cmd: "connack", sessionPresent: false, properties }) as const;
  const notices: string[] = [];
  const rules = (max: number) => new AliasRules(max, (_level, say) => notices.push(say));
  const granted = (own: number, brokers: number) => {
    const aliases = rules(own).of(connAck({ topicAliasMaximum: brokers }));
    return aliases ? said(aliases, [1, 2, 3, 4, 5, 6]).replaceAll(/[ \d]/g, "") : "none";
  };

  test("the smaller one of the two maxima counts, and a broker that says nothing takes none", () => {
    expect(granted(64, 4)).toBe("++++--");
    expect(granted(2, 10)).toBe("++----");
    expect(granted(0, 10)).toBe("none");
    expect(granted(64, 0)).toBe("none");
    expect(rules(64).of(connAck({}))).toBeUndefined();
    expect(rules(64).of({ cmd: "connack", sessionPresent: false })).toBeUndefined();
  });

  test("a broker that said a maximum, and ends a connection over an alias, is sent none any more, and that is said once", () => {
    const of = rules(64);
    notices.length = 0;
    of.refused();
    of.refused();
    expect(of.of(connAck({ topicAliasMaximum: 10 }))).toBeUndefined();
    expect(notices).toHaveLength(1);
  });
});
