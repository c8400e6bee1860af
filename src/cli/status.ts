/** `status`: the important facts of the overview, in a few lines. */
import type { OutputOf } from "../runtime/commands.ts";
import { duration, trafficWords } from "../runtime/state-words.ts";

type Overview = OutputOf<"overview.show">;

export function statusLines(overview: Overview): string[] {
  const { version, uptimeSeconds, sessions, brokers, transports, waiting, storeKind, storeFails, needs, pair, fleet } =
    overview;
  const isActive = !pair || pair.role === "active";
  return [
    `version ${version}, up for ${duration(uptimeSeconds)}`,
    ...(pair ? pairLines(pair) : []),
    ...(fleet ? [fleetLine(fleet)] : []),
    ...(isActive
      ? [
          `sessions: ${sessions.total} (${sessions.active} active, ${sessions.asleep} asleep, ${sessions.lost} lost)`,
          `waiting: ${waiting.forClients} for devices, ${waiting.forBroker} for the broker, ${waiting.deadLetters} dead letters`,
          ...brokers.map(
            ({ name, url, isThere, octets }) =>
              `broker${name === "" ? "" : ` ${name}`}: ${url} ${isThere ? "there" : "away"}${octets.length > 0 ? `; ${trafficWords(octets)}` : ""}`,
          ),
          ...transports.map(({ name, place }) => `transport ${name}: ${place}`),
          `store: ${storeKind}${storeFails ? ", fails" : ""}`,
        ]
      : []),
    ...needs.map(({ level, says }) => `${level}: ${says}`),
  ];
}

function pairLines({ role, name, owner, epoch, sinceSeconds, other }: NonNullable<Overview["pair"]>): string[] {
  const active = `${name} is active, ${other ? `${other.name} stands by` : "no gateway stands by"}`;
  const who = role === "active" ? active : `${name} stands by, ${owner === "" ? "no gateway" : owner} is active`;
  return [`pair: ${who}, epoch ${epoch}, since ${duration(sinceSeconds)}`];
}

function fleetLine({ name, shards, owners, members }: NonNullable<Overview["fleet"]>): string {
  const serving = owners.filter(({ here }) => here === "serving").length;
  const others = members.flatMap((member) => (member.name === name ? [] : [`${member.name} (${member.shards})`]));
  return `fleet: ${name} serves ${serving} of ${shards} shards; ${others.length === 0 ? "no other gateway is there" : `others: ${others.join(", ")}`}; below: the shards of ${name}`;
}
