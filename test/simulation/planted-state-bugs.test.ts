/**
 * Faults inside the core that devices and brokers do not see, or not for long: the check of its state has to find them.
 *
 * With SIM_JUDGE_ALONE=1 the same faults go through 200 runs each without that check, and nothing may be found: what the
 * judge sees by itself does not belong here. That takes many minutes.
 */
import { afterEach, expect, test, vi } from "vitest";
import type { Core } from "../../src/core/core.ts";
import type { GatewayCore } from "../../src/core/gateway-core.ts";
import type { Input } from "../../src/core/input.ts";
import { Journal } from "../../src/core/journal.ts";
import { PeerForm } from "../../src/core/peer-form.ts";
import { BrokerSession } from "../../src/core/state/broker-session.ts";
import { ParkedSessions } from "../../src/core/state/parked-sessions.ts";
import { RestingFilters } from "../../src/core/state/resting-filters.ts";
import type { Session } from "../../src/core/state/session.ts";
import { SessionTable } from "../../src/core/state/session-table.ts";
import { SharedConnection } from "../../src/core/state/shared-connection.ts";
import type { PeerId } from "../../src/core/types.ts";
import { replace } from "./planted.ts";
import { type Mode, swarm } from "./swarm.ts";
import { World } from "./world.ts";

/** Which fault is in the functions that are replaced below, and what the turn is about. */
const planted = vi.hoisted(() => ({ fault: "", count: 0 }));
let input: Input | undefined;

vi.mock("../../src/core/state/outbox-entry.ts", async (original) => {
  const outbox = await original<typeof import("../../src/core/state/outbox-entry.ts")>();
  const unbindDelivery: typeof outbox.unbindDelivery = (entry) => {
    const received = outbox.unbindDelivery(entry);
    if (received && planted.fault === "half a pair") received.held = true;
    return received;
  };
  return { ...outbox, unbindDelivery };
});

vi.mock("../../src/core/session/publish-down.ts", async (original) => {
  const publishDown = await original<typeof import("../../src/core/session/publish-down.ts")>();
  const sendNext: typeof publishDown.sendNext = (context, session) => {
    // The first few only: what comes later moves on what they left.
    const isLeft = planted.fault === "nobody moves the outbox on" && input?.kind === "delivered" && planted.count++ < 3;
    if (!isLeft) publishDown.sendNext(context, session);
  };
  return { ...publishDown, sendNext };
});

vi.mock("../../src/core/session/session-record.ts", async (original) => {
  const records = await original<typeof import("../../src/core/session/session-record.ts")>();
  const moveTo: typeof records.moveTo = (context, session, peer) => {
    if (planted.fault === "a move is not marked") context.sessions.bind(session, peer);
    else records.moveTo(context, session, peer);
  };
  return { ...records, moveTo };
});

vi.mock("../../src/core/broker/retained.ts", async (original) => {
  const retained = await original<typeof import("../../src/core/broker/retained.ts")>();
  const noteAnswered: typeof retained.noteAnswered = (context, waits) => {
    if (planted.fault !== "a wait without an end") return retained.noteAnswered(context, waits);
    for (const wait of waits) wait.until = context.now + 30_000;
  };
  return { ...retained, noteAnswered };
});

vi.mock("../../src/core/broker/shared-subscriptions.ts", async (original) => {
  const subscriptions = await original<typeof import("../../src/core/broker/shared-subscriptions.ts")>();
  const subscribeOverShared: typeof subscriptions.subscribeOverShared = (context, shared, session, request) => {
    subscriptions.subscribeOverShared(context, shared, session, request);
    if (planted.fault === "a member of another QoS")
      for (const { filters } of shared.all()) filters.get(request.filter)?.members.set(session.row, 2);
  };
  return { ...subscriptions, subscribeOverShared };
});

vi.mock("../../src/core/broker/links.ts", async (original) => {
  const links = await original<typeof import("../../src/core/broker/links.ts")>();
  const detach: typeof links.detach = (context, session, options) => {
    const id = session.broker.link?.id;
    const link = id && context.links.get(id);
    links.detach(context, session, options);
    if (planted.fault === "a link stays in the table" && link && planted.count++ === 0)
      context.links.set(link.id, link);
  };
  return { ...links, detach };
});

vi.mock("../../src/core/session/end.ts", async (original) => {
  const end = await original<typeof import("../../src/core/session/end.ts")>();
  const endSession: typeof end.endSession = (context, session, why) => {
    end.endSession(context, session, why);
    if (planted.fault === "a session that is over has a deadline")
      context.deadlines.set(session.expiry, context.now + 60_000);
  };
  return { ...end, endSession };
});

afterEach(() => {
  Object.assign(planted, { fault: "", count: 0 });
});

interface Fault {
  readonly finding: RegExp;
  readonly mode?: Mode;
  /** What is not in a function that is replaced above. */
  readonly plant?: () => void;
  /** Goes wrong after a turn. */
  readonly after?: (core: GatewayCore, events: readonly string[]) => void;
}

const { mark } = Journal.prototype;
const { setIdle } = SessionTable.prototype;
const { queue, sent } = BrokerSession.prototype;
const { add, rowOf } = ParkedSessions.prototype;
const { read } = PeerForm.prototype;
const isSubscribe = () => input?.kind === "datagram" && input.bytes[1] === 0x12;

const faults: Record<string, Fault> = {
  "a SUBSCRIBE is not marked": {
    plant: () =>
      replace(Journal.prototype, "mark", function (this: Journal, ...all) {
        if (!isSubscribe()) mark.apply(this, all);
      }),
    finding: /"(topics|spoke)" of its session changed, and it was not marked/,
  },
  "a move is not marked": { finding: /"peer" of its session changed, and it was not marked/ },
  "a counter is one too many": {
    after: ({ counters }, events) => {
      const { buffered } = counters;
      if (events.includes("session_ended")) Object.assign(buffered, { messages: buffered.messages + 1 });
    },
    finding: /the counter bufferedMessages says \d+, all clients together have/,
  },
  "half a pair": { finding: /is held for a client, and|say that they are held/ },
  "nobody moves the outbox on": { finding: /none is in flight, and nobody moves them on/ },
  "a connected client counts as one without": {
    plant: () =>
      replace(SessionTable.prototype, "setIdle", function (this: SessionTable, session, idle) {
        if (idle) setIdle.call(this, session, idle);
      }),
    finding: /is active, and among those without a client/,
  },
  "what waits stands in the line twice": {
    plant: () =>
      replace(BrokerSession.prototype, "queue", function (this: BrokerSession<Session>, exchange) {
        queue.call(this, exchange);
        queue.call(this, exchange);
      }),
    finding: /wait for the broker's window, in the line are/,
  },
  "the window counts a message twice": {
    plant: () =>
      replace(BrokerSession.prototype, "sent", function (this: BrokerSession<Session>, exchange) {
        sent.call(this, exchange);
        if (exchange.kind === "publish" && exchange.publication.qos === 1) sent.call(this, exchange);
      }),
    finding: /publications are open at the broker .*, counted are/,
  },
  "a session that is over has a deadline": { finding: /a session that is over has its deadline "expiry" still/ },
  "a wait without an end": { mode: "aggregating", finding: /waits for what is retained, for ever/ },
  "a member of another QoS": { mode: "aggregating", finding: /subscribes at QoS \d, and gets it at 2/ },
  "a parked client has no address any more": {
    mode: "aggregating",
    plant: () =>
      replace(ParkedSessions.prototype, "add", function (this: ParkedSessions, session, due) {
        const { peer } = session;
        session.peer = undefined;
        add.call(this, session, due);
        session.peer = peer;
      }),
    finding: /is parked, and would come back with "peer"/,
  },
  "the deadline of a parked client comes late": {
    mode: "aggregating",
    plant: () =>
      replace(ParkedSessions.prototype, "add", function (this: ParkedSessions, session, due) {
        add.call(this, session, due + 60_000);
      }),
    finding: /would come back with "silence\."/,
  },
  "a parked client is not found by its id": {
    mode: "aggregating",
    plant: () =>
      replace(ParkedSessions.prototype, "rowOf", function (this: ParkedSessions, clientId) {
        return clientId.endsWith("1") ? -1 : rowOf.call(this, clientId);
      }),
    finding: /is not found by its id/,
  },
  "the address of a parked client is read wrongly": {
    mode: "aggregating",
    plant: () =>
      replace(PeerForm.prototype, "read", function (this: PeerForm, from) {
        return `${read.call(this, from)}0` as PeerId;
      }),
    finding: /is parked, and would come back with "peer"/,
  },
  "a filter rests still when its client is there again": {
    mode: "aggregating",
    plant: () => replace(RestingFilters.prototype, "wakeOf", () => undefined),
    finding: /rests as \d+, and nobody has a filter for it/,
  },
  "a filter rests while the broker is asked for it": {
    mode: "aggregating",
    plant: () => replace(SharedConnection.prototype, "isQuiet", () => true),
    finding: /is asked for, and stands there as another entry/,
  },
  "a link stays in the table": { finding: /is in the table, and its MQTT session has done with it/ },
};

const isJudgeAlone = process.env["SIM_JUDGE_ALONE"] !== undefined;
const seedsMax = isJudgeAlone ? 200 : 60;

for (const [name, fault] of Object.entries(faults)) {
  const title = isJudgeAlone ? "not seen from outside" : "found";
  test(`${title}: ${name}`, { timeout: 3_600_000 }, () => {
    planted.fault = name;
    fault.plant?.();
    const finding = firstFinding(fault);
    if (isJudgeAlone) expect(finding).toBe("nothing");
    else expect(finding, `within ${seedsMax} seeds`).toMatch(fault.finding);
  });
}

function firstFinding({ mode = "transparent", after }: Fault): string {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const options = swarm(seed, mode);
    // Marks mean nothing without a store, and without them crashes would find no session.
    const core = { ...options.core, durable: true };
    planted.count = 0;
    try {
      new World({
        ...options,
        core,
        unchecked: isJudgeAlone,
        wrap: (each) => noting(each as GatewayCore, after),
      }).live();
    } catch (error) {
      return `seed ${seed}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return "nothing";
}

/** Notes what the turn is about, and does harm after it. */
function noting(core: GatewayCore, after: Fault["after"]): Core {
  const harm = (effects: ReturnType<Core["handle"]>) => {
    after?.(
      core,
      effects.flatMap((effect) => (effect.kind === "report" ? [effect.event.event] : [])),
    );
    return effects;
  };
  return {
    handle: (each, now) => {
      input = each;
      return harm(core.handle(each, now));
    },
    timeout: (now) => {
      input = undefined;
      return harm(core.timeout(now));
    },
    nextDeadline: () => core.nextDeadline(),
    isConnecting: (peer) => core.isConnecting(peer),
  };
}
