/**
 * Metrics of a fleet: the shards of each gateway, how shards move, and what is passed on between gateways. Read at each
 * scrape.
 */
import { Counter, Gauge, type Registry } from "prom-client";

export interface FleetMetricSources {
  /** See FleetFacts. */
  facts(): {
    readonly trouble: string;
    readonly members: readonly unknown[];
    readonly owners: readonly { readonly owner: string; readonly here?: string }[];
    readonly counters: {
      readonly claimed: Readonly<Record<string, number>>;
      readonly handedOver: number;
      readonly lost: number;
      readonly failed: number;
    };
  };
  /** See FrontCounters. */
  readonly front: {
    readonly passedOn: number;
    readonly takenUp: number;
    readonly answersPassedOn: number;
    readonly answersTaken: number;
    readonly lookUps: number;
    readonly lookUpsFound: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
}

export function addFleetMetrics(registry: Registry, { facts, front }: FleetMetricSources): void {
  const gauge = (name: string, help: string, read: () => number) => {
    new Gauge({
      name: `mqttsn_fleet_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  const counter = (name: string, help: string, label: string, read: () => Readonly<Record<string, number>>) => {
    new Counter({
      name: `mqttsn_fleet_${name}_total`,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        this.reset();
        for (const [value, count] of Object.entries(read())) this.inc({ [label]: value }, count);
      },
    });
  };
  gauge("members", "Gateways of the fleet that are there, this one included", () => facts().members.length);
  gauge("shards_served", "Shards that this gateway serves", () => {
    return facts().owners.filter(({ here }) => here === "serving").length;
  });
  gauge("shards_unowned", "Shards without an owner, as far as this gateway knows", () => {
    return facts().owners.filter(({ owner }) => owner === "").length;
  });
  gauge("trouble", "1 while the leases of the fleet cannot be read", () => (facts().trouble === "" ? 0 : 1));
  counter("moves", "Shards that came here, by how (first, drained, ended, silent), and that left", "how", () => {
    const { claimed, handedOver, lost, failed } = facts().counters;
    return { ...claimed, handed_over: handedOver, lost, failed };
  });
  counter("passed", "Datagrams between the gateways of the fleet, by which way", "way", () => ({
    to_owner: front.passedOn,
    from_front: front.takenUp,
    answer_to_front: front.answersPassedOn,
    answer_from_owner: front.answersTaken,
  }));
  counter("look_ups", "Addresses that were looked up in Redis", "found", () => ({
    yes: front.lookUpsFound,
    no: front.lookUps - front.lookUpsFound,
  }));
  counter("dropped", "Datagrams that the front dropped, by reason", "reason", () => front.dropped);
}
