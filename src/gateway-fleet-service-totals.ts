/**
 * Part of the composition root: brokers and durations of all shards in this process, as the sums that `/metrics` shows.
 * The counts of a gateway that has ended stay in the sums, because a counter must not fall.
 */
import { Durations } from "./durations.ts";
import type { Gateway } from "./gateway.ts";
import type { ServiceSources, UpstreamSource } from "./observe/service-metrics.ts";

/** The counts of one upstream. */
interface Counted {
  bytesIn: number;
  bytesOut: number;
  readonly carried: { in: number; out: number };
  readonly tls: { full: number; resumed: number };
  droppedCongested: number;
  receiveMaximumExceeded: number;
  readonly acknowledgement: Durations;
}

export class FleetServiceTotals {
  readonly #gateways: () => readonly Gateway[];
  /** The counts of gateways that have ended, by upstream. */
  readonly #upstreams = new Map<string, Counted>();
  readonly #commits = new Durations();
  readonly #wakings = new Durations();
  readonly #steps = new Map<string, Durations>();
  readonly sources: ServiceSources;

  readonly #beside: () => readonly UpstreamSource[];

  /**
   * @param scripts the counters of the process of scripts, which all shards share; undefined: there are no scripts
   * @param beside connections to the brokers beside those of the shards: they are counted, but say nothing of whether
   * the broker is there for devices
   */
  constructor(
    version: string,
    gateways: () => readonly Gateway[],
    scripts: ServiceSources["scripts"],
    beside: () => readonly UpstreamSource[],
  ) {
    this.#gateways = gateways;
    this.#beside = beside;
    this.sources = {
      version,
      upstreams: () => this.#allUpstreams(),
      commits: () => this.#sum(this.#commits, (each) => each.commits()),
      wakings: () => this.#sum(this.#wakings, (each) => each.wakings()),
      steps: () => this.#allSteps(),
      scripts,
      oldestBacklogSeconds: () => Math.max(0, ...this.#all.map((each) => each.oldestBacklogSeconds())),
      restoring: () => this.#all.reduce((sum, each) => sum + each.restoring(), 0),
    };
  }

  /** The gateway ends, or its shard moves to another process. */
  retire(gateway: Gateway): void {
    const ended = gateway.vitals.serviceSources();
    for (const upstream of ended.upstreams()) addTo(this.#upstreams, upstream);
    this.#commits.addAll(ended.commits());
    this.#wakings.addAll(ended.wakings());
    addSteps(this.#steps, ended.steps());
  }

  get #all(): ServiceSources[] {
    return this.#gateways().map((gateway) => gateway.vitals.serviceSources());
  }

  #sum(ended: Durations, of: (sources: ServiceSources) => Durations): Durations {
    const sum = new Durations().addAll(ended);
    for (const each of this.#all) sum.addAll(of(each));
    return sum;
  }

  #allSteps(): Readonly<Record<string, Durations>> {
    const sum = new Map<string, Durations>();
    addSteps(sum, Object.fromEntries(this.#steps));
    for (const each of this.#all) addSteps(sum, each.steps());
    return Object.fromEntries(sum);
  }

  /** An upstream is available if it is available for each shard. Its connections are those of all shards together. */
  #allUpstreams(): UpstreamSource[] {
    const counted = new Map<string, Counted>();
    for (const [name, ended] of this.#upstreams) addTo(counted, { name, ...ended });
    for (const upstream of this.#beside()) addTo(counted, upstream);
    const now = new Map<string, { isThere: boolean; linksUp: number; certificates: UpstreamSource["certificates"] }>();
    for (const upstream of this.#all.flatMap((each) => each.upstreams())) {
      addTo(counted, upstream);
      const { name, isThere, linksUp, certificates } = upstream;
      const before = now.get(name);
      now.set(name, {
        isThere: isThere && (before?.isThere ?? true),
        linksUp: linksUp + (before?.linksUp ?? 0),
        // All shards that have seen certificates have seen the same ones.
        certificates: certificates.length > 0 ? certificates : (before?.certificates ?? []),
      });
    }
    return [...counted].map(([name, counts]) => {
      const { isThere = false, linksUp = 0, certificates = [] } = now.get(name) ?? {};
      return { name, isThere, linksUp, certificates, ...counts };
    });
  }
}

function addTo(all: Map<string, Counted>, more: Counted & { readonly name: string }): void {
  const { name, carried, tls, acknowledgement } = more;
  const before = all.get(name);
  const sum = before ?? {
    bytesIn: 0,
    bytesOut: 0,
    carried: { in: 0, out: 0 },
    tls: { full: 0, resumed: 0 },
    droppedCongested: 0,
    receiveMaximumExceeded: 0,
    acknowledgement: new Durations(),
  };
  if (!before) all.set(name, sum);
  sum.bytesIn += more.bytesIn;
  sum.bytesOut += more.bytesOut;
  sum.carried.in += carried.in;
  sum.carried.out += carried.out;
  sum.tls.full += tls.full;
  sum.tls.resumed += tls.resumed;
  sum.droppedCongested += more.droppedCongested;
  sum.receiveMaximumExceeded += more.receiveMaximumExceeded;
  sum.acknowledgement.addAll(acknowledgement);
}

function addSteps(all: Map<string, Durations>, more: Readonly<Record<string, Durations>>): void {
  for (const [step, durations] of Object.entries(more)) {
    const sum = all.get(step) ?? new Durations();
    all.set(step, sum.addAll(durations));
  }
}
