/** Over a shared connection: an UNSUBSCRIBE that the broker has not answered is not forgotten by a restart. [MQTT-SN 1.2 §6.10] */
import { expect, test } from "vitest";
import type { StoredState } from "../../../src/core/record.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { Bench, connect, disconnect, here, subscribe, type Turn } from "../../helpers/bench.ts";
import { testOptions } from "../../simulation/options.ts";

const options = {
  durable: true,
  upstream: { ...testOptions.upstream, mode: "aggregating" as const },
} as const;

class Life {
  readonly bench: Bench;
  readonly table: StateTable;

  constructor(before?: Life) {
    this.table = before?.table ?? new StateTable();
    this.bench = new Bench(options, before ? ([...this.table.states()] as StoredState[]) : []);
  }

  note(turn: Turn): Turn {
    for (const effect of turn.effects)
      if (effect.kind === "persist") for (const change of effect.changes) this.table.apply(change);
    return turn;
  }

  /** The client has subscribed, and the broker has answered. */
  begin(...filters: string[]): this {
    this.note(this.bench.link("gateway").up());
    return this.subscribed("c1", here, filters);
  }

  subscribed(clientId: string, from: PeerId, filters: readonly string[]): this {
    this.note(this.bench.client(connect({ clientId, cleanSession: true }), from));
    for (const [at, filter] of filters.entries()) {
      const { packetId } = this.note(this.bench.client(subscribe(filter, 1, at + 1), from)).effect("subscribe");
      this.note(this.bench.link("gateway").acks("suback", packetId, 1));
    }
    return this;
  }

  /** The connection ends and comes back: what is unanswered is sent again. */
  again(sessionPresent = true): Turn {
    this.note(this.bench.link("gateway").down());
    return this.note(this.bench.link("gateway").up(sessionPresent));
  }
}

const unsubscribed = (turn: Turn) =>
  turn.effects.flatMap((effect) => (effect.kind === "unsubscribe" ? [effect.topicFilter] : []));

test("the client has gone, and the gateway dies before UNSUBACK: the next run asks again, until it is answered [6.10]", () => {
  const first = new Life().begin("x/y", "x/+");
  expect(unsubscribed(first.note(first.bench.client(disconnect)))).toEqual(["x/y", "x/+"]);
  const second = new Life(first);
  const up = second.again();
  expect(unsubscribed(up)).toEqual(["x/y", "x/+"]);
  for (const effect of up.effects)
    if (effect.kind === "unsubscribe") second.note(second.bench.link("gateway").acks("unsuback", effect.packetId));
  const third = new Life(second);
  expect(unsubscribed(third.again())).toEqual([]);
});

test("the broker was away when the client went: the same [6.10]", () => {
  const first = new Life().begin("x/y");
  first.note(first.bench.link("gateway").down());
  first.note(first.bench.client(disconnect));
  const second = new Life(first);
  expect(unsubscribed(second.again())).toEqual(["x/y"]);
});

test("somebody subscribes again: what is wanted stays [6.9]", () => {
  const first = new Life().begin("x/y");
  first.note(first.bench.client(disconnect));
  first.note(first.bench.client(connect({ cleanSession: false })));
  first.note(first.bench.client(subscribe("x/y", 1)));
  const second = new Life(first);
  expect(unsubscribed(second.again())).toEqual([]);
});

test("the broker has begun a new session: there is nothing to end [MQTT-3.1.1 4.4]", () => {
  const first = new Life().begin("x/y");
  first.note(first.bench.client(disconnect));
  const second = new Life(first);
  expect(unsubscribed(second.again(false))).toEqual([]);
  const third = new Life(second);
  expect(unsubscribed(third.again())).toEqual([]);
});

test("as many as have room are remembered", () => {
  const first = new Life().begin();
  for (const at of [1, 2]) {
    const peer: PeerId = `udp/192.0.2.${at}:9`;
    first.subscribed(
      `d${at}`,
      peer,
      Array.from({ length: 50 }, (_, i) => `x/${at}/${i}`),
    );
    first.note(first.bench.client(disconnect, peer));
  }
  expect(unsubscribed(new Life(first).again())).toHaveLength(64);
});
