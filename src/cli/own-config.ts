import { existsSync } from "node:fs";

/** The user's configuration file if no option names one; undefined = there is none. */
export function ownConfigFile(): string | undefined {
  const named = process.env["MQTT_SN_GATEWAY_CONFIG"];
  if (named !== undefined && named !== "") return named;
  const here = "gateway.config.json";
  return existsSync(here) ? here : undefined;
}
