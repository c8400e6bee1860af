/**
 * Faults in how the gateway treats unknown senders and devices that restart: the judge has to find each. With SIM_WITHOUT_FAULT=1 the same
 * worlds run without them, and nothing may be found.
 */
import { vi } from "vitest";
import { Context } from "../../src/core/context.ts";
import { Outbox } from "../../src/core/state/outbox.ts";
import { SessionTable } from "../../src/core/state/session-table.ts";
import { testOptions } from "./options.ts";
import { findsEach, type PlantedFault, replace } from "./planted.ts";
import { swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const planted = vi.hoisted(() => ({ fault: "" }));

vi.mock("../../src/core/session/shut-out.ts", async (original) => {
  const shutOut = await original<typeof import("../../src/core/session/shut-out.ts")>();
  const staysAdmitted: typeof shutOut.staysAdmitted = (...all) =>
    planted.fault === "a restored session goes on for who is not let in" || shutOut.staysAdmitted(...all);
  return { ...shutOut, staysAdmitted };
});

interface Fault extends PlantedFault {
  readonly more: (usual: WorldOptions) => Partial<WorldOptions>;
}

const { freeMsgId } = Outbox.prototype;
const { toGiveUp } = SessionTable.prototype;
const quiet = { loss: 0, duplicate: 0, delayMs: [5, 50], storeFailure: 0, garbage: false, moves: false } as const;

const faults: Record<string, Fault> = {
  "squatters push out who speaks": {
    finding: /has made room for a newcomer/,
    more: ({ core, devices }) => ({
      ...quiet,
      squatters: true,
      absences: false,
      resets: false,
      core: { ...core, clients: { ...testOptions.clients, sessionsMax: devices + 4 } },
    }),
    plant: () =>
      replace(SessionTable.prototype, "toGiveUp", function (this: SessionTable, newcomer) {
        for (const session of this.live()) if (session.spoke) return session;
        return toGiveUp.call(this, newcomer);
      }),
  },
  "a restored session goes on for who is not let in": {
    finding: /which is not let in any more/,
    more: ({ core }) => ({
      ...quiet,
      crashes: true,
      denied: "c0",
      core: { ...core, durable: true },
      habits: { clean: false },
      resets: false,
    }),
  },
  "MsgIds have sixteen bits": {
    finding: /under the MsgId/,
    more: () => ({}),
    plant: () =>
      replace(Outbox.prototype, "freeMsgId", function (this: Outbox) {
        return freeMsgId.call(this) | 0x8000;
      }),
  },
  "what waits goes out before the new CONNACK": {
    finding: /before CONNACK/,
    from: 9,
    more: () => ({ ...quiet, resets: true, latencyMs: 1_000, habits: { clean: false, will: true } }),
    plant: () => replace(Context.prototype, "isConnecting", () => false),
  },
};

findsEach(faults, planted, ({ more }, seed, unchecked) => {
  const usual = swarm(seed);
  const world = new World({ ...usual, ...more(usual), unchecked });
  world.run(12 * 60_000);
  return world;
});
