/**
 * Part of the composition root: the operator's view of the gateway. It joins core, edges and configuration to an
 * `Installation`.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { type ConsoleOptions, ConsoleServer } from "./api/console.ts";
import { LogIn } from "./api/log-in.ts";
import { listOf } from "./api/proxies.ts";
import { configurationSchema } from "./config/documentation.ts";
import { deviceName, type Managed, withManagedTopics } from "./config/managed.ts";
import { isBluetoothAddress } from "./config/origins.ts";
import { isPasswordOf } from "./config/password-hash.ts";
import { type Shown, shownBy } from "./config/payloads.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { exported, SettingsFile } from "./config/settings-file.ts";
import { shownConfig } from "./config/shown.ts";
import type { GatewayEvent } from "./core/event.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import { neighbourOf, transportNameOf } from "./core/peer-id.ts";
import type { PeerId } from "./core/types.ts";
import { GatewayError } from "./errors.ts";
import { dropReasonRows } from "./observe/drop-reasons.ts";
import { Live, type LiveNames } from "./observe/live.ts";
import { type Role, showsPayloads } from "./roles.ts";
import type { BrokerFacts, Installation, TransportFacts } from "./runtime/installation.ts";
import { Knocks } from "./runtime/knocks.ts";
import { OctetDays, type Octets } from "./runtime/octet-days.ts";
import { transportOf } from "./runtime/perform.ts";
import { TotalsOfTheHour, totalsEverySeconds } from "./runtime/totals.ts";
import type { WallClock } from "./runtime/wall-clock.ts";
import type { Transport, TurnedAway } from "./transports/transport.ts";
import { shownBrokers } from "./upstream/options.ts";

/** What the view needs of the core; in a fleet, of the cores of all shards of a process. */
export interface LookoutCore extends LiveNames, Pick<GatewayCore, "brokers"> {
  readonly counters: {
    readonly publishedUp: number;
    readonly acceptedUp: number;
    readonly deliveredDown: number;
    readonly received: Readonly<Record<string, number>>;
    readonly sent: Readonly<Record<string, number>>;
    readonly dropped: Readonly<Record<string, number>>;
  };
}

export interface LookoutParts {
  readonly core: LookoutCore;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly managed: Managed;
  readonly wallClock: WallClock;
  readonly version: string;
  /** The configuration's file; undefined: none. */
  readonly file: string | undefined;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly config: () => GatewayConfig;
  /** The result of a script for a recent payload. */
  readonly scriptValue: Shown;
  /** The list of admitted clients has changed: all connected clients are checked again. */
  readonly accessChanged: () => void;
  /** Topic ids that were given by hand changed. */
  readonly predefinedChanged: () => void;
  readonly wakingsOf: Installation["wakingsOf"];
  /** Takes over the settings that can change while running. Returns the sections that need a restart. */
  readonly reload: (config: GatewayConfig) => readonly string[];
  /** `http://127.0.0.1:9464`, or "" if there is no API. */
  readonly place: () => string;
  readonly pair: Installation["pair"];
  readonly drain: Installation["drain"];
  /** Octets to and from the brokers since the gateway started, by upstream; "" = the default one. */
  readonly octets: () => ReadonlyMap<string, Octets>;
}

/** The end of a day is noticed at most this much too early or too late. Each connection is asked. */
const octetsEveryMs = 60_000;

interface BrokerState {
  isThere: boolean;
  since: number | undefined;
  why: string;
}

export class Lookout {
  readonly live: Live;
  readonly installation: Installation;
  readonly #parts: LookoutParts;
  readonly #knocks: Knocks;
  readonly #totals = new TotalsOfTheHour();
  readonly #octets = new OctetDays();
  #octetsNotedAt = Number.NEGATIVE_INFINITY;
  readonly #brokers = new Map<string, BrokerState>();
  readonly #logIn: LogIn;
  readonly #settings: SettingsFile;
  readonly #startedAt: number;
  #timer: NodeJS.Timeout | undefined;
  /** Until this time, clients that no rule admits are admitted, at most `joinsMax` of them. */
  #joinUntil = 0;
  #joinsLeft = 0;
  #joined: string[] = [];

  constructor(parts: LookoutParts) {
    this.#parts = parts;
    const { core, managed, now } = parts;
    const wallClock = () => parts.wallClock.now();
    this.#startedAt = now();
    this.#settings = new SettingsFile(parts.file, parts.config);
    this.#knocks = new Knocks(wallClock);
    const shown = valuesBy(parts.config, parts.scriptValue);
    this.live = new Live(core, wallClock, shown);
    this.#logIn = new LogIn(
      {
        logins: () => managed.state.console.logins,
        change: (change) => managed.changeLogins(change),
        isPassword: async (password) => {
          const hash = managed.state.console.password;
          return hash !== undefined && (await isPasswordOf(hash, password));
        },
        tokens: () => [...managed.state.console.tokens, ...configuredTokens(parts.config())],
      },
      wallClock,
      now,
    );
    this.installation = this.#installation();
  }

  /** Called for each event of the core, also if no page is open. Does nothing per message. */
  readonly report = (event: GatewayEvent): void => {
    this.live.report(event);
    this.#knocks.note(event);
    if (event.event === "not_admitted" && this.#joinUntil > this.#parts.now()) void this.#letJoin(event);
    if (event.event === "link_state" && event.clientId === undefined) this.#noteBrokers(event.why);
  };

  /**
   * A device that could not prove its identity is listed with the refused devices. `canAdd`: a command can add its key.
   */
  turnedAway(refusal: TurnedAway, canAdd: boolean): void {
    // The sender chose the identity, and an operator may paste the line into a shell.
    const { success, data } = deviceName.safeParse(refusal.identity);
    this.#knocks.noteTurnedAway(
      refusal,
      canAdd && success && refusal.isUnknown ? `mqtt-sn-gateway device add ${data}` : "",
    );
    this.live.knocked();
  }

  start(): void {
    this.#noteTotals();
    this.#timer = setInterval(() => this.#noteTotals(), totalsEverySeconds * 1_000).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** @param said called when a user logged in or failed to */
  console(desk: ConsoleOptions["desk"], said: (who: string, what: string) => void): ConsoleServer {
    const { managed, now, config } = this.#parts;
    const { ingress } = config().api;
    return new ConsoleServer({
      desk,
      logIn: this.#logIn,
      live: this.live,
      folder: pageFolder(),
      hosts: config().api.hosts,
      proxies: listOf([...config().api.proxies, ...(ingress ? [ingress.from] : [])]),
      ingress,
      isForLan: () => managed.state.console.isForLan,
      showsPayloads: (role) => showsPayloads(config().api.payloads, role),
      hasPassword: () => managed.state.console.password !== undefined,
      said,
      now,
    });
  }

  #noteTotals(): void {
    if (this.#parts.now() - this.#octetsNotedAt >= octetsEveryMs) this.#noteOctets();
    const { publishedUp, acceptedUp, deliveredDown, received, sent, dropped } = this.#parts.core.counters;
    this.#totals.note(this.#parts.wallClock.now(), {
      published: publishedUp + acceptedUp,
      delivered: deliveredDown,
      heard: sum(received),
      sent: sum(sent),
      dropped: sum(dropped),
    });
  }

  #noteOctets(): void {
    this.#octetsNotedAt = this.#parts.now();
    this.#octets.note(this.#parts.wallClock.trusted(), this.#parts.octets());
  }

  /** The event does not name the part that changed, so all parts are compared. */
  #noteBrokers(why: string): void {
    for (const { name, isThere } of this.#parts.core.brokers()) {
      const before = this.#brokers.get(name);
      if (before?.isThere === isThere) {
        if (!isThere) before.why = why;
        continue;
      }
      const isFirst = before === undefined && !isThere;
      this.#brokers.set(name, { isThere, since: isFirst ? undefined : this.#parts.now(), why });
    }
  }

  #installation(): Installation {
    const { core, transports, managed, wallClock, version, file, now, config } = this.#parts;
    return {
      version,
      uptimeSeconds: () => Math.floor((now() - this.#startedAt) / 1_000),
      clock: () => ({ at: wallClock.now(), isTrusted: wallClock.trusted() !== undefined }),
      brokers: () => {
        this.#noteOctets();
        return core.brokers().map((broker) => this.#factsOf(broker));
      },
      transports: () => [...transports.values()].map(transportFacts),
      identityOf: (peer) => transportOf(peer, transports).identityOf(neighbourOf(peer)),
      wakingsOf: this.#parts.wakingsOf,
      knocks: this.#knocks,
      totals: this.#totals,
      storeKind: config().store.kind,
      pair: () => this.#parts.pair(),
      drain: () => this.#parts.drain(),
      fleet: () => undefined,
      leave: async () => "this gateway does not belong to a fleet (fleet)",
      keepsWhenAway: config().store.kind !== "memory" && config().uplink.whenAway === "store",
      predefined: () => {
        const topics = withManagedTopics(config().topics, managed.state);
        return { forAll: topics.predefined, byClient: topics.predefinedFor, byHand: managed.state.predefined };
      },
      predefine: (id, name, client) => this.#predefine(id, name, client),
      endPredefined: async (id, client) => {
        const was = await managed.endPredefined({ id, client });
        if (was) this.#parts.predefinedChanged();
        return was;
      },
      reason: (name) => Object.entries(dropReasonRows).find(([reason]) => reason === name)?.[1],
      addresses: ownAddresses,
      settings: () => ({
        file,
        configuration: shownConfig(config()),
        schema: configurationSchema(),
        managedFile: managed.path,
        admitted: managed.state.admitted,
        written: this.#settings.written(),
      }),
      trySettings: async (changes) => sentenceOr(async () => this.#settings.attempt(changes)),
      saveSettings: (changes, version) =>
        sentenceOr(async () => {
          const restart = this.#parts.reload(await this.#settings.save(changes, version));
          return { restart, version: this.#settings.written().version };
        }),
      keepSecret: (key, secret) => sentenceOr(() => this.#settings.keepSecret(key, secret)),
      exportSettings: () =>
        exported({ ...config(), topics: withManagedTopics(config().topics, managed.state) }, managed.state.admitted),
      admit: (clientId, peer, isAnywhere) => this.#admit(clientId, peer, isAnywhere),
      join: (seconds) => {
        this.#joinUntil = this.#parts.now() + seconds * 1_000;
        this.#joinsLeft = seconds === 0 ? 0 : joinsMax;
        if (seconds > 0) this.#joined = [];
      },
      joining: () => {
        const seconds = Math.max(0, Math.ceil((this.#joinUntil - this.#parts.now()) / 1_000));
        return { seconds, left: seconds === 0 ? 0 : this.#joinsLeft, admitted: this.#joined };
      },
      newKey: (name, isKnown) => this.#newKey(name, isKnown),
      removeKey: async (name) => {
        const was = await managed.removeDevice(name);
        if (was) this.#parts.accessChanged();
        return was;
      },
      withKeys: () => managed.state.devices.map(({ name, added }) => ({ name, added })),
      withdraw: async (clientId) => {
        const was = await managed.withdraw(clientId);
        if (was) this.#parts.accessChanged();
        return was;
      },
      link: (role) => this.#link(role),
      payloadsFor: () => config().api.payloads,
      tokens: () => [
        ...managed.state.console.tokens.map(({ name, role, added }) => ({ name, role, added, isManaged: true })),
        ...configuredTokens(config()).map(({ name, role }) => ({ name, role, isManaged: false })),
      ],
      addToken: (token) => sentenceOf(managed.addToken({ ...token, added: new Date(wallClock.now()).toISOString() })),
      removeToken: (name) => managed.removeToken(name),
      setPassword: async (hash) => {
        if (!config().api.console || this.#parts.place() === "") return noConsole;
        return sentenceOf(managed.setPassword(hash, true));
      },
    };
  }

  #factsOf({ name, isThere }: { readonly name: string; readonly isThere: boolean }): BrokerFacts {
    const { upstream, upstreams } = this.#parts.config();
    const options = name === "" ? upstream : upstreams.find((each) => each.name === name);
    const { since, why = "" } = this.#brokers.get(name) ?? {};
    const sinceSeconds = since === undefined ? undefined : Math.floor((this.#parts.now() - since) / 1_000);
    return {
      name,
      url: options ? shownBrokers(options) : "",
      isThere,
      sinceSeconds,
      why,
      octets: this.#octets.of(name),
    };
  }

  async #admit(clientId: string, peer: PeerId, isAnywhere: boolean, by = "console"): Promise<string | undefined> {
    const { managed, transports, wallClock } = this.#parts;
    const at = new Date(wallClock.now()).toISOString();
    const from = isAnywhere ? {} : { from: placeOf(peer, transports) };
    const problem = await sentenceOf(managed.admit({ clientId, ...from, at, by }));
    if (problem === undefined) this.#parts.accessChanged();
    return problem;
  }

  async #predefine(id: number, name: string, client: string | undefined): Promise<string | undefined> {
    const { managed, wallClock, config } = this.#parts;
    if (id === config().topics.timeId) return `topic id ${id} is topics.timeId, with which devices ask for the time`;
    const at = new Date(wallClock.now()).toISOString();
    const problem = await sentenceOf(managed.predefine({ id, name, ...(client !== undefined && { client }), at }));
    if (problem === undefined) this.#parts.predefinedChanged();
    return problem;
  }

  async #newKey(name: string, isKnown: boolean): Promise<{ key: string } | string> {
    const { managed, wallClock } = this.#parts;
    if (managed.state.devices.some((each) => each.name === name) !== isKnown)
      return isKnown
        ? `"${name}" has no key here: the command device add makes one`
        : `"${name}" has a key already: the command device rotate makes another one`;
    const key = randomBytes(16).toString("hex");
    const problem = await sentenceOf(managed.keepDevice({ name, key, added: new Date(wallClock.now()).toISOString() }));
    if (problem !== undefined) return problem;
    this.#parts.accessChanged(); // disconnects clients that use this name without the key
    return { key };
  }

  /**
   * This CONNECT is refused; the rule that is added now admits the next one. Only for clients that are refused because
   * no rule names them.
   */
  async #letJoin({ what, clientId, peer, hint }: Extract<GatewayEvent, { event: "not_admitted" }>): Promise<void> {
    if (what !== "client" || clientId === undefined || this.#joinsLeft === 0 || !hint.startsWith("access.rules"))
      return;
    const { admitted } = this.#parts.managed.state;
    if (admitted.some((each) => each.clientId === clientId)) return; // the client tried twice
    this.#joinsLeft--;
    const problem = await this.#admit(clientId, peer, false, "join");
    if (problem !== undefined) return;
    this.#joined.push(clientId);
    this.#knocks.forget(clientId);
  }

  #link(role: Role): readonly string[] | string {
    const { config, managed, place } = this.#parts;
    const { api } = config();
    if (!api.console || place() === "") return noConsole;
    const { port } = new URL(place());
    const { isForLan } = managed.state.console;
    const isAll = ["0.0.0.0", "::"].includes(api.host);
    const isHere = isAll || /^(127\.|::1$|localhost$)/.test(api.host);
    const hosts = [
      ...(isHere ? [isAll ? "127.0.0.1" : api.host] : []),
      ...(isForLan ? (isAll ? ownAddresses() : isHere ? [] : [api.host]) : []),
    ];
    if (hosts.length === 0)
      return `api.host is ${api.host}, and the console is only for this machine: set it to 127.0.0.1, or run \`mqtt-sn-gateway console --lan\``;
    const token = this.#logIn.newToken(role);
    return hosts.map((host) => `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}/#token=${token}`);
  }
}

/** Clients that `join` admits at one time. An operator who sets up devices by hand does not need more. */
const joinsMax = 100;

const noConsole = "there is no console: api.enabled or api.console is false, or its port could not be opened";

function configuredTokens({ api }: GatewayConfig) {
  return api.tokens.map(({ name, role, sha256 }) => ({ name, role, hash: sha256 }));
}

/** Shows values by the current declarations; for declarations with a script, by the script's result. */
function valuesBy(config: () => GatewayConfig, scriptValue: Shown): Shown {
  let [payloads, shown] = [config().payloads, shownBy(config().payloads)];
  return (way, clientId, topicName, payload) => {
    if (config().payloads !== payloads) [payloads, shown] = [config().payloads, shownBy(config().payloads)];
    return shown(way, clientId, topicName, payload) ?? scriptValue(way, clientId, topicName, payload);
  };
}

/** The origin of a peer, in the form of an entry of `from` in the rules of `access`. */
function placeOf(peer: PeerId, transports: ReadonlyMap<string, Transport>): string {
  const { name, by, verified } = transportOf(peer, transports).identityOf(neighbourOf(peer));
  // A name with a star would be a pattern.
  if (verified) return /[*?]/.test(name) ? `transport:${transportNameOf(peer)}` : `${by}:${name}`;
  return isIP(name) !== 0 || isBluetoothAddress(name) ? name : `transport:${transportNameOf(peer)}`;
}

function transportFacts(transport: Transport): TransportFacts {
  const { name, place } = transport;
  return { name, place, stats: transport.stats(), links: transport.links?.() };
}

/** The addresses of this machine for devices in the same network. */
function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.filter(({ internal, family }) => !internal && family === "IPv4").map(({ address }) => address);
}

/** The page's folder is beside the compiled gateway. A gateway that runs from the sources uses the last build. */
function pageFolder(): URL {
  const beside = new URL("./console/", import.meta.url);
  return existsSync(new URL("console.js", beside)) ? beside : new URL("../dist/console/", import.meta.url);
}

async function sentenceOr<T>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { problems } = error.details;
    return Array.isArray(problems) ? problems.join("; ") : error.message;
  }
}

async function sentenceOf(work: Promise<void>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  let all = 0;
  for (const count of Object.values(counts)) all += count;
  return all;
}
