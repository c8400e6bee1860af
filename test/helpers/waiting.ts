/** A gateway with a sleeper that has room for two and was sent three: two wait, one is a dead letter. */
import { Driver } from "../../src/runtime/driver.ts";
import { emptyInstallation, type Installation } from "../../src/runtime/installation.ts";
import { createOperator, type Devices } from "../../src/runtime/operator.ts";
import { backupOctets } from "../../src/storage/backup.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import type { Store } from "../../src/storage/store.ts";
import type { Transport } from "../../src/transports/transport.ts";
import type { Upstream } from "../../src/upstream/link.ts";
import { keepAll, testOptions } from "../simulation/options.ts";
import { VirtualClock } from "../simulation/virtual-time.ts";
import { octets, sleep } from "./bench.ts";
import { GatewayRun } from "./gateway-run.ts";

export function threeForTwo(
  installation: Installation = emptyInstallation,
  capture: Devices["capture"] = () => undefined,
) {
  const policy = { ...keepAll, atLimit: "oldest", messagesMax: 2 } as const;
  const run = new GatewayRun({ buffer: { ...testOptions.buffer, policyOf: () => policy } });
  const { bench } = run;
  bench.connected({ cleanSession: false }).subscribed("t");
  run.keep(bench.client(sleep(3_600)));
  for (const text of ["1", "2", "3"]) {
    run.keep(bench.link().delivers({ payload: octets(text) }));
    run.keep(bench.after(10_000));
  }
  const store: Store = new MemoryStore();
  store.letters = async () => [...run.table.letters].map(([id, [clientId, record]]) => ({ id, clientId, record }));
  const nowhere = { send: () => {}, open: () => {}, close: () => {}, publish: () => {}, ack: () => {} };
  const edges = {
    transports: new Map([["udp", nowhere as unknown as Transport]]),
    upstream: nowhere as unknown as Upstream,
    store,
    report: () => {},
  };
  const driver = new Driver(bench.core, edges, new VirtualClock({ now: () => bench.now, plan: () => {} }));
  const device = {
    peer: "ble/c0:00:00:00:00:01" as const,
    name: "n",
    linked: true,
    secondsSinceSeen: 1.6,
    failures: 0,
  };
  const devices: Devices = {
    links: () => [
      {
        transport: "ble",
        up: true,
        condition: "adapter a by d",
        counters: {},
        devices: [{ ...device, rssi: undefined, lastFailure: "", parameters: "interval 30 ms" }],
      },
    ],
    forgetCounter: (address) => address === "c0:00:00:00:00:01",
    bonds: () => [
      {
        transport: "ble",
        identity: { address: "c0:00:00:00:00:01", type: "random" },
        name: "n",
        since: "2026-01-01T00:00:00.000Z",
        authenticated: true,
        secureConnections: true,
      },
    ],
    removeBond: (address) => address === "c0:00:00:00:00:01",
    transports: ["udp"],
    capture,
  };
  return {
    store,
    operator: createOperator(bench.core, store, driver, () => bench.now, backupOctets, devices, installation),
  };
}
