/** `fleet`: the gateways that share one store, so far a pair: how they are, and handing over from one to the other. */
import type { Command } from "commander";
import { commands, type OutputOf } from "../runtime/commands.ts";
import { duration, handoverWords } from "../runtime/state-words.ts";
import { ask } from "./ask.ts";
import { type PlaceOptions, placeOf, withPlace } from "./place.ts";
import { sayProblems } from "./problems.ts";
import { say, table } from "./table.ts";

type Fleet = OutputOf<"fleet.show">;

export function addFleetCommands(
  program: Command,
  configFile: readonly [string, string],
  defaultConfigFile: () => string,
): void {
  const fleet = program.command("fleet").description("the gateways of a pair");
  withPlace(fleet.command("status", { isDefault: true }), configFile)
    .description(commands["fleet.show"].description)
    .option("--json", "as JSON")
    .action(async (options: PlaceOptions & { json?: boolean }) => {
      try {
        const shown = await ask(placeOf(options, defaultConfigFile), "fleet.show", {});
        say(options.json ? JSON.stringify(shown, undefined, 2) : fleetLines(shown).join("\n"));
      } catch (error) {
        sayProblems(error);
      }
    });
  withPlace(fleet.command("drain"), configFile)
    .description(commands["fleet.drain"].description)
    .action(async (options: PlaceOptions) => {
      try {
        const { from, to, epoch, milliseconds } = await ask(placeOf(options, defaultConfigFile), "fleet.drain", {});
        say(`${to} is active now, epoch ${epoch}: it had the lease ${milliseconds} ms after ${from} fell silent`);
        say(`${from} ends (exit status 75); when it is started again, it stands by`);
      } catch (error) {
        sayProblems(error);
      }
    });
}

/** A line for each of the two, and what both say of the lease. */
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
    ...(role === "active" && !other ? ["nobody stands by: when this gateway ends, nobody takes over"] : []),
    ...(role === "standby" && owner === "" ? ["nobody is active"] : []),
    leaseWords(pair),
    ...(epoch > 0 ? [handoverWords(pair)] : []),
    ...(trouble === "" ? [] : [`trouble: ${trouble}`]),
  ];
}

const roleWords = { active: "active", standby: "stands by", ended: "ends" } as const;

function leaseWords({ role, leaseSeconds, leaseLeftSeconds }: Omit<Fleet, "version">): string {
  const lease = `lease: ${leaseSeconds} s`;
  if (leaseLeftSeconds === 0) return `${lease}, nobody has it`;
  return role === "active"
    ? `${lease}; if it is not renewed, this gateway gives up in ${leaseLeftSeconds} s`
    : `${lease}; if it is not renewed, this gateway takes over in ${leaseLeftSeconds} s`;
}
