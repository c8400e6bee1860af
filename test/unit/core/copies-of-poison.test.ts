/** A client has sent the same content several times: what is held against one of these packets is held against all of them. */
import { describe, expect, test } from "vitest";
import { BrokerSession } from "../../../src/core/state/broker-session.ts";
import { type Exchange, newPublishExchange, newSubscribe } from "../../../src/core/state/exchanges.ts";
import type { Session } from "../../../src/core/state/session.ts";
import type { Waiting } from "../../../src/core/state/waiting.ts";
import type { Publication } from "../../../src/core/types.ts";

type Packet = Exchange<Session>;
const closed = { blames: true, named: false, showedLife: true };
const owner = (clientId: string) => ({ clientId, account: { accepted: 0 } }) as unknown as Session;
const [c1, c2] = [owner("c1"), owner("c2")];

function publish(packetId: number, text: string, of = c1, qos: 1 | 2 = 1): Packet {
  const publication: Publication = { topicName: "t", payload: Buffer.from(text), qos, retain: false };
  return newPublishExchange<Session>(packetId, publication, of);
}

const subscribe = (packetId: number, filter: string): Packet =>
  newSubscribe<Session>({ packetId, filter, qos: 1, origin: undefined });

function onlyWaits(packet: Packet): Waiting<Packet> {
  const lines = () => [[packet]];
  return {
    outside: 0,
    fit: (packets) => packets,
    hasOthers: false,
    held: lines,
    lines,
    heads: () => [packet],
    inTurn: () => packet,
  };
}

/** `dies` is sent alone, and the broker closes the connection; the others wait. */
function died(dies: Packet, others: readonly Packet[]): BrokerSession<Session> {
  const broker = new BrokerSession<Session>(1, { key: "own" });
  for (const each of [...others, dies].toSorted((a, b) => a.packetId - b.packetId)) broker.add(each);
  // At two ends it is outside, then it is tested alone.
  for (let at = 0; at < 3; at++) {
    broker.search.connected(at * 1_000);
    broker.search.showsLife();
    if (at === 2)
      expect(broker.search.choose(at * 1_000 + 900, onlyWaits(dies))).toEqual({ kind: "test", packets: [dies] });
    broker.sent(dies);
    broker.ended(at * 1_000 + 999, closed);
    broker.cut(at * 1_000 + 999);
  }
  expect(dies.suspicion?.deaths).toBeGreaterThan(0);
  return broker;
}

describe("a packet dies alone", () => {
  test("its copies that wait are suspects too, in their order", () => {
    const [first, second, third] = [publish(1, "bad"), publish(2, "bad"), publish(3, "bad")];
    died(second, [first, third]);
    expect(second.suspicion?.packets).toEqual([first, second, third]);
    expect([first.suspicion, third.suspicion]).toEqual([second.suspicion, second.suspicion]);
  });

  test("a copy at QoS 2, which the broker has, is none", () => {
    const [has, dies] = [publish(1, "bad", c1, 2), publish(2, "bad", c1, 2)];
    if (has.kind === "publish") has.stage = "received";
    died(dies, [has]);
    expect(has.suspicion).toBeUndefined();
  });

  test("what another client has sent, or another content, is none", () => {
    const others = [publish(1, "bad", c2), publish(2, "good"), publish(3, "bad", c1, 2), subscribe(4, "t")];
    died(publish(5, "bad"), others);
    expect(others.map(({ suspicion }) => suspicion)).toEqual([undefined, undefined, undefined, undefined]);
  });

  test("the same holds for a request that came twice", () => {
    const [first, second] = [subscribe(1, "no/#"), subscribe(2, "no/#")];
    died(first, [second]);
    expect(second.suspicion).toBe(first.suspicion);
  });
});
