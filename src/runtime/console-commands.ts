/** The rows of the list of commands with which people look at the gateway. */
import { admissionCommands } from "./admission-commands.ts";
import { deviceCommands } from "./device-commands.ts";
import { fleetCommands } from "./fleet-commands.ts";
import { overviewCommands } from "./overview-commands.ts";
import { settingsCommands } from "./settings-commands.ts";
import { signInCommands } from "./sign-in-commands.ts";
import { topicCommands } from "./topic-commands.ts";

export const consoleCommands = {
  ...overviewCommands,
  ...fleetCommands,
  ...deviceCommands,
  ...topicCommands,
  ...admissionCommands,
  ...settingsCommands,
  ...signInCommands,
};
