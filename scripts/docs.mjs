/** Writes what is made from the configuration's schema and the tables of events, and the list of commands. Run after `npm run build`: npm run docs */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { bashCompletion, manualPage } from "../dist/cli/manual.js";
import { commandLine } from "../dist/cli/program.js";
import { configurationMarkdown, configurationSchema } from "../dist/config/documentation.js";
import { eventsMarkdown } from "../dist/observe/documentation.js";

writeFileSync(
  new URL("../gateway.config.schema.json", import.meta.url),
  `${JSON.stringify(configurationSchema(), null, 2)}\n`,
);
writeFileSync(new URL("../docs/guide/configuration.md", import.meta.url), configurationMarkdown());
writeFileSync(new URL("../docs/guide/events.md", import.meta.url), eventsMarkdown());

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const folder = new URL("../docs/command/", import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL("mqtt-sn-gateway.1", folder), manualPage(commandLine(), version));
writeFileSync(new URL("mqtt-sn-gateway.bash", folder), bashCompletion(commandLine()));
