/**
 * Finds the place that a command asks: the socket in the store's folder, or the API of a gateway without such a socket
 * or on another machine.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { type Command, InvalidArgumentError } from "commander";
import { loadConfig } from "../config/load.ts";
import type { GatewayConfig } from "../config/schema.ts";
import { GatewayError } from "../errors.ts";
import type { Place } from "./ask.ts";

/** The token is in a variable, and not an option of the command line, which every user of the machine can read. */
export const tokenVariable = "MQTT_SN_GATEWAY_TOKEN";

export interface PlaceOptions {
  readonly config?: string;
  readonly url?: URL;
  readonly tokenFile?: string;
}

export function withPlace(command: Command, configFile: readonly [string, string]): Command {
  return command
    .option(...configFile)
    .option("--url <url>", "ask the gateway there by HTTP, with a token of `console token add`", asUrl)
    .option("--token-file <file>", `the file with the token; without it, it is read from $${tokenVariable}`);
}

/** @throws {GatewayError} ERR_CONTROL without a token where one is needed */
export function placeOf({ config, url, tokenFile }: PlaceOptions, defaultConfigFile: () => string): Place {
  if (url) return { url, token: tokenOf(tokenFile) };
  const { store, api } = loadConfig(config ?? defaultConfigFile());
  if (store.kind !== "memory" && tokenFile === undefined) return join(store.folder, "control.sock");
  return { url: localUrl(api), token: tokenOf(tokenFile) };
}

function localUrl({ enabled, console, host, port }: GatewayConfig["api"]): URL {
  if (!enabled || !console)
    throw refusal("this gateway cannot be asked: its store is in memory, and api.enabled or api.console is false");
  const near = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return new URL(`http://${isIP(near) === 6 ? `[${near}]` : near}:${port}/`);
}

function tokenOf(file: string | undefined): string {
  const token = (file === undefined ? (process.env[tokenVariable] ?? "") : contentsOf(file)).trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  if (token !== "") throw refusal("the text in the place of the token is not a token");
  throw refusal(`a token is needed, in $${tokenVariable} or by --token-file (mqtt-sn-gateway console token add)`);
}

function contentsOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw refusal(`--token-file: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function asUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new InvalidArgumentError("as in https://gateway.example.org/");
  if (url.username !== "" || url.password !== "")
    throw new InvalidArgumentError("a token must be in a file or a variable");
  return url;
}

function refusal(say: string): GatewayError {
  return new GatewayError("ERR_CONTROL", {}, { say });
}
