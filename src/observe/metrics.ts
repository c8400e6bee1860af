/** Metrics for Prometheus. Nothing is done per message: all values are read at a scrape. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { LinkReport, SecureReport, TransportStats } from "../transports/transport.ts";
import { addEventLoopMetric, neverMs } from "./event-loop.ts";
import { type EventMetric, eventMetrics } from "./events.ts";
import { addLinkMetrics } from "./link-metrics.ts";
import { addSecureMetrics } from "./secure-metrics.ts";

/** The sources of the numbers: plain fields, read at each scrape. */
export interface MetricSources {
  readonly core: {
    readonly received: Readonly<Record<string, number>>;
    readonly sent: Readonly<Record<string, number>>;
    readonly dropped: Readonly<Record<string, number>>;
    readonly publishedUp: number;
    readonly deliveredDown: number;
    readonly retransmissions: number;
    readonly clientsLost: number;
    readonly qos2Uncertain: number;
    readonly payloadsUnfit: number;
    readonly otherQoSAnswers: number;
    readonly bufferedMessages: number;
    readonly bufferedBytes: number;
    readonly acceptedUp: number;
    readonly backlogMessages: number;
    readonly backlogBytes: number;
  };
  sessionsByState(): Readonly<Record<string, number>>;
  transports(): readonly { readonly name: string; readonly stats: TransportStats }[];
  links(): readonly (LinkReport & { readonly transport: string })[];
  secure(): readonly (SecureReport & { readonly transport: string })[];
  linksUp(): number;
  brokerThere(): boolean;
  storeFails(): boolean;
  droppedCongested(): number;
  /** Connections that the gateway ended because the broker exceeded receiveMaximum. */
  receiveMaximumExceeded(): number;
}

/** Called at each scrape: one number, or one for each label. */
type Read = () => number | Readonly<Record<string, number>>;

interface Metric {
  readonly type: "counter" | "gauge";
  readonly name: string;
  readonly help: string;
  readonly label?: string;
  readonly read: Read;
}

export function createMetrics(sources: MetricSources): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: neverMs });
  addEventLoopMetric(registry);
  addLinkMetrics(registry, () => sources.links());
  addSecureMetrics(registry, () => sources.secure());
  for (const metric of [...ofEvents(sources), ...ofTraffic(sources)]) add(registry, metric);
  return registry;
}

/** Metrics that count events. Their help is in the table of events. */
function ofEvents(sources: MetricSources): Metric[] {
  const { core } = sources;
  const read: Readonly<Record<EventMetric, Read>> = {
    sessions: () => sources.sessionsByState(),
    clients_lost_total: () => core.clientsLost,
    dropped_total: () => core.dropped,
    upstream_links_up: () => sources.linksUp(),
    broker_up: () => (sources.brokerThere() ? 1 : 0),
    qos2_uncertain_total: () => core.qos2Uncertain,
    payloads_unfit_total: () => core.payloadsUnfit,
    other_qos_answers_total: () => core.otherQoSAnswers,
    store_failing: () => (sources.storeFails() ? 1 : 0),
    backlog_messages: () => core.backlogMessages,
    backlog_bytes: () => core.backlogBytes,
  };
  const names = Object.keys(eventMetrics) as EventMetric[];
  return names.map((name) => ({ name, ...eventMetrics[name], read: read[name] }));
}

/** Metrics of traffic. There is no event for these, because they would be too many. */
function ofTraffic(sources: MetricSources): Metric[] {
  const { core } = sources;
  const byTransport = (field: keyof TransportStats) => () =>
    Object.fromEntries(
      sources.transports().flatMap(({ name, stats }) => (stats[field] === undefined ? [] : [[name, stats[field]]])),
    );
  const counter = (name: string, help: string, read: Read, label?: string): Metric => ({
    type: "counter",
    name,
    help,
    read,
    ...(label === undefined ? {} : { label }),
  });
  const gauge = (name: string, help: string, read: Read): Metric => ({ type: "gauge", name, help, read });
  return [
    counter("messages_received_total", "MQTT-SN messages from devices, by type", () => core.received, "type"),
    counter("messages_sent_total", "MQTT-SN messages to devices, by type", () => core.sent, "type"),
    counter("published_total", "Publications from devices handed to the broker", () => core.publishedUp),
    counter(
      "delivered_total",
      "Publications that devices have acknowledged, or that were sent at QoS 0",
      () => core.deliveredDown,
    ),
    counter("retransmissions_total", "Messages repeated towards devices", () => core.retransmissions),
    counter("upstream_dropped_total", "For this release still: the sum of mqttsn_upstream_qos0_dropped_total", () =>
      sources.droppedCongested(),
    ),
    counter(
      "upstream_receive_maximum_exceeded_total",
      "For this release still: the sum of mqttsn_upstream_receive_maximum_ended_total",
      () => sources.receiveMaximumExceeded(),
    ),
    counter("datagrams_received_total", "Datagrams in, by transport", byTransport("datagramsIn"), "transport"),
    counter("datagrams_sent_total", "Datagrams out, by transport", byTransport("datagramsOut"), "transport"),
    counter(
      "send_errors_total",
      "Datagrams that could not be sent, by transport",
      byTransport("sendErrors"),
      "transport",
    ),
    counter(
      "kernel_drops_total",
      "Datagrams that the kernel dropped before the gateway could read them, by transport",
      byTransport("kernelDrops"),
      "transport",
    ),
    counter(
      "accepted_publications_total",
      "Publications acknowledged to devices while the broker was away",
      () => core.acceptedUp,
    ),
    gauge("buffered_messages", "Messages waiting for devices", () => core.bufferedMessages),
    gauge("buffered_bytes", "Size of the messages waiting for devices", () => core.bufferedBytes),
  ];
}

/** Adds a metric whose value is stored elsewhere, and is read at each scrape. */
function add(registry: Registry, { type, name, help, label, read }: Metric): void {
  const settings = {
    name: `mqttsn_${name}`,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
  };
  const values = (): [labels: Record<string, string>, value: number][] => {
    const now = read();
    if (typeof now === "number") return [[{}, now]];
    return Object.entries(now).map(([of, value]) => [label === undefined ? {} : { [label]: of }, value]);
  };
  if (type === "counter") {
    new Counter({
      ...settings,
      collect() {
        this.reset();
        for (const [labels, value] of values()) this.inc(labels, value);
      },
    });
  } else {
    new Gauge({
      ...settings,
      collect() {
        this.reset();
        for (const [labels, value] of values()) this.set(labels, value);
      },
    });
  }
}
