/**
 * The configuration's file for the Settings of the console: its content without secrets, the effect of a change, and the change itself. A
 * secret is written and never read back: it is written to its own file, and the configuration gets a reference to this file.
 */
import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { GatewayError } from "../errors.ts";
import { verdictOn } from "./checked.ts";
import { type Change, difference, edited, type Line, replaceFile, versionOf, whyNotWritable } from "./edit.ts";
import { comesWithThePackage, readConfigText } from "./load.ts";
import { needRestart } from "./restart.ts";
import type { GatewayConfig } from "./schema.ts";
import { isOpen, isSecretReference, shownConfig, shownText } from "./shown.ts";
import { valueAt } from "./words.ts";

export interface Written {
  /** The content of the file; secrets are masked. Undefined: it cannot be read. */
  readonly values: unknown;
  /** A user who saves must name this version; "" = there is no file. */
  readonly version: string;
  /** Why nothing can be changed; absent: it can. */
  readonly readOnly?: string;
  /** Sections that were changed since the start; the changes take effect at the next start. */
  readonly restart: readonly string[];
}

export interface Tried {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  /** A line "" stands for lines that were left out. */
  readonly difference: readonly Line[];
  /** Sections that count after a restart. */
  readonly restart: readonly string[];
}

const secretBytesMax = 65_536;

export class SettingsFile {
  readonly #path: string | undefined;
  readonly #running: () => GatewayConfig;

  constructor(path: string | undefined, running: () => GatewayConfig) {
    this.#path = path;
    this.#running = running;
  }

  written(): Written {
    const path = this.#path;
    if (path === undefined)
      return { values: {}, version: "", readOnly: "this gateway was started without a file", restart: [] };
    const octets = readOr(path);
    if (!octets) return { values: undefined, version: "", readOnly: `${path} cannot be read`, restart: [] };
    const text = octets.toString();
    const { raw, config } = readConfigText(octets, path);
    const why = this.#whyNot(path);
    const readOnly =
      why ??
      (raw === undefined ? `${path} is not valid JSON at present; \`mqtt-sn-gateway check\` says where` : undefined);
    return {
      values: shownConfig(raw),
      version: versionOf(text),
      ...(readOnly !== undefined && { readOnly }),
      restart: config ? needRestart(this.#running(), config) : [],
    };
  }

  /**
   * Judges the changed configuration as the command `check` does, without saving it.
   * @throws {GatewayError} where the file cannot be read, or is no JSON
   */
  attempt(changes: readonly Change[]): Tried {
    const { before, after, path } = this.#changed(changes);
    const { config, problems, warnings } = verdictOn(readConfigText(Buffer.from(after), path));
    const lines = difference(before, after).map((line) => ({ ...line, text: withoutPasswords(line.text) }));
    return {
      problems,
      warnings,
      difference: lines,
      restart: config && problems.length === 0 ? needRestart(this.#running(), config) : [],
    };
  }

  /** Saves the changed configuration, if it has no problems. @throws {GatewayError} */
  async save(changes: readonly Change[], version: string): Promise<GatewayConfig> {
    const { after, path } = this.#changed(changes);
    const why = this.#whyNot(path);
    if (why !== undefined) throw new GatewayError("ERR_CONFIG_READ", { path }, { say: why });
    const { config, problems } = verdictOn(readConfigText(Buffer.from(after), path));
    if (!config || problems.length > 0) throw new GatewayError("ERR_CONFIG_INVALID", { problems });
    await replaceFile(path, after, version);
    return config;
  }

  /**
   * Keeps a secret in a file in the store's folder, which only the gateway's user can read.
   * @returns the reference for the configuration
   * @throws {GatewayError} if there is no folder
   */
  async keepSecret(key: string, secret: string): Promise<{ readonly file: string }> {
    const { store } = this.#running();
    const path = this.#path;
    const no = (say: string) => new GatewayError("ERR_CONFIG_READ", {}, { say });
    if (path === undefined || store.kind === "memory")
      throw no("there is no folder to store it in: store.kind is memory");
    if (!isSecretReference(key.split(".")) || !/^[\w.:-]{1,200}$/.test(key)) throw no(`${key} is no secret`);
    if (secret === "" || Buffer.byteLength(secret) > secretBytesMax)
      throw no("a secret is not empty, and no longer than 64 kB");
    const folder = join(store.folder, "secrets");
    const file = join(folder, key.replaceAll(":", ""));
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      await writeFile(file, secret, { mode: 0o600 });
      chmodSync(file, 0o600); // the file may have existed before
    } catch (cause) {
      throw no(`the secret cannot be stored: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
    const near = relative(dirname(resolve(path)), file);
    return { file: near.startsWith("..") ? file : near };
  }

  #whyNot(path: string): string | undefined {
    if (comesWithThePackage(path))
      return `${path} comes with the package: copy it to the folder in which the gateway is started, as gateway.config.json, and change the copy`;
    return whyNotWritable(path);
  }

  #changed(changes: readonly Change[]): { readonly before: string; readonly after: string; readonly path: string } {
    const path = this.#path;
    const octets = path === undefined ? undefined : readOr(path);
    if (path === undefined || !octets)
      throw new GatewayError("ERR_CONFIG_READ", { path }, { say: "there is no file that could be changed" });
    const before = octets.toString();
    const { raw } = readConfigText(octets, path);
    const whole = changes.map(({ path: at, value }) => ({
      path: at,
      value: unmasked(value, valueAt(raw, [...at]), at),
    }));
    return { before, after: edited(before, whole), path };
  }
}

/** The effective configuration, to start another gateway with it: with the admitted clients, without secrets. */
export function exported(
  config: GatewayConfig,
  admitted: readonly { readonly clientId: string; readonly from?: string | undefined }[],
): string {
  const isPattern = ({ clientId }: { readonly clientId: string }) => /[*?]/.test(clientId);
  const rules = admitted
    .filter((each) => !isPattern(each))
    .map(({ clientId, from }) => ({ allow: clientId, ...(from !== undefined && { from: [from] }) }));
  const left = admitted.filter(isPattern).map(({ clientId }) => clientId);
  const whole = { ...config, access: { ...config.access, rules: [...rules, ...config.access.rules] } };
  const heads = [
    "// The configuration as it counts, defaults included. Secrets are left out: in an url they are ***.",
    ...(rules.length > 0 ? [`// access.rules: the first ${rules.length} were admitted by hand.`] : []),
    ...(left.length > 0
      ? [`// Admitted by hand, but left out here, because a star in a rule matches anything: ${JSON.stringify(left)}`]
      : []),
  ];
  return `${heads.join("\n")}\n${JSON.stringify(shownConfig(whole), undefined, 2)}\n`;
}

/**
 * Restores values that were shown masked and came back unchanged.
 * @throws {GatewayError} if a mask belongs to no known value
 */
function unmasked(value: unknown, was: unknown, path: readonly (string | number)[]): unknown {
  if (typeof value === "string") {
    if (value === "(not shown)" && was !== undefined) return was;
    if (!value.includes("***") || !isOpen(path)) return value;
    if (typeof was === "string" && shownText(was) === value) return was;
    const problems = [`${path.join(".")}: *** stands for a secret that is not shown; type it anew`];
    throw new GatewayError("ERR_CONFIG_INVALID", { problems });
  }
  if (Array.isArray(value))
    return value.map((item, i) => unmasked(item, Array.isArray(was) ? was[i] : undefined, [...path, i]));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, unmasked(item, valueAt(was, [key]), [...path, key])]),
  );
}

function withoutPasswords(line: string): string {
  return line
    .replace(/(:\/\/)[^"]*@/g, "$1***@")
    .replace(/("(?:password|passphrase|psk|key)"\s*:\s*)"[^"]*"/g, '$1"(not shown)"');
}

function readOr(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
