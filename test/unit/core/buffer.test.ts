/** What waits for a client: rules of the operator, and time. */
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { coreOptions } from "../../../src/config/core-options.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { admitAll } from "../../../src/core/access.ts";
import type { CoreOptions } from "../../../src/core/options.ts";
import { Outbox } from "../../../src/core/state/outbox.ts";
import { Bench, connect, octets, pubAck, regAck, sleep, subscribe, type Turn, wake } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

/** As the configuration says it. */
function buffer(options: object): Partial<CoreOptions> {
  return { buffer: coreOptions(parseConfig({ buffer: options }), admitAll).buffer };
}

/** A sleeper that subscribed to everything under t/. */
function sleeper(options: object, run = new GatewayRun(buffer(options))): GatewayRun {
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: false })));
  run.keep(bench.link().up());
  const { packetId } = run.keep(bench.client(subscribe("t/#", 2))).effect("subscribe");
  run.keep(bench.link().acks("suback", packetId, 2));
  run.keep(bench.client(sleep(60_000)));
  return run;
}

/** A message comes from the broker; `name` is topic and payload. */
function comes(run: GatewayRun, name: string, more: { qos?: 0 | 1 | 2; expirySeconds?: number } = {}): Turn {
  const [topic = ""] = name.split(" ");
  return run.keep(run.bench.link().delivers({ topicName: `t/${topic}`, payload: octets(name), ...more }));
}

/** What the client gets in one wake-up; it answers everything. */
function fetched(run: GatewayRun): string[] {
  const got: string[] = [];
  let turn = run.keep(run.bench.client(wake()));
  for (let i = 0; i < 100 && turn.sent.at(-1)?.type !== "PINGRESP"; i++) {
    const asked = turn.sent.at(-1);
    for (const message of turn.sent) if (message.type === "PUBLISH") got.push(Buffer.from(message.data).toString());
    if (asked?.type === "REGISTER") turn = run.keep(run.bench.client(regAck(asked)));
    else if (asked?.type === "PUBLISH" && asked.qos === 1) turn = run.keep(run.bench.client(pubAck(asked)));
    else if (asked?.type === "PUBLISH") turn = run.keep(run.bench.client({ type: "PUBREC", msgId: asked.msgId }));
    else if (asked?.type === "PUBREL") turn = run.keep(run.bench.client({ type: "PUBCOMP", msgId: asked.msgId }));
  }
  for (const message of turn.sent) if (message.type === "PUBLISH") got.push(Buffer.from(message.data).toString());
  return got;
}

/** Dead letters on disk: why, and what. */
function letters({ table }: GatewayRun): string[] {
  return [...table.letters.values()].map(
    ([, { reason, publication }]) => `${reason} ${Buffer.from(publication.payload).toString()}`,
  );
}

describe("limits of a rule [6.14]", () => {
  test("oldest: the oldest of the rule makes way, is counted, told the broker, and kept as a dead letter", () => {
    const run = sleeper({ rules: [{ topics: "t/a", messagesMax: 2, atLimit: "oldest" }] });
    comes(run, "a 1");
    comes(run, "b 1");
    comes(run, "a 2", { qos: 2 });
    expect(comes(run, "a 3").asks("ackBroker").drops).toEqual(["buffer-full"]);
    expect(letters(run)).toEqual(["buffer-full a 1"]);
    expect(fetched(run)).toEqual(["b 1", "a 2", "a 3"]);
    expect(run.bench.core.session("c1")?.view.droppedMessages).toBe(1);
  });

  test("newest: the new one is dropped, and the broker is through with it", () => {
    const run = sleeper({ rules: [{ topics: "t/a", messagesMax: 1, atLimit: "newest" }] });
    comes(run, "a 1");
    const turn = comes(run, "a 2");
    expect(turn.asks("ackBroker").drops).toEqual(["buffer-full"]);
    comes(run, "b 1");
    expect(letters(run)).toEqual(["buffer-full a 2"]);
    expect(fetched(run)).toEqual(["a 1", "b 1"]);
  });

  test("leave, which is the default: the broker keeps it", () => {
    const run = sleeper({ rules: [{ topics: "t/a", messagesMax: 1 }] });
    comes(run, "a 1").asks("ackBroker");
    comes(run, "a 2").asks();
    comes(run, "b 1").asks("ackBroker");
    expect(fetched(run)).toEqual(["a 1", "a 2", "b 1"]);
  });

  test("octets count as messages do; one that is too large by itself costs the others nothing", () => {
    const run = sleeper({ rules: [{ bytesMax: 250, atLimit: "oldest" }] });
    comes(run, "a 1");
    comes(run, "a 2");
    expect(comes(run, "a 3").drops).toEqual(["buffer-full"]);
    expect(comes(run, `b ${"x".repeat(400)}`).drops).toEqual(["buffer-full"]);
    expect(fetched(run)).toEqual(["a 2", "a 3"]);
  });

  test("the client's own limits hold for all rules together", () => {
    const run = sleeper({ messagesMax: 2, atLimit: "oldest" });
    for (const name of ["a 1", "a 2", "b 1"]) comes(run, name);
    expect(fetched(run)).toEqual(["a 2", "b 1"]);
  });

  test("each client has the limits for itself, and the first rule that fits decides", () => {
    const { buffer: options } = buffer({
      rules: [
        { clients: "pump-*", topics: "t/a", messagesMax: 5, atLimit: "newest" },
        { topics: "t/+", timeToLiveSeconds: 9, perWakeMax: 3 },
        { clients: "pump-1", atLimit: "oldest", perWakeMax: 1 },
      ],
    });
    expect(options?.policyOf("pump-1", "t/a")).toMatchObject({ atLimit: "newest", timeToLiveSeconds: 0 });
    expect(options?.policyOf("pump-1", "t/b")).toMatchObject({ atLimit: "leave", timeToLiveSeconds: 9 });
    expect(options?.policyOf("pump-1", "u")).toMatchObject({ atLimit: "oldest" });
    expect(options?.policyOf("valve", "u")).toMatchObject({ atLimit: "leave", timeToLiveSeconds: 0 });
    expect(options?.perWakeMaxOf("pump-1")).toBe(3);
  });
});

test("a full buffer that has nothing to drop is not searched for each message of a flood [6.14]", () => {
  const run = sleeper({ messagesMax: 100 });
  for (let n = 0; n < 100; n++) comes(run, "a 1");
  const searched = vi.spyOn(Outbox.prototype, "find");
  onTestFinished(() => {
    searched.mockRestore();
  });
  expect(comes(run, "a 2", { qos: 0 }).drops).toEqual(["buffer-full"]);
  for (let n = 0; n < 10; n++) comes(run, "a 3").asks();
  expect(searched).not.toHaveBeenCalled();
});

test("what the client may hold is not dropped: the exchange is finished, then the next", () => {
  const run = sleeper({ rules: [{ messagesMax: 1, atLimit: "oldest", timeToLiveSeconds: 30, keep: "latest" }] });
  const { bench } = run;
  comes(run, "a 1", { qos: 2 });
  const asked = run.keep(bench.client(wake())).message("REGISTER");
  const begun = run.keep(bench.client(regAck(asked))).message("PUBLISH");
  expect(comes(run, "a 2", { qos: 2 }).drops).toEqual([]);
  expect(comes(run, "a 3", { qos: 2 }).drops).toEqual(["superseded"]); // the second was never sent
  run.keep(bench.after(31_000)); // it sleeps over it
  run.keep(bench.after(20_000));
  expect(bench.core.session("c1")?.view.waitingMessages).toBe(1);
  const again = run.keep(bench.client(wake())).message("PUBLISH");
  expect([again.msgId, again.dup]).toEqual([begun.msgId, true]);
});

describe("only the latest of a topic [6.14]", () => {
  test("the earlier one goes; QoS 0 does not replace what is stored", () => {
    const run = sleeper({ keep: "latest" });
    comes(run, "a 1");
    comes(run, "b 1");
    expect(comes(run, "a 2").drops).toEqual(["superseded"]);
    comes(run, "b 2", { qos: 0 });
    expect(comes(run, "b 3", { qos: 0 }).drops).toEqual(["superseded"]);
    expect(letters(run)).toEqual([]);
    expect(fetched(run)).toEqual(["b 1", "a 2", "b 3"]);
  });

  test("dead letters of them are wanted only where the configuration says so", () => {
    const dead = { deadLetters: { max: 10, topic: "dead", superseded: true } };
    const run = sleeper({}, new GatewayRun({ ...buffer({ keep: "latest" }), ...dead }));
    comes(run, "a 1");
    const turn = comes(run, "a 2");
    expect(letters(run)).toEqual(["superseded a 1"]);
    const told = turn.effect("publish").publication;
    expect([told.topicName, JSON.parse(Buffer.from(told.payload).toString())]).toMatchObject([
      "dead",
      { clientId: "c1", direction: "down", reason: "superseded", topic: "t/a" },
    ]);
  });
});

test("QoS 0 for sleepers or not, by topic", () => {
  const run = sleeper({ rules: [{ topics: "t/a", qos0WhileAsleep: false }] });
  expect(comes(run, "a 1", { qos: 0 }).drops).toEqual(["not-buffered"]);
  comes(run, "a 2", { qos: 1 });
  comes(run, "b 1", { qos: 0 });
  expect(fetched(run)).toEqual(["a 2", "b 1"]);
});

test("so many messages per wake-up, the rest next time", () => {
  const run = sleeper({ perWakeMax: 2 });
  for (const name of ["a 1", "a 2", "a 3"]) comes(run, name);
  expect(fetched(run)).toEqual(["a 1", "a 2"]);
  expect(fetched(run)).toEqual(["a 3"]);
});

describe("time to live [6.14]", () => {
  test("the rule's, or the broker's if that is shorter; dropped when it is over, in the middle of the sleep", () => {
    const run = sleeper({ rules: [{ topics: "t/a", timeToLiveSeconds: 100 }] });
    comes(run, "a 1");
    comes(run, "b 1");
    comes(run, "b 2", { expirySeconds: 50 });
    comes(run, "a 2", { expirySeconds: 500 });
    expect(run.keep(run.bench.after(49_999)).drops).toEqual([]);
    expect(run.keep(run.bench.after(1)).drops).toEqual(["expired"]);
    expect(run.keep(run.bench.after(51_000)).drops).toEqual(["expired", "expired"]);
    expect(letters(run)).toEqual(["expired b 2", "expired a 1", "expired a 2"]);
    expect(fetched(run)).toEqual(["b 1"]);
  });

  test("what goes makes room for what the broker still has", () => {
    const run = sleeper({ messagesMax: 1, timeToLiveSeconds: 100 });
    for (let i = 1; i <= 18; i++) {
      comes(run, `a ${i}`);
      run.keep(run.bench.after(1_000));
    }
    expect(run.bench.core.session("c1")?.view.waitingMessages).toBe(17); // one is ours, sixteen fill the broker's window
    run.keep(run.bench.after(84_000));
    expect(fetched(run)).toContain("a 18");
  });

  test("an expired one that is about to be sent is not", () => {
    const bench = new Bench(buffer({ timeToLiveSeconds: 5 })).connected({ cleanSession: false }).subscribed("t", 1);
    const first = bench
      .link()
      .delivers({ payload: octets("1") })
      .message("PUBLISH");
    bench.link().delivers({ payload: octets("2") });
    bench.after(6_000);
    expect(bench.client(pubAck(first)).gets().drops).toEqual([]);
    expect(bench.core.session("c1")?.view.droppedMessages).toBe(1);
  });
});

describe("time over restarts [6.14]", () => {
  const noon = 1_800_000_000_000;

  /** One message that is kept for 100 s, 40 s old, and the gateway dies. */
  function aged(wallAhead?: number): GatewayRun {
    const run = sleeper({}, new GatewayRun(buffer({ timeToLiveSeconds: 100 }), undefined, wallAhead));
    comes(run, "a 1");
    run.keep(run.bench.after(40_000));
    return run;
  }

  test("the time between counts where the clock can be trusted", () => {
    expect(fetched(aged(noon).next(noon + 40_000 + 50_000))).toEqual(["a 1"]);
    const late = aged(noon).next(noon + 40_000 + 61_000);
    expect(late.keep(late.bench.after(1_000)).drops).toEqual(["expired"]);
    expect(fetched(late)).toEqual([]);
  });

  test("without a clock age stands still while the gateway is down; what is set later counts", () => {
    const dark = aged().next();
    expect(dark.keep(dark.bench.after(99_000)).drops).toEqual([]); // it did not know of the 40 s
    expect(dark.keep(dark.bench.after(2_000)).drops).toEqual(["expired"]);
    const run = aged(noon).next();
    expect(run.keep(run.bench.after(50_000)).drops).toEqual([]);
    run.bench.wallAhead = noon + 3_600_000;
    run.keep(run.bench.input({ kind: "clockSet" }));
    expect(run.keep(run.bench.after(1_000)).drops).toEqual(["expired"]);
  });

  test("a clock that was set back makes nothing older, and nothing live longer than its time", () => {
    const run = aged(noon).next(noon - 3_600_000);
    expect(run.keep(run.bench.after(99_000)).drops).toEqual([]);
    expect(run.keep(run.bench.after(2_000)).drops).toEqual(["expired"]);
  });

  test("what was stored without a clock is stored anew when there is one", () => {
    const run = aged();
    run.bench.wallAhead = noon;
    run.keep(run.bench.input({ kind: "clockSet" }));
    const [state] = [...run.table.states()];
    expect(state?.queued[0]?.[1]).toMatchObject({ left: 60_000, due: noon + run.bench.now + 60_000 });
    const next = run.next(noon + 41_000 + 61_000);
    expect(next.keep(next.bench.after(1_000)).drops).toEqual(["expired"]);
  });

  test("records of before live for ever", () => {
    const run = aged(noon);
    const [state] = [...run.table.states()];
    for (const [id, { publication }] of state?.queued ?? []) {
      const record = { publication, msgId: 0, released: false } as const;
      run.table.apply({ of: "queued", clientId: "c1", id, record });
    }
    expect(fetched(run.next(noon + 10_000_000))).toEqual(["a 1"]);
  });
});
