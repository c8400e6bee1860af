/**
 * What the operator's commands need besides core and store: transports and brokers, the configuration, refused devices. The composition
 * root has all of it, and passes it by this interface. `emptyInstallation` is for a core without these parts.
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
  /** When a client woke last, and for how long; the newest last. */
  wakingsOf(clientId: string): readonly { readonly secondsAgo: number; readonly awakeSeconds: number }[];
  readonly knocks: Knocks;
  readonly totals: TotalsOfTheHour;
  readonly storeKind: "disk" | "memory" | "redis";
  /** undefined: this gateway is none of a pair. */
  pair(): PairFacts | undefined;
  /** Hands over to the other one of the pair, then this gateway ends. A sentence: why not. */
  drain(): Promise<
    { readonly from: string; readonly to: string; readonly epoch: number; readonly milliseconds: number } | string
  >;
  /** undefined: this gateway is none of a fleet. */
  fleet(): FleetFacts | undefined;
  /** Hands all its shards over to the others of the fleet, then this gateway ends. A sentence: why not. */
  leave(): Promise<{ readonly shards: number } | string>;
  /** Publications of devices are kept on disk while the broker is away. */
  readonly keepsWhenAway: boolean;
  /** Predefined topic names: for all clients, and by client id. */
  predefined(): {
    readonly forAll: Readonly<Record<string, string>>;
    readonly byClient: Readonly<Record<string, Readonly<Record<string, string>>>>;
    /** Of these, those that were given by hand. */
    readonly byHand: readonly { readonly id: number; readonly name: string; readonly client?: string | undefined }[];
  };
  /** What a reason for a drop means, and what to do about it. */
  reason(name: string): { readonly meaning: string; readonly advice: string } | undefined;
  /** The addresses of this machine, where a device in the same network finds it. */
  addresses(): readonly string[];
  settings(): Settings;
  /** What a change of the configuration's file would mean, as `check` says it. A sentence: it cannot be looked at. */
  trySettings(changes: readonly SettingChange[]): Promise<TriedSettings | string>;
  /** Changes the file, and takes over what can change while running. A sentence: nothing was changed. */
  saveSettings(
    changes: readonly SettingChange[],
    version: string,
  ): Promise<{ readonly restart: readonly string[]; readonly version: string } | string>;
  /** A secret of this key goes into a file; answers what the configuration calls it by, or with a sentence. */
  keepSecret(key: string, secret: string): Promise<{ readonly file: string } | string>;
  /** The configuration as it counts, without secrets, as a text that can be started elsewhere. */
  exportSettings(): string;
  /** Answers with a sentence where it cannot be. */
  admit(clientId: string, peer: PeerId, isAnywhere: boolean): Promise<string | undefined>;
  /** For so long, clients that no rule admits are admitted when they connect, at most `joinsMax` of them; 0 = no longer. */
  join(seconds: number): void;
  /** How it stands with that. */
  joining(): { readonly seconds: number; readonly left: number; readonly admitted: readonly string[] };
  /** A new key for this device, in hexadecimal; `isKnown`: whether there has to be one already. A sentence where it cannot be. */
  newKey(name: string, isKnown: boolean): Promise<{ readonly key: string } | string>;
  /** False: it has no key here. */
  removeKey(name: string): Promise<boolean>;
  /** Devices with a key, without it. */
  withKeys(): readonly { readonly name: string; readonly added: string }[];
  /** This id is this topic's from now on, for all clients or one. A sentence where it cannot be. */
  predefine(id: number, name: string, client: string | undefined): Promise<string | undefined>;
  /** False: it was not given by hand. */
  endPredefined(id: number, client: string | undefined): Promise<boolean>;
  /** False: it was not admitted by hand. */
  withdraw(clientId: string): Promise<boolean>;
  /** Places where a browser finds the console, with a token that logs in once; a sentence where there is no console. */
  link(role: Role): readonly string[] | string;
  /** Who sees payloads, of those that ask by HTTP. */
  payloadsFor(): PayloadsFor;
  /** Tokens of programs; `isManaged` false: it stands in the configuration. */
  tokens(): readonly {
    readonly name: string;
    readonly role: Role;
    readonly added?: string | undefined;
    readonly isManaged: boolean;
  }[];
  /** A sentence where it cannot be. */
  addToken(token: { readonly name: string; readonly role: Role; readonly hash: string }): Promise<string | undefined>;
  /** False: there is none that could be taken back. */
  removeToken(name: string): Promise<boolean>;
  /** A sentence where it cannot be. */
  setPassword(hash: string): Promise<string | undefined>;
}

export interface BrokerFacts {
  /** "" = the general one. */
  readonly name: string;
  readonly url: string;
  readonly isThere: boolean;
  /** Since when; undefined: since the gateway started. */
  readonly sinceSeconds?: number | undefined;
  /** The broker's or the network's words for it; "" = none yet. */
  readonly why: string;
  /** By the day, the newest first. */
  readonly octets: readonly DayOfOctets[];
}

export interface TransportFacts {
  readonly name: string;
  readonly place: string;
  readonly stats: TransportStats;
  readonly links?: LinkReport | undefined;
}

export interface Settings {
  /** The file; absent: none. */
  readonly file?: string | undefined;
  /** As it counts, defaults included; secrets are masked. */
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
  /** What stands in the file. */
  readonly written: {
    readonly values?: unknown;
    /** The user names the version again when saving, because another user may have changed the file meanwhile. */
    readonly version: string;
    /** Why nothing can be changed; absent: it can. */
    readonly readOnly?: string | undefined;
    /** Sections that were changed since the start and count after the next. */
    readonly restart: readonly string[];
  };
}

export interface SettingChange {
  readonly path: readonly (string | number)[];
  /** Undefined: the key is taken out. */
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
  drain: async () => "this gateway is none of a pair (store.pair)",
  fleet: () => undefined,
  leave: async () => "this gateway is none of a fleet (fleet)",
  keepsWhenAway: false,
  predefined: () => ({ forAll: {}, byClient: {}, byHand: [] }),
  predefine: async () => "there is nothing here to keep it in",
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
  admit: async () => "there is nothing to keep it in",
  join: () => {},
  joining: () => ({ seconds: 0, left: 0, admitted: [] }),
  newKey: async () => "there is nothing to keep it in",
  removeKey: async () => false,
  withKeys: () => [],
  withdraw: async () => false,
  link: () => "there is no console",
  payloadsFor: () => "operators",
  tokens: () => [],
  addToken: async () => "there is nothing to keep it in",
  removeToken: async () => false,
  setPassword: async () => "there is no console",
};
