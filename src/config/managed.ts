/**
 * The state that the gateway itself changes: admitted clients, the console's password, sessions of the console. It is
 * in `managed.json` in the store's folder, and not in the configuration, because a configuration is often written by a
 * program, or is read-only. `check` shows its content. If the file is removed, all of this state is removed.
 */
import { existsSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { StoreOptions } from "../storage/options.ts";
import type { GatewayConfig } from "./schema.ts";

const admittedMax = 10_000;
const loginsMax = 100;

const tokensMax = 100;

const predefinedMax = 10_000;

const devicesMax = 100_000;

/** A name that is one word in a log line and on a command line. */
const tokenName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, "is a name of up to 64 letters, digits, dots, dashes and _");
const tokenHash = z.string().regex(/^[0-9a-f]{64}$/, "is no hash that `console token add` makes");
const tokenRole = z.enum(["viewer", "operator"]);

/** A name that is one word everywhere: in a topic, a pattern, a link, on a command line. */
export const deviceName = z
  .string()
  .regex(/^[A-Za-z0-9._~-]{1,64}$/, "is a name of up to 64 letters, digits, dots, dashes, _ and ~");

const scryptHash = z.string().regex(/^scrypt\$\d+\$\d+\$\d+\$[\w-]+\$[\w-]+$/, "is no hash that `console` makes");

const managedState = z.strictObject({
  version: z.literal(1),
  admitted: z
    .array(
      z.strictObject({
        /** Compared word for word: `*` is the character itself, and no pattern. */
        clientId: z.string().min(1).max(65_535),
        /** The address or network that the client must connect from; absent: any. */
        from: z.string().min(1).optional(),
        /** The date of the admission, and the user, for people. */
        at: z.string(),
        by: z.string(),
      }),
    )
    .max(admittedMax)
    .default([]),
  /** Predefined topic ids that were added by hand; they have priority over those of the configuration. */
  predefined: z
    .array(
      z.strictObject({
        id: z.int().min(1).max(65_534),
        name: z.string().min(1).max(65_535),
        /** Client id or pattern; absent: for all. */
        client: z.string().min(1).optional(),
        /** The date, for people. */
        at: z.string(),
      }),
    )
    .max(predefinedMax)
    .default([]),
  /** Devices with a pre-shared key (for DTLS). */
  devices: z
    .array(
      z.strictObject({
        name: deviceName,
        /** 16 octets in hexadecimal. Never shown again. */
        key: z.string().regex(/^[0-9a-f]{32}$/, "is no key of 16 octets"),
        /** The date, for people. */
        added: z.string(),
      }),
    )
    .max(devicesMax)
    .default([]),
  console: z
    .strictObject({
      password: scryptHash.optional(),
      /** Private addresses may see the console, with the password. */
      isForLan: z.boolean().default(false),
      logins: z
        .array(
          z.strictObject({
            /** SHA-256 of the cookie. */
            hash: z.string(),
            role: z.enum(["viewer", "operator"]),
            /** Milliseconds since 1970. */
            until: z.number(),
          }),
        )
        .max(loginsMax)
        .default([]),
      /** Tokens of programs. */
      tokens: z
        .array(
          z.strictObject({
            name: tokenName,
            role: tokenRole,
            /** SHA-256 of the token. */
            hash: tokenHash,
            /** The date, for people. */
            added: z.string(),
          }),
        )
        .max(tokensMax)
        .default([]),
    })
    .prefault({}),
});

export type ManagedState = z.infer<typeof managedState>;
export type ManagedDevice = ManagedState["devices"][number];
export type AdmittedClient = ManagedState["admitted"][number];
export type ManagedToken = ManagedState["console"]["tokens"][number];
export type ManagedTopic = ManagedState["predefined"][number];
export type Login = ManagedState["console"]["logins"][number];

export class Managed {
  /** The path of the file. Undefined: there is no folder for it, so the state is lost when the gateway ends. */
  readonly path: string | undefined;
  #state: ManagedState;
  #last: Promise<void> = Promise.resolve();

  /** @throws {GatewayError} ERR_CONFIG_INVALID when the file exists and is invalid */
  constructor(store: StoreOptions) {
    this.path = store.kind !== "memory" ? join(store.folder, "managed.json") : undefined;
    this.#state = this.path === undefined || !existsSync(this.path) ? empty : read(this.path);
  }

  get state(): ManagedState {
    return this.#state;
  }

  /** @throws {GatewayError} ERR_CONFIG_READ when it cannot be written; then nothing is changed. */
  admit(client: AdmittedClient): Promise<void> {
    return this.#change((state) => {
      const others = state.admitted.filter(({ clientId }) => clientId !== client.clientId);
      if (others.length >= admittedMax) throw refusal(this.path, `there is room for ${admittedMax} clients`);
      return { ...state, admitted: [...others, client] };
    });
  }

  /** False: the client was not admitted by hand. @throws {GatewayError} as `admit`. */
  async withdraw(clientId: string): Promise<boolean> {
    if (!this.#state.admitted.some((each) => each.clientId === clientId)) return false;
    await this.#change((state) => ({
      ...state,
      admitted: state.admitted.filter((each) => each.clientId !== clientId),
    }));
    return true;
  }

  /** Adds a topic id, or replaces the topic name of the same id and client. @throws {GatewayError} as `admit`. */
  predefine(topic: ManagedTopic): Promise<void> {
    return this.#change((state) => {
      const others = state.predefined.filter((each) => !isSameId(each, topic));
      if (others.length >= predefinedMax) throw refusal(this.path, `there is room for ${predefinedMax} topic ids`);
      return { ...state, predefined: [...others, topic] };
    });
  }

  /** False: the topic id was not added by hand. @throws {GatewayError} as `admit`. */
  async endPredefined(topic: Pick<ManagedTopic, "id" | "client">): Promise<boolean> {
    if (!this.#state.predefined.some((each) => isSameId(each, topic))) return false;
    await this.#change((state) => ({
      ...state,
      predefined: state.predefined.filter((each) => !isSameId(each, topic)),
    }));
    return true;
  }

  /** A new key for this device, known or not. @throws {GatewayError} as `admit`. */
  keepDevice(device: ManagedDevice): Promise<void> {
    return this.#change((state) => {
      const others = state.devices.filter(({ name }) => name !== device.name);
      if (others.length >= devicesMax) throw refusal(this.path, `there is room for ${devicesMax} devices`);
      return { ...state, devices: [...others, device] };
    });
  }

  /** False: the device had no key. @throws {GatewayError} as `admit`. */
  async removeDevice(name: string): Promise<boolean> {
    if (!this.#state.devices.some((each) => each.name === name)) return false;
    await this.#change((state) => ({ ...state, devices: state.devices.filter((each) => each.name !== name) }));
    return true;
  }

  /** Logs all users out, because a new password means that the old one is not trusted. Tokens stay. @throws {GatewayError} as `admit`. */
  setPassword(password: string, isForLan: boolean): Promise<void> {
    return this.#change((state) => ({ ...state, console: { ...state.console, password, isForLan, logins: [] } }));
  }

  /** @throws {GatewayError} as `admit`, and where its name is taken. */
  addToken(token: ManagedToken): Promise<void> {
    return this.#change((state) => {
      const { tokens } = state.console;
      if (tokens.some(({ name }) => name === token.name))
        throw refusal(this.path, `there is a token ${token.name}; remove it first`);
      if (tokens.length >= tokensMax) throw refusal(this.path, `there is room for ${tokensMax} tokens`);
      return { ...state, console: { ...state.console, tokens: [...tokens, token] } };
    });
  }

  /** False: there was no such token. @throws {GatewayError} as `admit`. */
  async removeToken(name: string): Promise<boolean> {
    if (!this.#state.console.tokens.some((each) => each.name === name)) return false;
    await this.#change((state) => ({
      ...state,
      console: { ...state.console, tokens: state.console.tokens.filter((each) => each.name !== name) },
    }));
    return true;
  }

  /** The newest come last; the oldest beyond the limit is logged out. @throws {GatewayError} as `admit`. */
  changeLogins(change: (logins: readonly Login[]) => readonly Login[]): Promise<void> {
    return this.#change((state) => ({
      ...state,
      console: { ...state.console, logins: change(state.console.logins).slice(-loginsMax) },
    }));
  }

  /** Changes are written one after another and asynchronously, because an SD card may take a second. */
  #change(change: (state: ManagedState) => ManagedState): Promise<void> {
    const done = this.#last.then(async () => {
      const next = change(this.#state);
      if (this.path !== undefined) await write(this.path, next);
      this.#state = next;
    });
    this.#last = done.catch(() => {}); // the caller gets the error
    return done;
  }
}

/** The topics of the configuration, with the topic ids that were added by hand. */
export function withManagedTopics(
  topics: GatewayConfig["topics"],
  { predefined }: Pick<ManagedState, "predefined">,
): GatewayConfig["topics"] {
  if (predefined.length === 0) return topics;
  const forAll = { ...topics.predefined };
  const byClient = new Map(Object.entries(topics.predefinedFor));
  for (const { id, name, client } of predefined)
    if (client === undefined) forAll[id] = name;
    else byClient.set(client, { ...byClient.get(client), [id]: name });
  // `Object.fromEntries` and not an assignment, because a client may be called __proto__.
  return { ...topics, predefined: forAll, predefinedFor: Object.fromEntries(byClient) };
}

function isSameId(a: Pick<ManagedTopic, "id" | "client">, b: Pick<ManagedTopic, "id" | "client">): boolean {
  return a.id === b.id && a.client === b.client;
}

/**
 * The keys of devices that `device add` made, by name. The caller must read them again at each use, because they change
 * while the gateway runs.
 */
export function managedKeys({ state }: Managed): ReadonlyMap<string, Uint8Array> {
  let keys = keysOf.get(state);
  if (!keys) {
    keys = new Map(state.devices.map(({ name, key }) => [name, Buffer.from(key, "hex")]));
    keysOf.set(state, keys);
  }
  return keys;
}

/** A state is never changed, but replaced. */
const keysOf = new WeakMap<ManagedState, ReadonlyMap<string, Uint8Array>>();

/** Sentences for `check`; none where nothing is managed. */
export function managedInWords({ path, state }: Managed): string[] {
  const { admitted, console, devices, predefined } = state;
  const where = path ?? "memory";
  const lines = admitted.map(({ clientId, from, at, by }) => {
    const place = from === undefined ? "from anywhere" : `from ${from}`;
    return `${where} admits ${JSON.stringify(clientId)} ${place}, before access.rules are asked (${by}, ${at})`;
  });
  for (const { id, name, client, at } of predefined)
    lines.push(
      `${where} gives ${client === undefined ? "all clients" : JSON.stringify(client)} topic id ${id} = ${JSON.stringify(name)}, before topics.predefined (${at})`,
    );
  if (devices.length > 0)
    lines.push(
      `${where} has keys of ${devices.length} devices: ${devices
        .slice(0, 10)
        .map(({ name }) => name)
        .join(", ")}`,
    );
  if (console.tokens.length > 0)
    lines.push(
      `${where} has tokens for programs: ${console.tokens.map(({ name, role }) => `${name} (${role})`).join(", ")}`,
    );
  if (console.password !== undefined)
    lines.push(`${where} has a password for the console${console.isForLan ? ", for private addresses too" : ""}`);
  return lines;
}

const empty: ManagedState = managedState.parse({ version: 1 });

function read(path: string): ManagedState {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    // The error's text is not used, because it may contain a hash.
    const why = cause instanceof SyntaxError ? "it is not valid JSON" : String(cause);
    throw new GatewayError("ERR_CONFIG_INVALID", { problems: [`${path}: ${why}`] });
  }
  const { data, error } = managedState.safeParse(raw);
  if (data) return data;
  const problems = error.issues.map(({ path: at, message }) => `${path}: ${at.join(".") || "(top level)"}: ${message}`);
  throw new GatewayError("ERR_CONFIG_INVALID", { problems });
}

/** Writes the file completely or not at all, also in a power cut. */
async function write(path: string, state: ManagedState): Promise<void> {
  const beside = `${path}.new`;
  try {
    const file = await open(beside, "w", 0o600);
    try {
      await file.writeFile(`${JSON.stringify(state, undefined, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    throw refusal(path, cause instanceof Error ? cause.message : String(cause));
  }
}

function refusal(path: string | undefined, why: string): GatewayError {
  return new GatewayError("ERR_CONFIG_READ", { path }, { say: `${path ?? "memory"} cannot be written: ${why}` });
}
