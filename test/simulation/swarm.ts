/** What a world may be like, and the worlds of the everyday runs: everything by the dice of a seed. */

import type { Core } from "../../src/core/core.ts";
import type { BufferPolicy, CoreOptions } from "../../src/core/options.ts";
import type { Copies, Will } from "../../src/core/types.ts";
import type { AnyDevice } from "../../src/device/device.ts";
import type { SeenPacket } from "./broker.ts";
import { keepAll, testOptions } from "./options.ts";
import { Rng } from "./rng.ts";
import type { SecureHabits } from "./secure-network.ts";
import type { DeviceHabits } from "./sim-device.ts";

export type Mode = CoreOptions["upstream"]["mode"];

export interface WorldOptions {
  readonly seed: number;
  /** Each fault may be off, so that seeds differ in kind. */
  readonly loss: number;
  readonly duplicate: number;
  readonly delayMs: readonly [number, number];
  readonly brokerCut: number;
  readonly brokerForgets: number;
  readonly outages: boolean;
  readonly resets: boolean;
  readonly moves: boolean;
  /** Devices fall silent for minutes (out of range, an empty battery), and some send DISCONNECT. */
  readonly absences: boolean;
  readonly crashes: boolean;
  /** A gateway that starts serves clients while it restores most sessions. */
  readonly restoresLate?: boolean;
  /** Between so many calls of an edge it dies. */
  readonly crashCalls?: readonly [number, number];
  /** The gateway's process stands still now and then, for up to a minute. */
  readonly stalls: boolean;
  readonly garbage: boolean;
  readonly devices: number;
  readonly storeFailure: number;
  readonly core: Partial<CoreOptions>;
  /** Whether the gateway's wall clock can be trusted: never, always, or minutes after each start. */
  readonly clock: "never" | "always" | "late";
  /** The first run is killed before this call of an edge, if crashes are off; the share of its commits in progress that survives. */
  readonly crashAt?: { readonly call: number; readonly share: number };
  /** What is usual: a publication for devices every few seconds, a new attempt at the broker within five. */
  readonly pace?: { readonly publishMs: readonly [number, number]; readonly reconnectMs: readonly [number, number] };
  readonly habits?: Partial<DeviceHabits>;
  /**
   * Packets for which the broker closes the connection: nothing else may be taken out. Besides, until all heals, the broker closes for
   * others, only because of their place or time; these are not at fault.
   */
  readonly poison?: ((packet: SeenPacket) => boolean) | undefined;
  /** The packets for which `poison` may be true, at any place and time. */
  readonly mayBePoison?: ((packet: SeenPacket) => boolean) | undefined;
  /** Of these the broker has noted the packet id before it closes. */
  readonly notes?: ((packet: SeenPacket) => boolean) | undefined;
  /** For which wills it closes at CONNECT, until everything is healed. */
  readonly willPoison?: ((will: Will) => boolean) | undefined;
  readonly sickness?: ((packet: SeenPacket) => boolean) | undefined;
  readonly lateMs?: number;
  /** From one end of the line to the broker to the other. */
  readonly latencyMs?: number;
  /** All lines to the broker are cut every so often, besides. */
  readonly flapMs?: readonly [number, number] | undefined;
  /** What cuts a line looks as if the broker had closed it. */
  readonly cutsBlame?: boolean;
  /** The longest time that other clients may be without an answer: `poison-law.ts`. */
  readonly silenceMaxMs?: number;
  /** Pauses between attempts at the broker are the shipped ones. */
  readonly pauses?: boolean;
  /** Unknown clients send CONNECT with new ids and a keep alive of 65535 s, and never send anything again. */
  readonly squatters?: boolean;
  /** Clients that the rules of the gateway's later runs do not admit. */
  readonly denied?: string;
  /** Devices publish with RETAIN and of all lengths, subscribe to this and that and end it, and give their wills other topics. */
  readonly toys?: boolean;
  /** The gateway takes its clock for right before it is set. */
  readonly believes?: boolean;
  /** Puts something between the driver and the core: a planted bug. */
  readonly wrap?: (core: Core) => Core;
  /** Settings that only the core sees: the rules judge by the others. */
  readonly cheat?: Partial<CoreOptions>;
  /** Only what devices and brokers see is judged: the core's state is not looked at. */
  readonly unchecked?: boolean;
  /** Devices with small buffers, or without code for a REGISTER; messages of all sizes. */
  readonly smallClients?: boolean;
  /** How the broker sends a message to a connection several of whose filters match: once, or (then each device has one) for each. */
  readonly copies?: Copies;
  /** Devices have keys, and speak DTLS. */
  readonly secure?: SecureHabits;
  /** Other devices than those of src/device. */
  readonly device?: (clientId: string) => AnyDevice;
}

/** Devices of every tenth seed, whose runs are shorter. */
export const crowd = 60;

const never = Number.POSITIVE_INFINITY;

/** Everything by the dice of the seed. */
export function swarm(seed: number, mode: Mode = "transparent"): WorldOptions {
  const rng = new Rng(seed ^ 0x5eed);
  const durable = new Rng(seed ^ 0xd0ab).chance(0.6);
  const stores = durable && new Rng(seed ^ 0x5703).chance(0.75);
  const polices = durable && new Rng(seed ^ 0xb0ff).chance(0.4);
  const some = (chance: number, value: () => number) => (rng.chance(chance) ? value() : 0);
  return {
    seed,
    loss: some(0.6, () => rng.between(0.01, 0.25)),
    duplicate: some(0.5, () => rng.between(0.01, 0.2)),
    delayMs: rng.chance(0.5) ? [5, 50] : [5, rng.between(100, 3_000)],
    brokerCut: some(0.4, () => rng.between(0.001, 0.02)),
    brokerForgets: some(0.2, () => 0.5),
    outages: rng.chance(0.3),
    resets: rng.chance(0.3),
    moves: rng.chance(0.4),
    absences: new Rng(seed ^ 0xab5e).chance(0.4),
    crashes: rng.chance(0.25),
    restoresLate: new Rng(seed ^ 0x1a7e).chance(0.5),
    stalls: new Rng(seed ^ 0x57a1).chance(0.3),
    garbage: rng.chance(0.3),
    devices: seed % 10 === 0 ? crowd : rng.int(2, 6),
    storeFailure: some(0.2, () => 0.05),
    clock: new Rng(seed ^ 0xc10c).pick(["never", "always", "late"]),
    core: {
      durable,
      ...(new Rng(seed ^ 0xa5c0).chance(0.5) && { askedAtOnce: new Rng(seed ^ 0xa5c1).pick([1, 2, 4]) }),
      uplink: stores ? storing(new Rng(seed ^ 0x570e)) : testOptions.uplink,
      buffer: bufferFor(rng.chance(0.3), polices ? new Rng(seed ^ 0xb0f1) : undefined),
      deadLetters: { ...testOptions.deadLetters, superseded: true },
      clients: { ...testOptions.clients, parkAfterMs: new Rng(seed ^ 0x9a4c).pick([0, 0, 0, 10_000, never]) },
      upstream: {
        ...testOptions.upstream,
        mode,
        connections: new Rng(seed ^ 0xc099).chance(0.3) ? 2 : 1,
        will: { held: rng.chance(0.3) ? "gateway" : "broker", delaySeconds: 120 },
      },
    },
  };
}

function bufferFor(isTight: boolean, policies: Rng | undefined): CoreOptions["buffer"] {
  if (policies) return policed(policies);
  return isTight ? { ...testOptions.buffer, messagesMax: 5, extraPerWakeMax: 3 } : testOptions.buffer;
}

/** Each of a client's four topics has its own rule. */
export function policed(rng: Rng): CoreOptions["buffer"] {
  const rules: readonly BufferPolicy[] = [
    { ...keepAll, timeToLiveSeconds: rng.pick([30, 120, 600]) },
    { ...keepAll, atLimit: "oldest", messagesMax: rng.int(1, 4) },
    { ...keepAll, atLimit: "newest", messagesMax: rng.int(1, 4), timeToLiveSeconds: rng.pick([0, 300]) },
    { ...keepAll, keep: "latest", qos0WhileAsleep: rng.chance(0.5) },
  ];
  const perWakeMax = rng.chance(0.3) ? 3 : Number.POSITIVE_INFINITY;
  return {
    ...testOptions.buffer,
    perWakeMaxOf: () => perWakeMax,
    policyOf: (_clientId, topicName) => rules[Number(topicName.at(-1)) % rules.length] ?? keepAll,
  };
}

/** Store and forward, with limits that are reached now and then. */
function storing(rng: Rng): CoreOptions["uplink"] {
  const policy = {
    whenAway: "store",
    qos0: rng.chance(0.2),
    messagesMax: rng.chance(0.3) ? 4 : 1_000,
    bytesMax: 1_000_000,
    ageSecondsMax: 0,
    atLimit: rng.pick(["refuse", "oldest", "newest"] as const),
  } as const;
  return { ...testOptions.uplink, drainPerSecond: rng.pick([2, 50, 1_000]), policyOf: () => policy };
}
