/** Faults of DTLS between two runs, and within one: each must be found, by the rule that is meant for it. */
import { afterEach, expect, test, vi } from "vitest";
import { jumpOctets } from "../../src/secure/context.ts";
import { recordOf, stateOf } from "../../src/secure/record-of.ts";
import { ReplayWindow } from "../../src/secure/window.ts";
import type { SecureKeeper } from "../../src/transports/transport.ts";
import type { SecureHabits } from "./secure-network.ts";
import { liveSecure, secureSwarm } from "./secure-world.ts";
import { Violation } from "./violation.ts";

const seedsMax = 60;

afterEach(() => void vi.restoreAllMocks());

type Plant = Partial<SecureHabits>;
type State = NonNullable<ReturnType<typeof stateOf>>;

/** What the next run reads is not what was written. */
const reading =
  (change: (state: State) => State): NonNullable<Plant["restored"]> =>
  (records) =>
    records.flatMap((record) => {
      const state = stateOf(record);
      return state ? [recordOf(change(state))] : [];
    });

/** A gateway that continues at the ceiling that it finds: its jump, which the test cannot remove, is subtracted before. */
const withoutJump: Plant = {
  random: (octets) => (octets === jumpOctets ? new Uint8Array(octets) : undefined),
  restored: reading((state) => ({ ...state, ceiling: Math.max(0, state.ceiling - 2 ** 24) })),
};

/** A cache: what should be stored is stored with the next change, and nothing waits for it. */
const lazy = (keeper: SecureKeeper): SecureKeeper => {
  let owed: Parameters<SecureKeeper["keep"]>[0] = [];
  return {
    ...keeper,
    keep: (changes, done) => {
      keeper.keep(owed, () => {});
      owed = changes;
      done(true);
    },
  };
};

/** Fault -> what the finding says. */
const faults: Record<string, { readonly plant: Plant; readonly mock?: () => void; readonly finding: RegExp }> = {
  "the jump is left out, and the store is an older copy": {
    plant: { ...withoutJump, copies: ["same", "old"] },
    finding: /a nonce is used twice/,
  },
  "numbers are not reserved ahead, where there is no jump": {
    plant: {
      ...withoutJump,
      copies: ["same"],
      restored: reading((state) => ({ ...state, ceiling: Math.max(0, state.ceiling - 1_024 - 2 ** 24) })),
    },
    finding: /a nonce is used twice/,
  },
  "Finished leaves before the context is stored": {
    plant: { copies: ["same"], keeper: lazy, repeats: false },
    finding: /has a context, and the gateway does not know it any more/,
  },
  "the context is stored without its connection id": {
    plant: { copies: ["same"], restored: reading((state) => ({ ...state, cid: undefined })), withoutCid: 0 },
    finding: /has a context, and the gateway does not know it any more/,
  },
  "contexts are in a backup": {
    plant: { copies: ["same", "backup"], backupHolds: true, repeats: true },
    finding: /handed on a second time/,
  },
  "the numbers that came are not kept over a restart": {
    plant: { copies: ["same"], repeats: true, restored: reading((state) => ({ ...state, readTop: -1 })) },
    finding: /handed on a second time/,
  },
  "there is no replay window": {
    plant: { copies: ["same"], repeats: true },
    mock: () => vi.spyOn(ReplayWindow.prototype, "isFresh").mockReturnValue(true),
    finding: /handed on a second time/,
  },
  "every record moves the device to where it came from": {
    plant: { copies: ["same"], withoutCid: 0, relayed: 0.5 },
    mock: () => {
      const take = ReplayWindow.prototype.take;
      vi.spyOn(ReplayWindow.prototype, "take").mockImplementation(function (this: ReplayWindow, seq) {
        take.call(this, seq);
        return true;
      });
    },
    finding: /an old record of \w+ led answers to/,
  },
};

test.each(Object.entries(faults))("%s: found", { timeout: 600_000 }, (_fault, { plant, mock, finding }) => {
  mock?.();
  for (let seed = 1; seed <= seedsMax; seed++) {
    const options = secureSwarm(seed, seed % 2 === 0 ? "transparent" : "aggregating");
    if (!options.secure) throw new Error("no DTLS in this world");
    const core = { ...options.core, durable: true };
    const troubles = { moves: true, resets: true, crashes: true, crashCalls: [10, 100], delayMs: [5, 2_000] } as const;
    try {
      liveSecure({ ...options, ...troubles, core, secure: { ...options.secure, ...plant } });
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      expect(error.message).toMatch(finding);
      return;
    }
  }
  throw new Error(`not found in ${seedsMax} seeds`);
});
