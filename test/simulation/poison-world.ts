/**
 * A world with a broker that closes the connection for some packets, by a predicate of the seed's dice. Beside it cuts (some
 * of which look like the broker's doing), lines that flap, late acknowledgements, spells of a broker that is sick, outages,
 * and a gateway that dies and stands still.
 */
import type { CoreOptions } from "../../src/core/options.ts";
import type { Will } from "../../src/core/types.ts";
import type { SeenPacket } from "./broker.ts";
import { Rng } from "./rng.ts";
import { type Mode, swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

type Predicate = (packet: SeenPacket) => boolean;

/** For what the broker closes. Without a condition of place or time it never lets through what it closes for. */
interface Poison {
  readonly ofThePacket: Predicate;
  readonly ofItsPlace: Predicate | undefined;
}

const devicesMax = 6;

/** Everything by the dice of the seed. */
export function poisonedOptions(seed: number, mode: Mode): WorldOptions {
  const rng = new Rng(seed ^ 0x9015);
  const wills = new Rng(seed ^ 0x3111);
  const usual = swarm(seed, mode);
  const stores = usual.core.uplink?.policyOf("").whenAway === "store";
  const durable = rng.chance(0.5) || stores || usual.core.durable === true;
  const poison = predicate(rng);
  const latencyMs = rng.pick([20, 20, 20, 100, 250]);
  return {
    ...usual,
    devices: Math.min(usual.devices, devicesMax),
    brokerForgets: 0,
    storeFailure: 0, // an answer that waits for a store in trouble is no silence of the broker's
    latencyMs,
    lateMs: rng.chance(0.4) ? rng.between(20, 300) : 0,
    flapMs: rng.chance(0.15) ? [500, 20_000] : undefined,
    cutsBlame: rng.chance(0.5),
    crashes: durable && rng.chance(0.35),
    pauses: true,
    toys: true,
    poison: (packet) => poison.ofThePacket(packet) && poison.ofItsPlace?.(packet) !== false,
    mayBePoison: poison.ofThePacket,
    ...(!poison.ofItsPlace && { notes: poison.ofThePacket }),
    willPoison: wills.chance(0.5) ? willPredicate(wills) : undefined,
    sickness: rng.chance(0.3) ? sickness(rng) : undefined,
    core: { ...usual.core, durable, ...(usual.core.uplink && { uplink: withoutDrops(usual.core.uplink) }) },
  };
}

/** No message is dropped because the backlog is full: that it is not at the broker then says nothing of poison. */
function withoutDrops(uplink: CoreOptions["uplink"]): CoreOptions["uplink"] {
  const policy = { ...uplink.policyOf(""), messagesMax: 1_000, atLimit: "refuse" as const };
  return { ...uplink, policyOf: () => policy };
}

export function poisonedWorld(seed: number, mode: Mode, more: Partial<WorldOptions> = {}): World {
  return new World({ ...poisonedOptions(seed, mode), ...more });
}

export function livePoisoned(world: World): World {
  world.run(12 * 60_000);
  world.heal();
  world.run(10 * 60_000);
  world.checkLiveness();
  return world;
}

/**
 * One, two or three conditions, all of which must hold; one of them at least speaks of the packet itself and not of its place
 * or time. What tests the world in the end, and what devices live by, is spared.
 */
function predicate(rng: Rng): Poison {
  const conditions = [ofThePacket(rng)];
  if (rng.chance(0.4)) conditions.push(ofThePacket(rng));
  return {
    ofThePacket: (packet) => isFair(packet) && conditions.every((holds) => holds(packet)),
    ofItsPlace: rng.chance(0.3) ? ofItsPlace(rng) : undefined,
  };
}

function isFair({ kind, topic }: SeenPacket): boolean {
  return kind === "publish" ? /^[uw]/.test(topic) : topic.startsWith("x/");
}

function ofThePacket(rng: Rng): Predicate {
  const salt = rng.int(1, 1_000_000);
  const share = rng.pick([0.02, 0.1, 0.3]);
  const client = `c${rng.int(0, 3)}`;
  const qos = rng.int(0, 2);
  const bytes = rng.int(20, 180);
  const number = String(rng.int(0, 2));
  const retain = rng.chance(0.8);
  return rng.pick<Predicate>([
    (packet) => ownerOf(packet) === client,
    (packet) => packet.kind === "publish" && packet.qos === qos,
    (packet) => packet.kind === "publish" && packet.bytes >= bytes,
    (packet) => packet.kind === "publish" && packet.retain === retain,
    (packet) => packet.topic.endsWith(`/${number}`),
    (packet) => packet.topic === "uu" || packet.topic.startsWith(`u/${client}/`),
    (packet) => packet.kind === "publish" && hash(packet.text, salt) < share,
    (packet) => packet.kind === "publish" && hash(packet.text, salt) < share,
    (packet) => packet.kind === "subscribe" && packet.topic.endsWith(number),
    (packet) => packet.kind === "unsubscribe" && packet.topic.endsWith(number),
    (packet) => packet.topic.startsWith("w/"),
  ]);
}

function ofItsPlace(rng: Rng): Predicate {
  const every = rng.int(2, 6);
  const from = rng.between(0, 400_000);
  const to = from + rng.between(60_000, 400_000);
  return rng.pick<Predicate>([({ ordinal }) => ordinal % every === 0, ({ at }) => at > from && at < to]);
}

/** By the client's name, or its version. */
function willPredicate(rng: Rng): (will: Will) => boolean {
  const salt = rng.int(1, 1_000_000);
  const share = rng.pick([0.3, 1]);
  return ({ payload }) => hash(Buffer.from(payload).toString(), salt) < share;
}

/** Whose it is, as the broker's operator would see it. */
function ownerOf({ kind, topic, text }: SeenPacket): string {
  return kind === "publish" ? (text.split(/[# ]/)[0] ?? "") : (topic.split("/")[1] ?? "");
}

/** Every n-th packet of a connection, or each for a time: no packet is at fault. */
function sickness(rng: Rng): Predicate {
  const every = rng.int(2, 40);
  const from = rng.between(60_000, 600_000);
  const to = from + rng.between(5_000, 120_000);
  return rng.chance(0.5) ? ({ ordinal }) => ordinal % every === 0 : ({ at }) => at > from && at < to;
}

/** 0 <= x < 1, by the text. */
function hash(text: string, salt: number): number {
  let value = salt;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  value = Math.imul(value ^ (value >>> 12), 0x297a2d39);
  return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
}
