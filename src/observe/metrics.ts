/** Counters as Prometheus reads them: nothing is done per message, everything is read when somebody scrapes. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { LinkReport, TransportStats } from "../transports/transport.ts";
import { addLinkMetrics } from "./link-metrics.ts";

/** Where the numbers are. Plain fields, read on scrape. */
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
    readonly bufferedMessages: number;
    readonly bufferedBytes: number;
    readonly acceptedUp: number;
    readonly backlogMessages: number;
    readonly backlogBytes: number;
  };
  sessionsByState(): Readonly<Record<string, number>>;
  transports(): readonly { readonly name: string; readonly stats: TransportStats }[];
  links(): readonly (LinkReport & { readonly transport: string })[];
  linksUp(): number;
  brokerThere(): boolean;
  storeFails(): boolean;
  droppedCongested(): number;
  /** Connections that we ended because the broker did not keep to receiveMaximum. */
  receiveMaximumExceeded(): number;
}

export function createMetrics(sources: MetricSources): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  /** A counter whose truth is elsewhere: set to it on each scrape. */
  const counter = (
    name: string,
    help: string,
    labelName: string | undefined,
    read: () => Readonly<Record<string, number>>,
  ) =>
    new Counter({
      name: `mqttsn_${name}`,
      help,
      labelNames: labelName === undefined ? [] : [labelName],
      registers: [registry],
      collect() {
        this.reset();
        for (const [label, value] of Object.entries(read())) {
          if (labelName === undefined) this.inc(value);
          else this.inc({ [labelName]: label }, value);
        }
      },
    });
  const gauge = (
    name: string,
    help: string,
    labelName: string | undefined,
    read: () => Readonly<Record<string, number>>,
  ) =>
    new Gauge({
      name: `mqttsn_${name}`,
      help,
      labelNames: labelName === undefined ? [] : [labelName],
      registers: [registry],
      collect() {
        this.reset();
        for (const [label, value] of Object.entries(read())) {
          if (labelName === undefined) this.set(value);
          else this.set({ [labelName]: label }, value);
        }
      },
    });
  const byTransport = (field: keyof TransportStats) => () =>
    Object.fromEntries(
      sources.transports().flatMap(({ name, stats }) => (stats[field] === undefined ? [] : [[name, stats[field]]])),
    );

  addLinkMetrics(registry, () => sources.links());
  const { core } = sources;
  counter("messages_received_total", "MQTT-SN messages from devices, by type", "type", () => core.received);
  counter("messages_sent_total", "MQTT-SN messages to devices, by type", "type", () => core.sent);
  counter("dropped_total", "What was dropped or refused, by reason", "reason", () => core.dropped);
  counter("published_total", "Publications from devices handed to the broker", undefined, () => ({
    _: core.publishedUp,
  }));
  counter("delivered_total", "Publications that devices have, or were sent at QoS 0", undefined, () => ({
    _: core.deliveredDown,
  }));
  counter("retransmissions_total", "Messages repeated towards devices", undefined, () => ({ _: core.retransmissions }));
  counter("clients_lost_total", "Clients that went without a goodbye", undefined, () => ({ _: core.clientsLost }));
  counter("qos2_uncertain_total", "QoS 2 publications that a forgetful broker made uncertain", undefined, () => ({
    _: core.qos2Uncertain,
  }));
  counter(
    "upstream_dropped_total",
    "QoS 0 publications dropped because the broker's connection was full",
    undefined,
    () => ({ _: sources.droppedCongested() }),
  );
  counter(
    "upstream_receive_maximum_exceeded_total",
    "Connections ended because the broker sent more than upstream.receiveMaximum",
    undefined,
    () => ({ _: sources.receiveMaximumExceeded() }),
  );
  counter("datagrams_received_total", "Datagrams in, by transport", "transport", byTransport("datagramsIn"));
  counter("datagrams_sent_total", "Datagrams out, by transport", "transport", byTransport("datagramsOut"));
  counter(
    "send_errors_total",
    "Datagrams that could not be sent, by transport",
    "transport",
    byTransport("sendErrors"),
  );
  counter(
    "kernel_drops_total",
    "Datagrams that the kernel dropped before we could read them, by transport",
    "transport",
    byTransport("kernelDrops"),
  );
  gauge("sessions", "Sessions by state", "state", () => sources.sessionsByState());
  counter(
    "accepted_publications_total",
    "Publications acknowledged to devices while the broker was away",
    undefined,
    () => ({
      _: core.acceptedUp,
    }),
  );
  gauge("backlog_messages", "Accepted publications that wait on disk for the broker", undefined, () => ({
    _: core.backlogMessages,
  }));
  gauge("backlog_bytes", "Their size, as uplink.totalBytesMax counts", undefined, () => ({ _: core.backlogBytes }));
  gauge("store_failing", "1 while the store does not take what it is given", undefined, () => ({
    _: sources.storeFails() ? 1 : 0,
  }));
  gauge("buffered_messages", "Messages waiting for devices", undefined, () => ({ _: core.bufferedMessages }));
  gauge("buffered_bytes", "Size of the messages waiting for devices", undefined, () => ({ _: core.bufferedBytes }));
  gauge("upstream_links_up", "Connections to the broker", undefined, () => ({ _: sources.linksUp() }));
  gauge("broker_up", "1 while the gateway's own connection to the broker stands", undefined, () => ({
    _: sources.brokerThere() ? 1 : 0,
  }));
  return registry;
}
