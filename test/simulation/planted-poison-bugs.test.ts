/**
 * Faults in the search for packets for which a broker closes: the judge of poison has to find each of them. With
 * SIM_WITHOUT_FAULT=1 the same worlds are lived without them, and nothing may be found.
 */
import { vi } from "vitest";
import { BrokerSession } from "../../src/core/state/broker-session.ts";
import type { Exchange } from "../../src/core/state/exchanges.ts";
import { searchFigures } from "../../src/core/state/search-figures.ts";
import type { Session } from "../../src/core/state/session.ts";
import { Suspects } from "../../src/core/state/suspects.ts";
import type { SeenPacket } from "./broker.ts";
import { findsEach, type PlantedFault, replace } from "./planted.ts";
import { livePoisoned, poisonedOptions } from "./poison-world.ts";
import type { Mode, WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const planted = vi.hoisted(() => ({ fault: "" }));

vi.mock("../../src/core/broker/experience-record.ts", async (original) => {
  const records = await original<typeof import("../../src/core/broker/experience-record.ts")>();
  const restoreExperience: typeof records.restoreExperience = (context, broker, clientId, stored) => {
    const left = planted.fault === "strikes are lost at a restart" ? { ...stored, suspects: [] } : stored;
    records.restoreExperience(context, broker, clientId, left);
  };
  return { ...records, restoreExperience };
});

vi.mock("../../src/core/session/store-and-forward.ts", async (original) => {
  const storing = await original<typeof import("../../src/core/session/store-and-forward.ts")>();
  const acceptInFlight: typeof storing.acceptInFlight = (context, session) => {
    const isPlanted = planted.fault === "a suspect is acknowledged";
    const suspects = [...session.publishesInFlight.values()].flatMap(({ suspicion }) =>
      isPlanted && suspicion?.isSuspect ? [suspicion] : [],
    );
    for (const suspicion of suspects) suspicion.isSuspect = false;
    storing.acceptInFlight(context, session);
    for (const suspicion of suspects) suspicion.isSuspect = true;
  };
  return { ...storing, acceptInFlight };
});

type Search = Suspects<Exchange<Session>>;

const { ended } = Suspects.prototype;
const { freePacketId } = BrokerSession.prototype;

interface Fault extends PlantedFault {
  readonly mode: Mode;
  /** The world of this seed, where the usual ones would show it too seldom. */
  readonly more?: (usual: WorldOptions, world: () => World) => Partial<WorldOptions>;
}

const noPoison = { poison: () => false, mayBePoison: () => false, notes: undefined, sickness: undefined } as const;
const calm = { flapMs: undefined, latencyMs: 20, lateMs: 0, cutsBlame: false, brokerCut: 0, outages: false } as const;
const durable = { crashes: false, storeFailure: 0 } as const;

/** The planted fault is not about long silence. */
const patient = { silenceMaxMs: Number.POSITIVE_INFINITY } as const;

/** Closes for some of what this client says, and does something else a moment after the n-th end. */
function meanwhile(endsMin: number, inMs: number, world: () => World, what: (world: World) => void) {
  const ends = new Map<string, number>();
  const isPoison = ({ kind, text }: SeenPacket) => kind === "publish" && /^c0#\d*[05]/.test(text);
  const poison = (packet: SeenPacket) => {
    if (!isPoison(packet)) return false;
    const times = (ends.get(packet.text) ?? 0) + 1;
    ends.set(packet.text, times);
    if (times === endsMin) world().time.plan(inMs, () => what(world()));
    return true;
  };
  return { ...noPoison, ...calm, ...patient, ...durable, poison, mayBePoison: isPoison };
}

function storing({ core }: WorldOptions): Pick<WorldOptions, "core"> {
  if (!core.uplink) throw new Error("a swarm says how publications are stored");
  const policy = { ...core.uplink.policyOf(""), whenAway: "store" as const };
  return { core: { ...core, durable: true, uplink: { ...core.uplink, policyOf: () => policy } } };
}

const faults: Record<string, Fault> = {
  "the first is blamed": {
    mode: "aggregating",
    from: 7,
    finding: /the broker closed for it|never closed for it/,
    more: () => ({ lateMs: 200, ...patient }),
    plant: () => {
      const first = new WeakMap<Search, Map<string, number>>();
      replace(Suspects.prototype as Search, "ended", function (this: Search, now, outside, end, identify) {
        const right = (ended as Search["ended"]).call(this, now, outside, end, identify);
        const [packet] = outside;
        if (right.takenOut || !packet || !end.blames) return right;
        const { key, client } = identify(packet);
        const times = first.get(this) ?? new Map<string, number>();
        first.set(this, times.set(key, (times.get(key) ?? 0) + 1));
        if ((times.get(key) ?? 0) < searchFigures.epochsToTakeOut) return right;
        this.suspect({ key, client });
        if (!packet.suspicion) this.attach(packet, key);
        return { ...right, takenOut: this.find(key) };
      });
    },
  },
  "no witness is asked for": {
    mode: "transparent",
    finding: /the broker closed for it|never closed for it/,
    more: () => ({ ...noPoison, ...calm, ...patient, sickness: ({ at }) => at > 100_000 && at < 200_000 }),
    plant: () =>
      replace(Suspects.prototype as Search, "ended", function (this: Search, ...all) {
        for (const suspicion of this.suspects) suspicion.witnessed = true;
        return (ended as Search["ended"]).apply(this, all);
      }),
  },
  "a witness counts however few went before it": {
    mode: "aggregating",
    finding: /the broker closed for it|never closed for it/,
    more: () => ({ ...noPoison, ...calm, ...patient, sickness: ({ ordinal }) => ordinal % 2 === 0 }),
    plant: () =>
      replace(Suspects.prototype as Search, "ended", function (this: Search, ...all) {
        const right = (ended as Search["ended"]).apply(this, all);
        for (const suspicion of this.suspects) suspicion.ordinal = 0;
        return right;
      }),
  },
  "chance is not excluded": {
    mode: "aggregating",
    from: 11,
    finding: /the broker closed for it|never closed for it/,
    more: () => ({
      ...noPoison,
      ...calm,
      ...patient,
      cutsBlame: true,
      flapMs: [500, 12_000],
      latencyMs: 1_000,
      sickness: () => false,
    }),
    plant: () => replace(searchFigures as { chanceMax: number }, "chanceMax", 2),
  },
  "the packet id is used again": {
    mode: "aggregating",
    finding: /neither the broker has nor the disk|told published, and is nowhere|the broker never had it/,
    more: () => {
      const isPoison = ({ kind, qos, text }: SeenPacket) => kind === "publish" && qos === 2 && /#\d*[05]/.test(text);
      return { ...noPoison, ...calm, ...patient, poison: isPoison, mayBePoison: isPoison, notes: isPoison };
    },
    plant: () =>
      replace(
        BrokerSession.prototype as BrokerSession<Session>,
        "freePacketId",
        function (this: BrokerSession<Session>) {
          for (const packetId of this.retired.keys()) if (!this.inFlight.has(packetId)) return packetId;
          return freePacketId.call(this);
        },
      ),
  },
  "strikes are lost at a restart": {
    mode: "aggregating",
    finding: /stands on disk as a suspect, and is not alone outside/,
    more: (usual, world) => ({ ...meanwhile(4, 1_500, world, (each) => each.cutPower()), ...storing(usual) }),
  },
  "a suspect is acknowledged": {
    mode: "aggregating",
    finding: /stands on disk as a suspect, and its device hears that it is accepted/,
    more: (usual, world) => ({
      ...meanwhile(4, 500, world, (each) => each.brokerLeaves(30_000)),
      ...storing(usual),
    }),
  },
};

findsEach(faults, planted, ({ mode, more }, seed, unchecked) => {
  const usual = poisonedOptions(seed, mode);
  const world: World = new World({ ...usual, ...more?.(usual, () => world), unchecked });
  return livePoisoned(world);
});
