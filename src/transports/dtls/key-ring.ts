/**
 * The known keys: from a file, a folder, or a program that is asked each time. A key never appears in a log line or an
 * error.
 */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import type { DtlsOptions } from "./options.ts";

/** Undefined: there are only the keys that the gateway itself made. */
export type KeySource = DtlsOptions["keys"];

/**
 * A shorter key can be guessed by an attacker who has recorded a handshake. Devices need not support longer ones.
 * [RFC 4279 5.3]
 */
const keyOctetsMin = 16;
const keyOctetsMax = 64;
const identityOctetsMax = 128;
const commandMs = 5_000;
/**
 * The number of programs that run at a time. Beyond this limit the identity counts as unknown, and its device tries
 * again.
 */
const commandsMax = 16;

export interface KeyRing {
  /** Calls back, immediately if the keys are known. */
  ask(identity: string, done: (key: Uint8Array | undefined) => void): void;
  /** All keys by identity; undefined: the keys are not known, because a program is asked for each. */
  readonly all: ReadonlyMap<string, Uint8Array> | undefined;
  /** Advice for the operator, in plain sentences. */
  readonly warnings: readonly string[];
}

/** @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file and never a key. */
export function readKeys(source: KeySource): KeyRing {
  if (source === undefined) return { ask: (_identity, done) => done(undefined), all: new Map(), warnings: [] };
  if ("command" in source) return { ask: asker(source.command), all: undefined, warnings: [] };
  const all = "file" in source ? keysOfFile(source.file) : keysOfFolder(source.folder);
  return { ask: (identity, done) => done(all.get(identity)), all, warnings: openToOthers(source) };
}

/** Adds the keys that the gateway itself made for devices. These have priority, and are read again at each use. */
export function withMade(ring: KeyRing, made: () => ReadonlyMap<string, Uint8Array>): KeyRing {
  return {
    ask: (identity, done) => {
      const key = made().get(identity);
      if (key) done(key);
      else ring.ask(identity, done);
    },
    get all() {
      return ring.all && new Map([...ring.all, ...made()]);
    },
    warnings: ring.warnings,
  };
}

function keysOfFile(file: string): ReadonlyMap<string, Uint8Array> {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // The message of JSON.parse is not used, because it repeats a part of the file, which has keys.
    const isThere = error instanceof SyntaxError;
    return fail(isThere ? `${file} is not JSON` : `${file} cannot be read: ${messageOf(error)}`, file);
  }
  if (typeof found !== "object" || found === null || Array.isArray(found))
    return fail(`${file} must have the form { "identity": "key in hexadecimal", … }`, file);
  return new Map(
    Object.entries(found).map(([identity, key]) => [checkedIdentity(identity, file), keyOf(key, identity, file)]),
  );
}

function keysOfFolder(folder: string): ReadonlyMap<string, Uint8Array> {
  try {
    const names = readdirSync(folder).filter((name) => !name.startsWith(".") && statSync(join(folder, name)).isFile());
    return new Map(
      names.map((name) => {
        const file = join(folder, name);
        return [checkedIdentity(name, file), keyOf(readFileSync(file, "utf8").trim(), name, file)];
      }),
    );
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    return fail(`the keys in ${folder} cannot be read: ${messageOf(error)}`, folder);
  }
}

/** @throws {GatewayError} ERR_TRANSPORT_OPEN if no device can have this name. */
export function checkedIdentity(identity: string, file: string): string {
  if (identity === "" || Buffer.byteLength(identity) > identityOctetsMax || /\p{C}/u.test(identity))
    return fail(`${file}: an identity must have 1 to ${identityOctetsMax} octets, without control characters`, file);
  return identity;
}

function keyOf(key: unknown, identity: string, file: string): Uint8Array {
  const bytes = typeof key === "string" ? keyFromHex(key) : undefined;
  const what = `${keyOctetsMin} to ${keyOctetsMax} octets in hexadecimal (openssl rand -hex 16 makes one)`;
  return bytes ?? fail(`${file}: the key of ${JSON.stringify(identity)} must be ${what}`, file);
}

/** Undefined: the text is no key. */
export function keyFromHex(text: string): Uint8Array | undefined {
  const octets = text.length / 2;
  const isKey = /^([0-9a-f]{2})+$/i.test(text) && octets >= keyOctetsMin && octets <= keyOctetsMax;
  return isKey ? Uint8Array.from(Buffer.from(text, "hex")) : undefined;
}

function openToOthers(source: { file: string } | { folder: string }): string[] {
  const path = "file" in source ? source.file : source.folder;
  const isOpen = (statSync(path).mode & 0o077) !== 0;
  return isOpen ? [`${path} holds keys and is open to other users: chmod go-rwx ${path}`] : [];
}

/** No shell is used, and the identity is no argument, because it might look like an option. */
function asker([program = "", ...words]: readonly string[]): KeyRing["ask"] {
  let running = 0;
  return (identity, done) => {
    if (running >= commandsMax) return done(undefined);
    running++;
    const limits = { timeout: commandMs, killSignal: "SIGKILL", maxBuffer: 1_024 } as const;
    const settle = (key: Uint8Array | undefined) => {
      running--;
      done(key);
    };
    try {
      const child = execFile(program, words, limits, (error, output) =>
        settle(error ? undefined : keyFromHex(output.trim())),
      );
      child.stdin?.on("error", () => {}); // the program has ended, or does not read
      child.stdin?.end(`${identity}\n`);
    } catch {
      settle(undefined);
    }
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function fail(say: string, file: string): never {
  throw new GatewayError("ERR_TRANSPORT_OPEN", { file }, { say });
}
