/** Faults of what is kept, for how long, and by whom: each must be found, by the rule that is meant for it. */
import { expect, test } from "vitest";
import type { Core } from "../../src/core/core.ts";
import type { Effect } from "../../src/core/effect.ts";
import type { Input } from "../../src/core/input.ts";
import type { BufferPolicy, CoreOptions } from "../../src/core/options.ts";
import type { Change, QueuedRecord } from "../../src/core/record.ts";
import { testOptions } from "./options.ts";
import { Rng } from "./rng.ts";
import { policed, swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const seedsMax = 100;

type Plant = (options: WorldOptions) => Partial<WorldOptions>;

/** The same core; its inputs and effects are changed. */
function between(
  newChange: () => {
    in?: (input: Input) => Input;
    out?: (effects: readonly Effect[], input: Input | undefined) => readonly Effect[];
  },
): Plant {
  return () => ({
    wrap: (core: Core): Core => {
      const { in: hears = (input) => input, out = (effects) => effects } = newChange();
      return {
        handle: (input, now) => {
          const heard = hears(input);
          return out(core.handle(heard, now), heard);
        },
        timeout: (now) => out(core.timeout(now), undefined),
        nextDeadline: () => core.nextDeadline(),
        isConnecting: (peer) => core.isConnecting(peer),
      };
    },
  });
}

/** Changes that reach the disk are not those that the core asked for. */
const storing = (change: (change: Change) => readonly Change[]) =>
  between(() => ({
    out: (effects) =>
      effects.map((effect) =>
        effect.kind === "persist" ? { ...effect, changes: effect.changes.flatMap(change) } : effect,
      ),
  }));

/** What waits for clients is read back otherwise than it was written. */
const restoring = (change: (record: QueuedRecord) => QueuedRecord) =>
  between(() => ({
    in: (input) => {
      if (input.kind !== "restored") return input;
      const states = (input.states ?? []).map((state) => ({
        ...state,
        queued: state.queued.map(([seq, record]) => [seq, change(record)] as const),
      }));
      return { ...input, states };
    },
  }));

/** The core follows other rules than it was given. */
const obeying =
  (change: (policy: BufferPolicy) => BufferPolicy): Plant =>
  ({ core }) => {
    const buffer = core.buffer ?? testOptions.buffer;
    const policies = new Map<BufferPolicy, BufferPolicy>();
    const policyOf: CoreOptions["buffer"]["policyOf"] = (clientId, topicName) => {
      const policy = buffer.policyOf(clientId, topicName);
      const changed = policies.get(policy) ?? change(policy);
      policies.set(policy, changed);
      return changed;
    };
    return { cheat: { buffer: { ...buffer, policyOf } } };
  };

/** Fault -> what the finding says. */
const faults: Record<string, { readonly plant: Plant; readonly finding: RegExp; readonly brokerLatencyMs?: number }> = {
  "the newest goes instead of the oldest": {
    plant: obeying((policy) => (policy.atLimit === "oldest" ? { ...policy, atLimit: "newest" } : policy)),
    finding: /the newest went, not the oldest/,
  },
  "the oldest goes instead of the newest": {
    plant: obeying((policy) => (policy.atLimit === "newest" ? { ...policy, atLimit: "oldest" } : policy)),
    finding: /an older one went, not the newest/,
  },
  "what the broker would have kept is dropped": {
    plant: obeying((policy) =>
      policy.atLimit === "leave" ? { ...policy, atLimit: "oldest", messagesMax: 3 } : policy,
    ),
    finding: /the broker would have kept it/,
  },
  "every topic keeps its latest alone": {
    plant: obeying((policy) => ({ ...policy, keep: "latest" })),
    finding: /superseded\): no later one replaced it/,
  },
  "a clock that nobody has set is believed": {
    plant: () => ({ clock: "late", believes: true, habits: { clean: false, sleepSeconds: 900, subscribeQoS: 1 } }),
    finding: /expired\): it was \d+ ms old/,
  },
  "the time to live is half of what was said": {
    plant: obeying((policy) => ({ ...policy, timeToLiveSeconds: policy.timeToLiveSeconds / 2 })),
    finding: /expired\): it was \d+ ms old/,
  },
  "a restart makes messages young again": {
    plant: (options) => ({
      ...restoring(({ left: _left, due: _due, ...record }) => record)(options),
      clock: "always",
    }),
    finding: /past its time to live/,
  },
  "what is dropped is not kept as a dead letter": {
    plant: storing((change) => (change.of === "letter" ? [] : [change])),
    finding: /never got .* acknowledged to the broker|after a later one/,
  },
  "a message that was dropped for its age was one that the device may have": {
    plant: restoring((record) => ({ ...record, msgId: 0, released: false })),
    finding: /then as|times|again after its PUBREC|is unanswered|has DUP|again without DUP/,
  },
  "the broker is acknowledged before the message is on disk": {
    plant: between(() => ({
      out: (effects) =>
        effects.map((effect) => {
          if (effect.kind !== "ackBroker") return effect;
          const { after: _after, behind: _behind, ...at } = effect;
          return at;
        }),
    })),
    finding: /never got .* acknowledged to the broker/,
  },
  "a device is told that its message is taken before it is on disk": {
    plant: between(() => ({
      out: (effects) =>
        effects.map((effect) => {
          if (effect.kind !== "send") return effect;
          const { after: _after, behind: _behind, ...at } = effect;
          return at;
        }),
    })),
    finding: /neither the broker has nor the disk/,
  },
  "a record leaves the backlog before the broker has acknowledged it": {
    plant: between(() => {
      const ids = new Map<string, { clientId: string; id: number }>();
      return {
        in: (input) => {
          if (input.kind !== "fetched") return input;
          for (const [id, { publication }] of input.entries)
            ids.set(textOf(publication.payload), { clientId: input.clientId, id });
          return input;
        },
        out: (effects) =>
          effects.flatMap((effect): readonly Effect[] => {
            if (effect.kind !== "publish" || effect.publication.qos !== 1) return [effect];
            const of = ids.get(textOf(effect.publication.payload));
            if (!of) return [effect];
            const change: Change = { of: "backlog", ...of, record: undefined };
            return [{ kind: "persist", changes: [change], token: 0 }, effect];
          }),
      };
    }),
    finding: /is published; the broker never got it/,
    brokerLatencyMs: 2_000,
  },
  "the record that accepted a message is not read after a crash": {
    plant: between(() => ({
      in: (input) => {
        if (input.kind !== "restored") return input;
        return { ...input, states: (input.states ?? []).map((state) => ({ ...state, backlog: undefined })) };
      },
    })),
    finding: /is published; the broker never got it|reached the broker after/,
  },
};

for (const [name, { plant, finding, brokerLatencyMs }] of Object.entries(faults)) {
  test(`found: ${name}`, { timeout: 120_000 }, () => {
    expect(firstFinding(plant, brokerLatencyMs), `within ${seedsMax} seeds`).toMatch(finding);
  });
}

test("without a fault the same runs are faultless", { timeout: 120_000 }, () => {
  expect(firstFinding(() => ({}), 20, 15)).toBe("nothing");
  expect(firstFinding(() => ({}), 2_000, 10)).toBe("nothing");
});

/** Runs in which all of this matters: a disk, rules, a broker that goes away, crashes. */
function kind(seed: number): WorldOptions {
  const options = swarm(seed);
  const policy = testOptions.uplink.policyOf("");
  return {
    ...options,
    crashes: true,
    outages: true,
    storeFailure: 0,
    brokerForgets: 0,
    core: {
      ...options.core,
      durable: true,
      buffer: policed(new Rng(seed)),
      uplink: { ...testOptions.uplink, policyOf: () => ({ ...policy, whenAway: "store" }) },
    },
  };
}

function firstFinding(plant: Plant, brokerLatencyMs = 20, seeds = seedsMax): string {
  for (let seed = 1; seed <= seeds; seed++) {
    const options = kind(seed);
    try {
      const slow = brokerLatencyMs > 20 && { habits: { will: false } }; // it gets DISCONNECTs too late to drop wills
      const world = new World({ ...options, ...slow, ...plant(options) });
      world.broker.latencyMs = brokerLatencyMs;
      world.live();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "nothing";
}

function textOf(octets: Uint8Array): string {
  return Buffer.from(octets).toString();
}
