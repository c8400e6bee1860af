/**
 * The facts and actions that the operator's commands need besides core and store: transports and brokers, the
 * configuration, refused devices. The composition root has all of it, and passes it by this interface.
 * `emptyInstallation` is for a core without these parts.
 */
import type { PeerId, PeerIdentity } from "../core/types.ts";
import type { PayloadsFor, Role } from "../roles.ts";
import type { PairFacts } from "../storage/lease.ts";
import type { LinkReport, TransportStats } from "../transports/transport.ts";
import type { FleetFacts } from "./fleet-facts.ts";
import { Knocks } from "./knocks.ts";
import type { DayOfOctets } from "./octet-days.ts";
import { TotalsOfTheHour } from "./totals.ts";

export interface Installation {
  readonly version: string;
  uptimeSeconds(): number;
  /** Milliseconds since 1970, and whether this clock can be trusted. */
  clock(): { readonly at: number; readonly isTrusted: boolean };
  brokers(): readonly BrokerFacts[];
  transports(): readonly TransportFacts[];
  identityOf(peer: PeerId): PeerIdentity | undefined;
  /** The last wakings of a client, and how long it was awake; the newest last. */
  wakingsOf(clientId: string): readonly { readonly secondsAgo: number; readonly awakeSeconds: number }[];
  readonly knocks: Knocks;
  readonly totals: TotalsOfTheHour;
  readonly storeKind: "disk" | "memory" | "redis";
  /** Undefined: this gateway is not part of a pair. */
  pair(): PairFacts | undefined;
  /** Hands over to the other gateway of the pair, then this gateway ends. A sentence: why not. */
  drain(): Promise<
    { readonly from: string; readonly to: string; readonly epoch: number; readonly milliseconds: number } | string
  >;
  /** Undefined: this gateway is not part of a fleet. */
  fleet(): FleetFacts | undefined;
  /** Hands all its shards over to the others of the fleet, then this gateway ends. A sentence: why not. */
  leave(): Promise<{ readonly shards: number } | string>;
  /** Publications of devices are kept on disk while the broker is away. */
  readonly keepsWhenAway: boolean;
  /** Predefined topic names: for all clients, and by client id. */
  predefined(): {
    readonly forAll: Readonly<Record<string, string>>;
    readonly byClient: Readonly<Record<string, Readonly<Record<string, string>>>>;
    /** The entries that were added by hand. */
    readonly byHand: readonly { readonly id: number; readonly name: string; readonly client?: string | undefined }[];
  };
  /** The meaning of a drop reason, and advice. */
  reason(name: string): { readonly meaning: string; readonly advice: string } | undefined;
  /** The addresses of this machine for devices in the same network. */
  addresses(): readonly string[];
  settings(): Settings;
  /**
   * The effect of a change of the configuration file, as the command `check` reports it. A sentence: why it cannot be
   * checked.
   */
  trySettings(changes: readonly SettingChange[]): Promise<TriedSettings | string>;
  /** Changes the file, and takes over what can change while running. A sentence: why nothing was changed. */
  saveSettings(
    changes: readonly SettingChange[],
    version: string,
  ): Promise<{ readonly restart: readonly string[]; readonly version: string } | string>;
  /**
   * Writes a secret of this key into a file. Answers with the reference for the configuration, or with a sentence why
   * not.
   */
  keepSecret(key: string, secret: string): Promise<{ readonly file: string } | string>;
  /** The effective configuration without secrets, as a text that another gateway can be started with. */
  exportSettings(): string;
  /** Answers with a sentence if the client cannot be admitted. */
  admit(clientId: string, peer: PeerId, isAnywhere: boolean): Promise<string | undefined>;
  /**
   * For these seconds, clients that no rule admits are admitted when they connect, at most `joinsMax` of them; 0 ends
   * it.
   */
  join(seconds: number): void;
  /** The state of `join`: the seconds and admissions that are left, and the clients that were admitted. */
  joining(): { readonly seconds: number; readonly left: number; readonly admitted: readonly string[] };
  /**
   * Makes a new key for this device, in hexadecimal. `isKnown`: whether the device must already have one. A sentence:
   * why not.
   */
  newKey(name: string, isKnown: boolean): Promise<{ readonly key: string } | string>;
  /** False: the device has no key here. */
  removeKey(name: string): Promise<boolean>;
  /** Devices with a key; the key itself is left out. */
  withKeys(): readonly { readonly name: string; readonly added: string }[];
  /** Gives this topic id to this topic name from now on, for all clients or for one. A sentence: why not. */
  predefine(id: number, name: string, client: string | undefined): Promise<string | undefined>;
  /** False: the topic id was not added by hand. */
  endPredefined(id: number, client: string | undefined): Promise<boolean>;
  /** False: the client was not admitted by hand. */
  withdraw(clientId: string): Promise<boolean>;
  /** Addresses of the console for a browser, with a token for one login. A sentence: there is no console. */
  link(role: Role): readonly string[] | string;
  /** The roles that see payloads over HTTP. */
  payloadsFor(): PayloadsFor;
  /** Tokens of programs; `isManaged` false: the token is in the configuration. */
  tokens(): readonly {
    readonly name: string;
    readonly role: Role;
    readonly added?: string | undefined;
    readonly isManaged: boolean;
  }[];
  /** Answers with a sentence if the token cannot be added. */
  addToken(token: { readonly name: string; readonly role: Role; readonly hash: string }): Promise<string | undefined>;
  /** False: no token of this name can be removed. */
  removeToken(name: string): Promise<boolean>;
  /** Answers with a sentence if the password cannot be set. */
  setPassword(hash: string): Promise<string | undefined>;
}

export interface BrokerFacts {
  /** "" = the default broker. */
  readonly name: string;
  readonly url: string;
  readonly isThere: boolean;
  /** Seconds in the present state; undefined: since the gateway started. */
  readonly sinceSeconds?: number | undefined;
  /** The error text of the broker or the network; "" = none yet. */
  readonly why: string;
  /** Octets for each day, the newest day first. */
  readonly octets: readonly DayOfOctets[];
}

export interface TransportFacts {
  readonly name: string;
  readonly place: string;
  readonly stats: TransportStats;
  readonly links?: LinkReport | undefined;
}

export interface Settings {
  /** The path of the configuration file; absent: there is none. */
  readonly file?: string | undefined;
  /** The effective configuration, defaults included; secrets are masked. */
  readonly configuration: unknown;
  /** JSON schema, with a description of each key. */
  readonly schema: unknown;
  readonly managedFile?: string | undefined;
  readonly admitted: readonly {
    readonly clientId: string;
    readonly from?: string | undefined;
    readonly at: string;
    readonly by: string;
  }[];
  /** The contents of the file. */
  readonly written: {
    readonly values?: unknown;
    /** The user names the version again when saving, because another user may have changed the file meanwhile. */
    readonly version: string;
    /** Why the file cannot be changed; absent: it can. */
    readonly readOnly?: string | undefined;
    /** Sections that were changed since the start; the changes take effect at the next start. */
    readonly restart: readonly string[];
  };
}

export interface SettingChange {
  readonly path: readonly (string | number)[];
  /** Undefined: the key is removed. */
  readonly value?: unknown;
}

export interface TriedSettings {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly difference: readonly { readonly kind: "same" | "out" | "in"; readonly text: string }[];
  readonly restart: readonly string[];
}

export const emptyInstallation: Installation = {
  version: "",
  uptimeSeconds: () => 0,
  clock: () => ({ at: 0, isTrusted: true }),
  brokers: () => [],
  transports: () => [],
  identityOf: () => undefined,
  wakingsOf: () => [],
  knocks: new Knocks(() => 0),
  totals: new TotalsOfTheHour(),
  storeKind: "memory",
  pair: () => undefined,
  drain: async () => "this gateway does not belong to a pair (store.pair)",
  fleet: () => undefined,
  leave: async () => "this gateway does not belong to a fleet (fleet)",
  keepsWhenAway: false,
  predefined: () => ({ forAll: {}, byClient: {}, byHand: [] }),
  predefine: async () => "it cannot be stored here",
  endPredefined: async () => false,
  reason: () => undefined,
  addresses: () => [],
  settings: () => ({
    configuration: {},
    schema: {},
    admitted: [],
    written: { version: "", readOnly: "there is no file", restart: [] },
  }),
  trySettings: async () => "there is no file",
  saveSettings: async () => "there is no file",
  keepSecret: async () => "there is no folder",
  exportSettings: () => "{}\n",
  admit: async () => "it cannot be stored",
  join: () => {},
  joining: () => ({ seconds: 0, left: 0, admitted: [] }),
  newKey: async () => "it cannot be stored",
  removeKey: async () => false,
  withKeys: () => [],
  withdraw: async () => false,
  link: () => "there is no console",
  payloadsFor: () => "operators",
  tokens: () => [],
  addToken: async () => "it cannot be stored",
  removeToken: async () => false,
  setPassword: async () => "there is no console",
};
