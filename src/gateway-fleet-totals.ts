/** Part of the composition root: the sums of the counters of all shards in this process. */
import type { Gateway } from "./gateway.ts";
import { type NamedReport, SecureTotals } from "./gateway-fleet-dtls.ts";
import type { MetricSources } from "./observe/metrics.ts";

type Counts = Readonly<Record<string, number>>;

/** These values are gauges: a gateway that has ended adds nothing to them. */
const isGauge: ReadonlySet<string> = new Set(["bufferedMessages", "bufferedBytes", "backlogMessages", "backlogBytes"]);

export class FleetTotals {
  readonly #gateways: () => readonly Gateway[];
  /** The counts of gateways that have ended, by name of the counter. */
  readonly #numbers = new Map<string, number>();
  readonly #records = new Map<string, Record<string, number>>();
  readonly #secure: SecureTotals;
  readonly sources: MetricSources;

  /** `doors`: reports of DTLS that belong to no shard. */
  constructor(gateways: () => readonly Gateway[], doors: () => readonly NamedReport[] = () => []) {
    this.#gateways = gateways;
    this.#secure = new SecureTotals(() => [...doors(), ...gateways().flatMap((each) => each.secureReports())]);
    const number = (name: NumberName) => this.#number(name);
    const record = (name: RecordName) => this.#record(name);
    this.sources = {
      core: {
        get received() {
          return record("received");
        },
        get sent() {
          return record("sent");
        },
        get dropped() {
          return record("dropped");
        },
        get publishedUp() {
          return number("publishedUp");
        },
        get deliveredDown() {
          return number("deliveredDown");
        },
        get retransmissions() {
          return number("retransmissions");
        },
        get clientsLost() {
          return number("clientsLost");
        },
        get qos2Uncertain() {
          return number("qos2Uncertain");
        },
        get payloadsUnfit() {
          return number("payloadsUnfit");
        },
        get otherQoSAnswers() {
          return number("otherQoSAnswers");
        },
        get bufferedMessages() {
          return number("bufferedMessages");
        },
        get bufferedBytes() {
          return number("bufferedBytes");
        },
        get acceptedUp() {
          return number("acceptedUp");
        },
        get backlogMessages() {
          return number("backlogMessages");
        },
        get backlogBytes() {
          return number("backlogBytes");
        },
      },
      sessionsByState: () => this.#all.map((each) => each.sessionsByState()).reduce(added, {}),
      transports: () => this.#transports(),
      links: () => [],
      secure: () => this.#secure.reports(),
      linksUp: () => this.#sum((each) => each.linksUp()),
      brokerThere: () => this.#all.every((each) => each.brokerThere()),
      storeFails: () => this.#all.some((each) => each.storeFails()),
      droppedCongested: () => this.#sum((each) => each.droppedCongested()),
      receiveMaximumExceeded: () => this.#sum((each) => each.receiveMaximumExceeded()),
    };
  }

  /** The number of clients with a session in the shards here. */
  get clients(): number {
    return this.#gateways().reduce((sum, gateway) => sum + gateway.vitals.health().clients, 0);
  }

  get commitWaitsSeconds(): number {
    return Math.max(0, ...this.#gateways().map((gateway) => gateway.vitals.commitWaitsSeconds));
  }

  /** The gateway ends, or its shard moves to another process. Its counts stay in the sums. */
  retire(gateway: Gateway): void {
    this.#secure.retire(gateway.secureReports());
    const { core } = gateway.vitals.metricSources();
    for (const [name, value] of Object.entries(core))
      if (typeof value === "number") {
        if (!isGauge.has(name)) this.#numbers.set(name, (this.#numbers.get(name) ?? 0) + value);
      } else if (typeof value === "object") this.#records.set(name, added(this.#records.get(name) ?? {}, value));
  }

  get #all(): MetricSources[] {
    return this.#gateways().map((gateway) => gateway.vitals.metricSources());
  }

  #sum(of: (sources: MetricSources) => number): number {
    return this.#all.reduce((sum, each) => sum + of(each), 0);
  }

  #number(name: NumberName): number {
    return (this.#numbers.get(name) ?? 0) + this.#sum(({ core }) => core[name]);
  }

  #record(name: RecordName): Counts {
    return this.#all.map(({ core }) => core[name]).reduce(added, this.#records.get(name) ?? {});
  }

  /** The sums by the name of the network, because each shard has a port for each network. */
  #transports(): ReturnType<MetricSources["transports"]> {
    const byName = new Map<
      string,
      { datagramsIn: number; datagramsOut: number; bytesIn: number; bytesOut: number; sendErrors: number }
    >();
    for (const each of this.#all)
      for (const { name, stats } of each.transports()) {
        const before = byName.get(name);
        byName.set(name, {
          datagramsIn: (before?.datagramsIn ?? 0) + stats.datagramsIn,
          datagramsOut: (before?.datagramsOut ?? 0) + stats.datagramsOut,
          bytesIn: (before?.bytesIn ?? 0) + stats.bytesIn,
          bytesOut: (before?.bytesOut ?? 0) + stats.bytesOut,
          sendErrors: (before?.sendErrors ?? 0) + stats.sendErrors,
        });
      }
    return [...byName].map(([name, stats]) => ({ name, stats }));
  }
}

type Core = MetricSources["core"];
type RecordName = "received" | "sent" | "dropped";
type NumberName = Exclude<keyof Core, RecordName>;

function added(a: Counts, b: Counts): Record<string, number> {
  const sum: Record<string, number> = { ...a };
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
