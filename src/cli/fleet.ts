/** `fleet`: shows the gateways that share one store, a pair or a fleet, and hands over. */
import type { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { commands, type OutputOf } from "../runtime/commands.ts";
import { duration, handoverWords } from "../runtime/state-words.ts";
import { ask } from "./ask.ts";
import { type PlaceOptions, placeOf, withPlace } from "./place.ts";
import { sayProblems } from "./problems.ts";
import { say, table } from "./table.ts";

type Fleet = OutputOf<"fleet.show">;
type Members = OutputOf<"fleet.members">;

export function addFleetCommands(
  program: Command,
  configFile: readonly [string, string],
  defaultConfigFile: () => string,
): void {
  const fleet = program.command("fleet").description("the gateways of a pair or a fleet");
  withPlace(fleet.command("status", { isDefault: true }), configFile)
    .description("the gateways that share one store, and which of them is active, or how many shards each owns")
    .option("--json", "as JSON")
    .option("--shards", "of a fleet: each shard with its owner")
    .action(async (options: PlaceOptions & { json?: boolean; shards?: boolean }) => {
      try {
        const place = placeOf(options, defaultConfigFile);
        const members = await unlessNone(ask(place, "fleet.members", {}));
        if (members) {
          const lines = membersLines(members, options.shards === true);
          return say(options.json ? JSON.stringify(members, undefined, 2) : lines.join("\n"));
        }
        const shown = await ask(place, "fleet.show", {});
        say(options.json ? JSON.stringify(shown, undefined, 2) : fleetLines(shown).join("\n"));
      } catch (error) {
        sayProblems(error);
      }
    });
  withPlace(fleet.command("drain"), configFile)
    .description(
      `${commands["fleet.drain"].description}; in a fleet: hands all shards over to the other gateways, one after another`,
    )
    .action(async (options: PlaceOptions) => {
      try {
        const place = placeOf(options, defaultConfigFile);
        const members = await unlessNone(ask(place, "fleet.members", {}));
        if (members) {
          const { shards } = await ask(place, "fleet.leave", {});
          say(`${shards} shards of ${members.name} are handed over`);
          return say(`${members.name} ends (exit status 75); when it is started again, it joins the fleet again`);
        }
        const { from, to, epoch, milliseconds } = await ask(place, "fleet.drain", {});
        say(
          `${to} is active now, epoch ${epoch}: it had the lease ${milliseconds} ms after ${from} sent its last message`,
        );
        say(`${from} ends (exit status 75); when it is started again, it stands by`);
      } catch (error) {
        sayProblems(error);
      }
    });
}

/** Undefined: the gateway that was asked belongs to no pair or fleet. */
async function unlessNone<Shown>(asked: Promise<Shown>): Promise<Shown | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof GatewayError && error.details["status"] === 404) return undefined;
    throw error;
  }
}

/** A line for each gateway of a fleet, and lines about the shards. */
export function membersLines(fleet: Members, withShards: boolean): string[] {
  const { name, leaseSeconds, shards, trouble, members, owners, counters } = fleet;
  const unowned = owners.filter(({ owner }) => owner === "").length;
  const { claimed, handedOver, lost, failed } = counters;
  const rows = members.map((each) => ({
    gateway: each.name === name ? `${each.name} (asked)` : each.name,
    shards: String(each.shards),
    version: each.version,
    seen: each.name === name ? "now" : `${each.secondsAgo} s ago`,
    since: duration(each.sinceSeconds),
    "": each.isDraining ? "hands over" : each.secondsAgo > leaseSeconds ? "is silent" : "",
  }));
  return [
    table(rows, ""),
    `${shards} shards, ${unowned === 0 ? "all of them owned" : `${unowned} of them without an owner`}; lease: ${leaseSeconds} s`,
    `${name} since its start: ${claimed.first} claimed first, ${claimed.drained} handed over to it, ${claimed.ended} of gateways that ended, ` +
      `${claimed.silent} of silent ones; ${handedOver} handed over by it, ${lost} lost, ${failed} could not be served`,
    ...(trouble === "" ? [] : [`trouble: ${trouble}`]),
    ...(withShards
      ? [
          table(
            owners.map(({ shard, owner, epoch, here }) => ({
              shard: String(shard),
              owner: owner === "" ? "none" : owner,
              epoch: String(epoch),
              here: here ?? "",
            })),
            "",
          ),
        ]
      : []),
  ];
}

/** A line for each of the two gateways, and the lease as both report it. */
export function fleetLines({ version, ...pair }: Fleet): string[] {
  const { role, name, owner, epoch, sinceSeconds, other, trouble } = pair;
  const own = {
    gateway: `${name} (asked)`,
    role: roleWords[role],
    version,
    seen: "now",
    since: duration(sinceSeconds),
  };
  const rows = [own];
  if (other)
    rows.push({
      gateway: other.name,
      role: role === "active" ? roleWords.standby : roleWords.active,
      version: other.version === "" ? "?" : other.version,
      seen: `${other.secondsAgo} s ago`,
      since: "",
    });
  return [
    table(rows, ""),
    ...(role === "active" && !other ? ["no gateway stands by: when this one ends, no gateway takes over"] : []),
    ...(role === "standby" && owner === "" ? ["no gateway is active"] : []),
    leaseWords(pair),
    ...(epoch > 0 ? [handoverWords(pair)] : []),
    ...(trouble === "" ? [] : [`trouble: ${trouble}`]),
  ];
}

const roleWords = { active: "active", standby: "stands by", ended: "ends" } as const;

function leaseWords({ role, leaseSeconds, leaseLeftSeconds }: Omit<Fleet, "version">): string {
  const lease = `lease: ${leaseSeconds} s`;
  if (leaseLeftSeconds === 0) return `${lease}, no gateway has it`;
  return role === "active"
    ? `${lease}; if it is not renewed, this gateway gives up in ${leaseLeftSeconds} s`
    : `${lease}; if it is not renewed, this gateway takes over in ${leaseLeftSeconds} s`;
}
