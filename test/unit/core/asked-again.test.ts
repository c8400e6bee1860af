/** The broker has forgotten the session of a shared connection: its filters are subscribed to again, a part at a time. [3.1.1 4.1] */
import { describe, expect, test } from "vitest";
import { a, b, bench, shared, subscribed } from "../../helpers/aggregating-bench.ts";
import { type Bench, connect, octets, publish, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const askedAtOnce = 20;
const count = 3 * askedAtOnce;
const filters = Array.from({ length: count }, (_, i) => `f/${i}`);

const asked = (turn: Turn) => turn.effects.flatMap((effect) => (effect.kind === "subscribe" ? [effect] : []));
type Asked = ReturnType<typeof asked>[number];

/** A client has all these filters, and the broker has forgotten them. */
function forgotten(): { gateway: Bench; first: Asked[] } {
  const gateway = bench({ askedAtOnce, clients: { ...testOptions.clients, subscriptionsMax: count } });
  gateway.client(connect({ clientId: "a", cleanSession: false, duration: 60_000 }), a).gets("CONNACK");
  for (const filter of filters) subscribed(gateway, a, filter, 1);
  shared(gateway).down();
  return { gateway, first: asked(shared(gateway).up(false)) };
}

/** The broker answers these, and all that is asked for then. Returns the filters. */
function answerAll(gateway: Bench, first: readonly Asked[], most = Number.POSITIVE_INFINITY): string[] {
  const waiting = [...first];
  const answered: string[] = [];
  for (let each = waiting.shift(); each && answered.length < most; each = waiting.shift()) {
    answered.push(each.topicFilter);
    waiting.push(...asked(shared(gateway).acks("suback", each.packetId, 1)));
    expect(waiting.length).toBeLessThanOrEqual(askedAtOnce);
  }
  return answered;
}

describe("many filters", () => {
  test("are asked for a part at a time, each once", () => {
    const { gateway, first } = forgotten();
    expect(first).toHaveLength(askedAtOnce);
    expect(answerAll(gateway, first).toSorted()).toEqual(filters.toSorted());
  });

  test("leave packet ids for publications", () => {
    const { gateway } = forgotten();
    const turn = gateway.client(
      publish({ topicIdType: "short", topicId: 0x6162, qos: 1, msgId: 7, data: octets("x") }),
      a,
    );
    expect(turn.effect("publish").packetId).toBeGreaterThan(0);
  });

  test("are asked for until the end over a cut in between: what was asked for is sent again", () => {
    const { gateway, first } = forgotten();
    const answered = answerAll(gateway, first, askedAtOnce + 5);
    shared(gateway).down();
    const again = asked(shared(gateway).up(true));
    expect(new Set([...answered, ...answerAll(gateway, again)]).size).toBe(count);
  });

  test("are asked for from the beginning if the broker forgets again", () => {
    const { gateway, first } = forgotten();
    const answered = answerAll(gateway, first, askedAtOnce + 5);
    shared(gateway).down();
    const again = answerAll(gateway, asked(shared(gateway).up(false)));
    expect(answered.every((filter) => again.includes(filter))).toBe(true);
    expect(new Set(again).size).toBe(count);
  });

  test("of a client that leaves meanwhile are not asked for any more, and those of another client are", () => {
    const { gateway, first } = forgotten();
    gateway.client(connect({ clientId: "b", cleanSession: false, duration: 60_000 }), b).gets("CONNACK");
    subscribed(gateway, b, "other", 1);
    const gone = gateway.client(connect({ clientId: "a", cleanSession: true, duration: 60_000 }), a);
    for (const effect of gone.effects)
      if (effect.kind === "unsubscribe") shared(gateway).acks("unsuback", effect.packetId);
    const late = answerAll(gateway, first);
    expect(late.filter((filter) => filter !== "other").length).toBeLessThanOrEqual(askedAtOnce);
    shared(gateway)
      .delivers({ topicName: "other", payload: octets("1") })
      .gets("PUBLISH");
  });
});
