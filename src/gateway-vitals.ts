/**
 * Part of the composition root: the health of the gateway, for probes, metrics and people. It joins core and edges to
 * the sources of `ApiServer`.
 */

import type { ApiSources } from "./api/server.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics, type MetricSources } from "./observe/metrics.ts";
import { addServiceMetrics, type ServiceSources, type UpstreamSource } from "./observe/service-metrics.ts";
import type { Wakings } from "./observe/wakings.ts";
import type { CommitWatch } from "./runtime/commit-watch.ts";
import { oldestBacklogAt } from "./runtime/operator.ts";
import type { Steps } from "./runtime/steps.ts";
import type { WallClock } from "./runtime/wall-clock.ts";
import type { RunnerCounters } from "./script/runner.ts";
import type { PairFacts } from "./storage/lease.ts";
import type { Store } from "./storage/store.ts";
import type { LinkReport, SecureReport, Transport } from "./transports/transport.ts";
import type { MqttUpstream } from "./upstream/mqtt-upstream.ts";

/** Milliseconds between two looks for the oldest publication on disk. */
const lookAtBacklogEveryMs = 15_000;

export interface VitalsParts {
  readonly core: GatewayCore;
  readonly transports: ReadonlyMap<string, Transport>;
  /** The upstreams by name; "" is the default one. */
  readonly mqtt: ReadonlyMap<string, MqttUpstream>;
  readonly store: Store;
  readonly log: Log;
  readonly version: string;
  /** The time in monotonic milliseconds. */
  readonly now: () => number;
  readonly wallClock: WallClock;
  readonly commits: CommitWatch;
  readonly wakings: Wakings;
  readonly steps: Steps;
  /** Undefined: there are no scripts. */
  readonly scripts: () => RunnerCounters | undefined;
  /** Devices are answered. */
  readonly serves: () => boolean;
  /** Undefined: this gateway is not part of a pair. */
  readonly pair: () => PairFacts | undefined;
}

export type Health = {
  ok: boolean;
  broker: string;
  upstreams: Record<string, { ok: boolean; connections: number }>;
  store: string;
  uptimeSeconds: number;
  clients: number;
  transports: string[];
  /** For a gateway of a pair: whether it is active, and which gateway is. */
  pair?: PairFacts;
};

export type NamedSecureReport = SecureReport & { readonly transport: string };

export class Vitals {
  readonly #parts: VitalsParts;
  readonly #startedAt: number;
  /** The last result with its time, because a scrape must not wait for the disk. */
  #oldestBacklog = { at: 0, lookedAt: Number.NEGATIVE_INFINITY };

  constructor(parts: VitalsParts) {
    this.#parts = parts;
    this.#startedAt = parts.now();
  }

  health(): Health {
    const { core, transports, now } = this.#parts;
    const fails = core.storeFails;
    const there = core.brokerThere;
    const pair = this.#parts.pair();
    // A gateway that stands by has no connection to a broker, and needs none.
    const works = pair && pair.role !== "active" ? pair.role === "standby" : there && !fails;
    return {
      ok: works && (pair?.trouble ?? "") === "",
      broker: there ? "connected" : "away",
      upstreams: Object.fromEntries(
        this.#upstreamSources().map(({ name, isThere, linksUp }) => [name, { ok: isThere, connections: linksUp }]),
      ),
      store: fails ? "failing" : "ok",
      uptimeSeconds: Math.floor((now() - this.#startedAt) / 1_000),
      clients: core.sizes.sessions,
      transports: [...transports.values()].map(({ name, place }) => `${name} ${place}`),
      ...(pair && { pair }),
    };
  }

  /** Networks whose devices have links, by the transport's name. */
  links(): (LinkReport & { readonly transport: string })[] {
    return [...this.#parts.transports.values()].flatMap((transport) => {
      const report = transport.links?.();
      return report ? [{ ...report, transport: transport.name }] : [];
    });
  }

  /** A report for each transport that encrypts. */
  secureReports(): readonly NamedSecureReport[] {
    return [...this.#parts.transports.values()].flatMap((transport) => {
      const report = transport.secureReport?.();
      return report ? [{ ...report, transport: transport.name }] : [];
    });
  }

  /** The sources of the health probes and of Prometheus. The metrics are made here, once. */
  sources(): ApiSources {
    const { core, commits, serves } = this.#parts;
    const metrics = createMetrics(this.metricSources());
    addServiceMetrics(metrics, this.serviceSources());
    return {
      health: () => this.health(),
      probes: {
        commitWaitsSeconds: () => commits.waitingSeconds,
        storeFails: () => core.storeFails,
        serves: () => serves(),
      },
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.metrics() }),
    };
  }

  /** Seconds for which the oldest commit has not been answered; 0: none waits. */
  get commitWaitsSeconds(): number {
    return this.#parts.commits.waitingSeconds;
  }

  /** The sources of the metrics of the service: each upstream, and how long things take. */
  serviceSources(): ServiceSources {
    const { commits, wakings, steps, scripts, version, pair } = this.#parts;
    return {
      version,
      upstreams: () => this.#upstreamSources(),
      commits: () => commits.durations,
      wakings: () => wakings.durations,
      steps: () => steps.durations,
      scripts: () => scripts(),
      oldestBacklogSeconds: () => this.#oldestBacklogSeconds(),
      restoring: () => (this.#parts.core.isRestoring ? 1 : 0),
      pair: () => pair(),
    };
  }

  /** The sources of the metrics of devices and brokers. */
  metricSources(): MetricSources {
    const { core, transports } = this.#parts;
    return {
      core: core.counters,
      sessionsByState: () => core.sessionsByState,
      transports: () =>
        [...transports.values()].map((transport) => ({ name: transport.name, stats: transport.stats() })),
      links: () => this.links(),
      secure: () => this.secureReports(),
      linksUp: () => this.#sumOfUpstreams(({ linksUp }) => linksUp),
      brokerThere: () => core.brokerThere,
      storeFails: () => core.storeFails,
      droppedCongested: () => this.#sumOfUpstreams(({ counters }) => counters.droppedCongested),
      receiveMaximumExceeded: () => this.#sumOfUpstreams(({ counters }) => counters.receiveMaximumExceeded),
    };
  }

  /** Each upstream by its name; the default one is "default", unless another has that name. */
  #upstreamSources(): UpstreamSource[] {
    const general = this.#parts.mqtt.has("default") ? "(general)" : "default";
    const there = new Map(this.#parts.core.brokersThere.map(({ name, isThere }) => [name, isThere]));
    return [...this.#parts.mqtt].map(([name, { counters, linksUp, certificates }]) => ({
      ...counters,
      carried: counters.wire.total,
      name: name === "" ? general : name,
      isThere: there.get(name) ?? false,
      linksUp,
      certificates,
    }));
  }

  /** The last result. If it is old, a new one is read after the scrape. */
  #oldestBacklogSeconds(): number {
    if (this.#parts.core.counters.backlogMessages === 0) return 0;
    const now = this.#parts.now();
    if (now - this.#oldestBacklog.lookedAt > lookAtBacklogEveryMs) {
      this.#oldestBacklog.lookedAt = now;
      oldestBacklogAt(this.#parts.core, this.#parts.store).then(
        (at) => {
          this.#oldestBacklog.at = at;
        },
        (error: unknown) => this.#parts.log.debug(error),
      );
    }
    const { at } = this.#oldestBacklog;
    return at === 0 ? 0 : Math.max(0, (this.#parts.wallClock.now() - at) / 1_000);
  }

  #sumOfUpstreams(of: (upstream: MqttUpstream) => number): number {
    let sum = 0;
    for (const upstream of this.#parts.mqtt.values()) sum += of(upstream);
    return sum;
  }
}
