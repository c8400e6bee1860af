/**
 * Metrics of Bluetooth and other transports with links: the adapter, its work, and every device. Labels name admitted
 * devices only, so their number is limited.
 */
import { Counter, Gauge, type Registry } from "prom-client";
import type { LinkReport } from "../transports/transport.ts";

type Reports = () => readonly (LinkReport & { readonly transport: string })[];
type Device = LinkReport["devices"][number];

export function addLinkMetrics(registry: Registry, reports: Reports): void {
  const registers = [registry];
  new Gauge({
    name: "mqttsn_adapter_up",
    help: "1 while the adapter works; the label says how, or what is missing",
    labelNames: ["transport", "condition"],
    registers,
    collect() {
      this.reset();
      for (const { transport, up, condition } of reports()) this.set({ transport, condition }, up ? 1 : 0);
    },
  });
  new Counter({
    name: "mqttsn_adapter_total",
    help: "What happened at the adapter: links made, failed and lost, broadcasts, restarts of its process, …",
    labelNames: ["transport", "what"],
    registers,
    collect() {
      this.reset();
      for (const { transport, counters } of reports()) {
        for (const [what, count] of Object.entries(counters)) this.inc({ transport, what }, count);
      }
    },
  });
  const perDevice = (name: string, help: string, read: (device: Device) => number | undefined) =>
    new Gauge({
      name: `mqttsn_device_${name}`,
      help,
      labelNames: ["peer", "name"],
      registers,
      collect() {
        this.reset();
        for (const device of reports().flatMap(({ devices }) => devices)) {
          const value = read(device);
          if (value !== undefined) this.set({ peer: device.peer, name: device.name }, value);
        }
      },
    });
  perDevice("linked", "1 while the device is connected", ({ linked }) => (linked ? 1 : 0));
  perDevice("rssi_dbm", "Signal strength when it was last seen", ({ rssi }) => rssi);
  perDevice("seen_seconds", "Time since it was last seen", ({ secondsSinceSeen }) => secondsSinceSeen);
  perDevice("failures", "Failed attempts to connect, in a row", ({ failures }) => failures);
  new Gauge({
    name: "mqttsn_device_last_failure",
    help: "1, with the reason of the device's last failure as a label",
    labelNames: ["peer", "name", "reason"],
    registers,
    collect() {
      this.reset();
      for (const { peer, name, lastFailure } of reports().flatMap(({ devices }) => devices)) {
        if (lastFailure !== "") this.set({ peer, name, reason: lastFailure }, 1);
      }
    },
  });
}
