/**
 * In a fleet each shard has its own gateway, and one process has many of them. This file merges the answers of these
 * gateways to one command into one answer of the process. Pure functions: answers in, one answer out.
 */
import type { OutputOf } from "./commands.ts";
import type { FleetFacts } from "./fleet-facts.ts";
import { type Need, needsOf } from "./needs.ts";

type Overview = OutputOf<"overview.show">;
type Broker = Overview["brokers"][number];
type Depth = OutputOf<"queue.depth">;
type Topics = OutputOf<"topics.list">;
type Letter = OutputOf<"queue.dead">[number];

/** The most client ids that are named as examples of a topic. */
const namedMax = 20;

/** Facts about the process and the fleet, which the shards do not know. */
export interface OfTheProcess {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly memoryBytes: number;
  readonly at: number;
  readonly fleet: FleetFacts;
  /** Datagrams that the front dropped, by reason, with the meaning for people. */
  readonly frontDrops: readonly { readonly reason: string; readonly count: number; readonly meaning: string }[];
  readonly knocks: number;
  readonly keepsWhenAway: boolean;
}

export function mergedOverview(shards: readonly Overview[], process: OfTheProcess): Overview {
  const brokers = mergedBrokers(shards.flatMap((shard) => shard.brokers));
  const sessions = summed(shards.map((shard) => shard.sessions));
  const waiting = summed(shards.map((shard) => shard.waiting));
  const states = { total: 0, active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0, late: 0, ...sessions };
  const waits = { forClients: 0, forBroker: 0, deadLetters: 0, ...waiting };
  const storeFails = shards.some((shard) => shard.storeFails);
  const { version, uptimeSeconds, memoryBytes, at, fleet, frontDrops, knocks, keepsWhenAway } = process;
  const needs = needsOf({
    brokers,
    transports: [],
    storeFails,
    keepsWhenAway,
    owedToBroker: waits.forBroker,
    deadLetters: waits.deadLetters,
    late: states.late,
    lost: states.lost,
    knocks,
    clockIsTrusted: true,
    isRestoring: false,
  });
  return {
    version,
    at,
    uptimeSeconds,
    memoryBytes,
    sessions: states,
    brokers,
    transports: shards[0]?.transports ?? [],
    addresses: shards[0]?.addresses ?? [],
    waiting: waits,
    storeKind: "redis",
    storeFails,
    fleet,
    dropped: mergedDrops(shards, frontDrops),
    needs: [...ofFleet(fleet), ...needs],
  };
}

/** The problems of the fleet as a whole. */
function ofFleet({ trouble, owners, members, name, leaseSeconds }: FleetFacts): Need[] {
  const needs: Need[] = [];
  const add = (level: Need["level"], says: string, advice: string) => needs.push({ level, says, advice, view: "" });
  if (trouble !== "")
    add("bad", `The leases cannot be renewed: ${trouble}`, "Check the Redis server of `store.redis`.");
  const unowned = owners.filter(({ owner }) => owner === "").length;
  if (unowned > 0)
    add(
      "warn",
      `Shards without an owner: ${unowned} of ${owners.length}. Their devices get no answer.`,
      "If this stays so for longer than two leases, check the gateways with `mqtt-sn-gateway fleet status`.",
    );
  for (const member of members)
    if (member.name !== name && member.secondsAgo > leaseSeconds)
      add("warn", `The gateway ${member.name} is silent.`, "Check whether it runs and reaches the Redis server.");
  if (members.length === 1)
    add(
      "warn",
      "No other gateway of the fleet is there: when this gateway ends, no other one takes over.",
      "Start another one.",
    );
  return needs;
}

/** Each broker once. It counts as reachable if every shard is connected to it. */
function mergedBrokers(all: readonly Broker[]): Broker[] {
  const byName = new Map<string, Broker>();
  for (const broker of all) {
    const before = byName.get(broker.name);
    if (!before) {
      byName.set(broker.name, broker);
      continue;
    }
    const worse = before.isThere ? broker : before;
    byName.set(broker.name, { ...worse, octets: mergedDays([...before.octets, ...broker.octets]) });
  }
  return [...byName.values()];
}

function mergedDays(days: Broker["octets"]): Broker["octets"] {
  const byDate = new Map<string, Broker["octets"][number]>();
  for (const day of days) {
    const before = byDate.get(day.date);
    byDate.set(day.date, before ? { date: day.date, in: before.in + day.in, out: before.out + day.out } : day);
  }
  return [...byDate.values()].sort((a, b) => (a.date < b.date ? 1 : -1));
}

function mergedDrops(shards: readonly Overview[], front: OfTheProcess["frontDrops"]): Overview["dropped"] {
  const byReason = new Map<string, Overview["dropped"][number]>();
  for (const drop of shards.flatMap((shard) => shard.dropped)) {
    const before = byReason.get(drop.reason);
    byReason.set(drop.reason, before ? { ...before, count: before.count + drop.count } : drop);
  }
  const ofFront = front.filter(({ count }) => count > 0).map((drop) => ({ ...drop, advice: "" }));
  return [...byReason.values(), ...ofFront].sort((a, b) => b.count - a.count);
}

export function mergedDepth(shards: readonly Depth[]): Depth {
  const part = <Way extends "forBroker" | "forClients">(way: Way) => shards.map((shard) => shard[way]);
  const sums = (parts: readonly { readonly messages: number; readonly bytes: number }[]) => ({
    messages: parts.reduce((sum, { messages }) => sum + messages, 0),
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
  });
  return {
    forBroker: { ...sums(part("forBroker")), clients: part("forBroker").flatMap(({ clients }) => clients) },
    forClients: { ...sums(part("forClients")), clients: part("forClients").flatMap(({ clients }) => clients) },
    deadLetters: shards.reduce((sum, { deadLetters }) => sum + deadLetters, 0),
    dropped: summed(shards.map(({ dropped }) => dropped)),
    storeFails: shards.some(({ storeFails }) => storeFails),
  };
}

export function mergedTopics(shards: readonly Topics[]): Topics {
  const used = new Map<string, Topics["used"][number]>();
  for (const use of shards.flatMap((shard) => shard.used)) {
    const key = `${use.isFilter ? "filter" : "topic"} ${use.name}`;
    const before = used.get(key);
    used.set(
      key,
      before
        ? { ...before, clients: before.clients + use.clients, some: [...before.some, ...use.some].slice(0, namedMax) }
        : use,
    );
  }
  return {
    predefined: shards[0]?.predefined ?? [],
    used: [...used.values()].sort((a, b) => b.clients - a.clients),
    isCut: shards.some(({ isCut }) => isCut),
  };
}

/** Dead letters of several shards. Each shard has its own numbers, so the shard becomes a part of the number. */
export function mergedLetters(
  byShard: Iterable<readonly [shard: number, letters: readonly Letter[]]>,
  shardCount: number,
): Letter[] {
  const all = [...byShard].flatMap(([shard, letters]) =>
    letters.map((letter) => ({ ...letter, id: letter.id * shardCount + shard })),
  );
  return all.sort((a, b) => a.at - b.at);
}

/** The shard of a dead letter's number, and the number in this shard. */
export function letterOf(id: number, shardCount: number): { readonly shard: number; readonly id: number } {
  return { shard: id % shardCount, id: Math.floor(id / shardCount) };
}

function summed(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const each of all) for (const [name, count] of Object.entries(each)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
