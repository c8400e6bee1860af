/** Metrics of DTLS: how handshakes end, and records that are not authentic. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { SecureReport } from "../transports/transport.ts";

type Reports = () => readonly (SecureReport & { readonly transport: string })[];
type Rows = (report: SecureReport) => readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];

export function addSecureMetrics(registry: Registry, reports: Reports): void {
  const registers = [registry];
  const settings = (name: string, help: string, labels: readonly string[]) => ({
    name: `mqttsn_dtls_${name}`,
    help,
    labelNames: ["transport", ...labels],
    registers,
  });
  const counter = (name: string, help: string, rows: Rows, labels: readonly string[] = []) =>
    new Counter({
      ...settings(name, help, labels),
      collect() {
        this.reset();
        for (const report of reports())
          for (const [more, value] of rows(report)) this.inc({ transport: report.transport, ...more }, value);
      },
    });
  const gauge = (name: string, help: string, read: (report: SecureReport) => number) =>
    new Gauge({
      ...settings(name, help, []),
      collect() {
        this.reset();
        for (const report of reports()) this.set({ transport: report.transport }, read(report));
      },
    });
  gauge("contexts", "Devices with a finished handshake", ({ contexts }) => contexts);
  gauge("handshakes_open", "Handshakes under way", ({ handshakes }) => handshakes);
  counter(
    "handshakes_total",
    "Handshakes by how they ended: done, expired (the device did not go on, or has another key), unsuitable (nothing in common), refused (too many), not_stored",
    ({ counters }) => [
      [{ outcome: "done" }, counters.handshakesDone],
      [{ outcome: "expired" }, counters.handshakesExpired],
      [{ outcome: "unsuitable" }, counters.handshakesUnsuitable],
      [{ outcome: "refused" }, counters.handshakesRefused],
      [{ outcome: "not_stored" }, counters.handshakesNotStored],
    ],
    ["outcome"],
  );
  const plain = (name: string, help: string, read: (counters: SecureReport["counters"]) => number) =>
    counter(name, help, ({ counters }) => [[{}, read(counters)]]);
  plain("bad_keys_total", "Handshakes with a wrong key or an unknown identity", ({ badKeys }) => badKeys);
  counter(
    "certificates_refused_total",
    "Devices that were refused with their certificates, by reason",
    ({ counters }) => Object.entries(counters.certificatesRefused).map(([reason, count]) => [{ reason }, count]),
    ["reason"],
  );
  plain("cookies_total", "Hellos that were answered with a cookie", ({ cookies }) => cookies);
  plain(
    "hellos_beyond_total",
    "Hellos that came faster than hellosPerSecondMax, and were dropped",
    ({ hellosBeyond }) => hellosBeyond,
  );
  plain("moved_total", "Devices that continued from another address", ({ moved }) => moved);
  plain("replays_total", "Records that came a second time, or too late", ({ replays }) => replays);
  plain(
    "bad_records_total",
    "Datagrams that were not a record, not authentic, or of an unknown context",
    ({ badRecords }) => badRecords,
  );
  plain(
    "unsent_total",
    "Messages to devices without a context, or without a number that may be used",
    ({ unsent }) => unsent,
  );
}
