/** Writes what is made from the configuration's schema and the tables of events. Run after `npm run build`: npm run docs */
import { writeFileSync } from "node:fs";
import { configurationMarkdown, configurationSchema } from "../dist/config/documentation.js";
import { eventsMarkdown } from "../dist/observe/documentation.js";

writeFileSync(
  new URL("../gateway.config.schema.json", import.meta.url),
  `${JSON.stringify(configurationSchema(), null, 2)}\n`,
);
writeFileSync(new URL("../docs/guide/configuration.md", import.meta.url), configurationMarkdown());
writeFileSync(new URL("../docs/guide/events.md", import.meta.url), eventsMarkdown());
