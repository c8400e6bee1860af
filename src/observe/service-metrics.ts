/**
 * Metrics that an operator watches besides traffic: the version, each upstream, durations, certificates that end soon.
 */
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { type Durations, durationEndsSeconds } from "../durations.ts";

export interface UpstreamSource {
  readonly name: string;
  readonly isThere: boolean;
  readonly linksUp: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Octets, as TCP carries them. */
  readonly carried: { readonly in: number; readonly out: number };
  readonly tls: { readonly full: number; readonly resumed: number };
  readonly droppedCongested: number;
  readonly receiveMaximumExceeded: number;
  readonly acknowledgement: Durations;
  /** `endsAt`: milliseconds since 1970. */
  readonly certificates: readonly { readonly of: string; readonly endsAt: number }[];
}

export interface ServiceSources {
  readonly version: string;
  upstreams(): readonly UpstreamSource[];
  commits(): Durations;
  wakings(): Durations;
  /** For each kind of work, how long the event loop did it without a pause. */
  steps(): Readonly<Record<string, Durations>>;
  /** The questions to scripts; undefined: there are no scripts. */
  scripts(): ScriptCounts | undefined;
  /** Age of the oldest publication that waits on disk for a broker, in seconds; 0: none waits. */
  oldestBacklogSeconds(): number;
  /** Gateways in this process that serve clients and still read sessions of the last run. */
  restoring(): number;
  /** The state of a gateway in a pair; undefined: the gateway is alone. */
  pair?():
    | {
        readonly role: string;
        readonly epoch: number;
        readonly name: string;
        readonly owner: string;
        readonly trouble: string;
        readonly leaseLeftSeconds: number;
        readonly other?: object;
        readonly handover?: { readonly cause: string; readonly secondsAgo: number };
      }
    | undefined;
}

export interface ScriptCounts {
  readonly asked: number;
  readonly overTime: number;
  readonly turnedAway: number;
  readonly restarts: number;
}

type Labels = Record<string, string>;
type Rows = () => readonly (readonly [Labels, number])[];

export function addServiceMetrics(registry: Registry, sources: ServiceSources): void {
  const making = makersFor(registry);
  const { gauge } = making;
  gauge("build_info", "1; the labels say what runs", ["version", "node"], () => [
    [{ version: sources.version, node: process.versions.node }, 1],
  ]);
  gauge(
    "backlog_oldest_seconds",
    "Age of the oldest publication that waits on disk for a broker, of the 50 clients with the most; 0: none waits",
    [],
    () => [[{}, sources.oldestBacklogSeconds()]],
  );
  gauge(
    "restoring",
    "1 while clients are served and sessions of the last run are still read; in a fleet the number of such shards",
    [],
    () => [[{}, sources.restoring()]],
  );
  addUpstreams(making, sources);
  addScripts(making, sources);
  addPair(making, sources);
  addDurations(registry, sources);
}

type Maker = (name: string, help: string, labelNames: string[], rows: Rows) => void;

interface Makers {
  readonly gauge: Maker;
  readonly counter: Maker;
}

/** Metrics that are read when they are asked for. */
function makersFor(registry: Registry): Makers {
  const gauge = (name: string, help: string, labelNames: string[], rows: Rows) =>
    new Gauge({
      name: `mqttsn_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of rows()) this.set(labels, value);
      },
    });
  const counter = (name: string, help: string, labelNames: string[], rows: Rows) =>
    new Counter({
      name: `mqttsn_${name}`,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of rows()) this.inc(labels, value);
      },
    });
  return { gauge, counter };
}

function addUpstreams({ gauge, counter }: Makers, { upstreams }: ServiceSources): void {
  const each =
    (value: (upstream: UpstreamSource) => number): Rows =>
    () =>
      upstreams().map((upstream) => [{ upstream: upstream.name }, value(upstream)]);
  gauge(
    "upstream_up",
    "1 while the gateway's own connection to this upstream's broker stands",
    ["upstream"],
    each(({ isThere }) => (isThere ? 1 : 0)),
  );
  gauge(
    "upstream_connections",
    "Connections to the broker, by upstream",
    ["upstream"],
    each(({ linksUp }) => linksUp),
  );
  counter(
    "upstream_qos0_dropped_total",
    "QoS 0 publications dropped because the broker's connection was full, by upstream",
    ["upstream"],
    each(({ droppedCongested }) => droppedCongested),
  );
  counter(
    "upstream_receive_maximum_ended_total",
    "Connections ended because the broker sent more than receiveMaximum, by upstream",
    ["upstream"],
    each(({ receiveMaximumExceeded }) => receiveMaximumExceeded),
  );
  counter(
    "upstream_bytes_total",
    "Octets from (in) and to (out) the broker, by upstream: MQTT packets, without CONNECT, PINGREQ and what TLS and TCP add",
    ["upstream", "direction"],
    () =>
      upstreams().flatMap(({ name, bytesIn, bytesOut }) => [
        [{ upstream: name, direction: "in" }, bytesIn] as const,
        [{ upstream: name, direction: "out" }, bytesOut] as const,
      ]),
  );
  counter(
    "upstream_wire_bytes_total",
    "Octets from (in) and to (out) the broker as TCP carries them, by upstream: all connections, with TLS, WebSocket, CONNECT and PINGREQ",
    ["upstream", "direction"],
    () =>
      upstreams().flatMap(({ name, carried }) => [
        [{ upstream: name, direction: "in" }, carried.in] as const,
        [{ upstream: name, direction: "out" }, carried.out] as const,
      ]),
  );
  counter(
    "upstream_tls_handshakes_total",
    "TLS handshakes with the broker, by upstream: full ones, and resumed ones, which cost less than half",
    ["upstream", "kind"],
    () =>
      upstreams().flatMap(({ name, tls }) => [
        [{ upstream: name, kind: "full" }, tls.full] as const,
        [{ upstream: name, kind: "resumed" }, tls.resumed] as const,
      ]),
  );
  gauge(
    "certificate_expiry_timestamp_seconds",
    "When a certificate ends, in seconds since 1970: the broker's as last seen (in a full handshake), ours and the authorities' as read",
    ["upstream", "of"],
    () =>
      upstreams().flatMap(({ name, certificates }) =>
        certificates.map(({ of, endsAt }) => [{ upstream: name, of }, endsAt / 1_000] as const),
      ),
  );
}

function addScripts({ counter }: Makers, sources: ServiceSources): void {
  const ofScripts =
    (rows: (counts: ScriptCounts) => readonly (readonly [Labels, number])[]): Rows =>
    () => {
      const counts = sources.scripts();
      return counts ? rows(counts) : [];
    };
  counter(
    "script_questions_total",
    "Messages for a script in `payloads`: asked, of these over_time; and turned_away, for which the script was not asked",
    ["outcome"],
    ofScripts(({ asked, overTime, turnedAway }) => [
      [{ outcome: "asked" }, asked],
      [{ outcome: "over_time" }, overTime],
      [{ outcome: "turned_away" }, turnedAway],
    ]),
  );
  counter(
    "script_restarts_total",
    "How often the process in which scripts run ended, or was killed",
    [],
    ofScripts(({ restarts }) => [[{}, restarts]]),
  );
}

function addPair({ gauge }: Makers, sources: ServiceSources): void {
  const ofPair =
    (value: (facts: NonNullable<ReturnType<NonNullable<ServiceSources["pair"]>>>) => number): Rows =>
    () => {
      const facts = sources.pair?.();
      return facts ? [[{ name: facts.name, owner: facts.owner }, value(facts)]] : [];
    };
  const names = ["name", "owner"];
  gauge(
    "pair_active",
    "1 while this gateway of a pair is active, 0 while it stands by; absent: it has no pair",
    names,
    ofPair(({ role }) => (role === "active" ? 1 : 0)),
  );
  gauge(
    "pair_epoch",
    "How often a gateway of the pair has become active, as far as this one knows",
    names,
    ofPair(({ epoch }) => epoch),
  );
  gauge(
    "pair_trouble",
    "1 while the lease of the pair cannot be read or claimed",
    names,
    ofPair(({ trouble }) => (trouble === "" ? 0 : 1)),
  );
  gauge(
    "pair_other_seen",
    "1 while the other gateway of the pair is seen, standing by or active",
    names,
    ofPair(({ other }) => (other ? 1 : 0)),
  );
  gauge(
    "pair_lease_left_seconds",
    "Until the active one of the pair gives up, or the one that stands by takes over, if the lease is not renewed; 0: no gateway has it",
    names,
    ofPair(({ leaseLeftSeconds }) => leaseLeftSeconds),
  );
  gauge(
    "pair_handover_seconds",
    "Seconds since the lease of the pair came to its holder, by cause: first, drained, ended, silent",
    ["name", "owner", "cause"],
    () => {
      const facts = sources.pair?.();
      if (!facts?.handover) return [];
      const { cause, secondsAgo } = facts.handover;
      return [[{ name: facts.name, owner: facts.owner, cause }, secondsAgo]];
    },
  );
}

function addDurations(registry: Registry, sources: ServiceSources): void {
  const { upstreams } = sources;
  const registers = [registry];
  new Durational(
    {
      name: "mqttsn_upstream_acknowledgement_seconds",
      help: "From a publication of a device at QoS 1 or 2 to the broker's answer (PUBACK, PUBREC), by upstream",
      labelNames: ["upstream"],
      registers,
    },
    () => upstreams().map(({ name, acknowledgement }) => [{ upstream: name }, acknowledgement]),
  );
  new Durational(
    {
      name: "mqttsn_waking_seconds",
      help: "From a sleeper's PINGREQ until it has all that waited for it, or is given up",
      registers,
    },
    () => [[{}, sources.wakings()]],
  );
  new Durational(
    {
      name: "mqttsn_step_seconds",
      help: "How long the gateway did one thing and nothing else: the datagrams of a wake-up, another input, deadlines that were due",
      labelNames: ["step"],
      registers,
    },
    () => Object.entries(sources.steps()).map(([step, durations]) => [{ step }, durations]),
  );
  new Durational(
    {
      name: "mqttsn_store_commit_seconds",
      help: "From a change of state until the store has it as durably as configured",
      registers,
    },
    () => [[{}, sources.commits()]],
  );
}

/** A histogram whose numbers are stored elsewhere. They are read only at a scrape. */
class Durational extends Histogram<string> {
  readonly #read: () => readonly (readonly [Labels, Durations])[];
  /** Gives the form of the result around the numbers. */
  readonly #empty: Histogram<string>;
  readonly #about: { readonly name: string; readonly help: string };

  constructor(
    about: { name: string; help: string; labelNames?: string[]; registers: Registry[] },
    read: () => readonly (readonly [Labels, Durations])[],
  ) {
    super({ ...about, buckets: [...durationEndsSeconds] });
    this.#empty = new Histogram({ ...about, registers: [] });
    this.#about = about;
    this.#read = read;
  }

  /** prom-client calls this when it makes the text. */
  getForPromString(): ReturnType<Histogram<string>["get"]> {
    return this.get();
  }

  override async get(): ReturnType<Histogram<string>["get"]> {
    const shape = await this.#empty.get();
    const { name } = this.#about;
    const values = this.#read().flatMap(([labels, durations]) => {
      let below = 0;
      const rows = durationEndsSeconds.map((end, i) => {
        below += durations.counts[i] ?? 0;
        return { metricName: `${name}_bucket`, labels: { ...labels, le: end }, value: below };
      });
      return [
        ...rows,
        { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: durations.count },
        { metricName: `${name}_sum`, labels, value: durations.sumSeconds },
        { metricName: `${name}_count`, labels, value: durations.count },
      ];
    });
    return { ...shape, values };
  }
}
