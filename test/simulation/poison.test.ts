/**
 * A broker that closes the connection for some packets, and for some wills at CONNECT, by a predicate that only the judge knows:
 * nothing else is taken out, everything else arrives, QoS 2 once. Beside it cuts, outages, late acknowledgements and restarts.
 */
import { expect, test } from "vitest";
import type { Will } from "../../src/core/types.ts";
import type { SeenPacket } from "./broker.ts";
import { Rng } from "./rng.ts";
import { type Mode, swarm, World, type WorldOptions } from "./world.ts";

const first = Number(process.env["SIM_FIRST"] ?? 1);
const count = Number(process.env["SIM_POISON_SEEDS"] ?? 12);

test.each(["transparent", "aggregating"] as const)(
  "nothing but poison is taken out (%s)",
  { timeout: 600_000 },
  (mode) => {
    let taken = 0;
    let leftOut = 0;
    for (let seed = first; seed < first + count; seed++) {
      const world = new World(poisoned(seed, mode));
      try {
        world.live();
      } catch (error) {
        if (process.env["SIM_TRACE"])
          process.stderr.write(`${world.trace.slice(-Number(process.env["SIM_TRACE"])).join("\n")}\n`);
        throw new Error(`${error instanceof Error ? error.message : error}\nSEED=${seed} ${mode}`, { cause: error });
      }
      taken += world.trace.filter((line) => line.includes("packet_taken_out")).length;
      leftOut += world.trace.filter((line) => line.includes("will_refused")).length;
    }
    expect(taken).toBeGreaterThan(0);
    if (mode === "transparent") expect(leftOut).toBeGreaterThan(0);
  },
);

/** Everything by the dice of the seed. */
function poisoned(seed: number, mode: Mode): WorldOptions {
  const rng = new Rng(seed ^ 0x9015);
  const options = swarm(seed, mode);
  return {
    ...options,
    devices: Math.min(options.devices, 6),
    brokerForgets: 0,
    poison: predicate(rng),
    willPoison: rng.chance(0.5) ? willPredicate(rng) : undefined,
    sickness: rng.chance(0.3) ? sickness(rng) : undefined,
    lateMs: rng.chance(0.4) ? rng.between(20, 300) : 0,
  };
}

/** By the client's name, or its version. */
function willPredicate(rng: Rng): (will: Will) => boolean {
  const salt = rng.int(1, 1_000_000);
  const share = rng.pick([0.3, 1]);
  return ({ payload }) => hash(Buffer.from(payload).toString(), salt) < share;
}

/** What devices publish: topic, QoS, retain, length, client, content. Wills and what tests the world in the end are spared. */
function predicate(rng: Rng): (packet: SeenPacket) => boolean {
  const salt = rng.int(1, 1_000_000);
  const share = rng.pick([0.02, 0.1]);
  // Of one client, or of all.
  const client = rng.chance(0.6) ? `c${rng.int(0, 3)}` : "c";
  const qos = rng.chance(0.5) ? rng.pick([1, 2]) : undefined;
  return ({ kind, topic, text, qos: asked }) => {
    if (kind !== "publish" || !topic.startsWith("u") || asked === 0) return false;
    if (!(client === "c" ? text.startsWith("c") : text.startsWith(`${client}#`))) return false;
    if (qos !== undefined && asked !== qos) return false;
    return hash(text, salt) < share;
  };
}

/** Every n-th packet of a connection, or each for a while. */
function sickness(rng: Rng): (packet: SeenPacket) => boolean {
  const every = rng.int(5, 40);
  const from = rng.between(60_000, 600_000);
  const to = from + rng.between(5_000, 120_000);
  return rng.chance(0.5) ? ({ ordinal }) => ordinal % every === 0 : ({ at }) => at > from && at < to;
}

function hash(text: string, salt: number): number {
  let value = salt;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  value = Math.imul(value ^ (value >>> 12), 0x297a2d39);
  return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
}
