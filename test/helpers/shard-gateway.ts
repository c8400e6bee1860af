/** The gateway of one shard of a fleet, without the fleet: a network of which the test is both ends, and a lease that the test holds. */
import { parseConfig } from "../../src/config/load.ts";
import { Managed } from "../../src/config/managed.ts";
import type { GatewayConfig } from "../../src/config/schema.ts";
import type { PeerId } from "../../src/core/types.ts";
import { Gateway } from "../../src/gateway.ts";
import { ScriptProcess } from "../../src/gateway-scripts.ts";
import { createLog } from "../../src/observe/log.ts";
import type { Transport, TransportEvents } from "../../src/transports/transport.ts";

export const device = "udp/192.0.2.9:1000" as PeerId;

/** A network of which the test is both ends. */
export class Net implements Transport {
  readonly name = "udp";
  readonly place = "here";
  readonly warnings = [];
  readonly sent: string[] = [];
  events: TransportEvents | undefined;
  isClosed = false;
  maxMessageBytes = () => 1_400;
  hostOf = () => "192.0.2.9";
  identityOf = () => ({ name: "192.0.2.9", by: "address", verified: false }) as const;
  async start(events: TransportEvents): Promise<void> {
    this.events = events;
  }
  send(_to: PeerId, bytes: Uint8Array): void {
    this.sent.push(Buffer.from(bytes).toString("hex"));
  }
  broadcast(): void {}
  stats = () => ({ datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 });
  async close(): Promise<void> {
    this.isClosed = true;
  }
}

export const connectOf = (clientId: string) =>
  Buffer.concat([Buffer.of(6 + clientId.length, 0x04, 0x04, 0x01, 0, 60), Buffer.from(clientId)]);

export interface ShardOptions {
  readonly reservedIds?: ReadonlySet<string>;
  /** Sections of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The whole configuration, in place of sections. Its store is taken to be in memory. */
  readonly whole?: GatewayConfig;
  /** Shared with other shards. */
  readonly scripts?: ScriptProcess;
}

export function shardConfigOf(url: string, more: Readonly<Record<string, unknown>> = {}) {
  return parseConfig({
    transports: [{ type: "udp" }],
    upstream: { url },
    store: { kind: "memory" },
    log: { level: "silent" },
    ...more,
  });
}

/** Serves when it is returned. */
export async function shardGateway(url: string, options: ShardOptions = {}) {
  const { reservedIds = new Set(), config: more, whole, scripts } = options;
  const sections = shardConfigOf(url, more);
  const config = whole ? { ...whole, store: sections.store } : sections;
  const net = new Net();
  const lease = { isOurs: true };
  const gateway = new Gateway(config, await createLog(config.log), undefined, undefined, undefined, {
    transports: [net],
    managed: new Managed(config.store),
    member: { run: "run", epoch: () => 1, fenced: () => {} },
    owns: () => lease.isOurs,
    redis: {
      open: () => Promise.reject(new Error("it has none")),
      done: () => {},
    },
    scripts: scripts ?? new ScriptProcess(config, () => {}),
    reservedIds,
    noticed: () => {},
    page: { tap: undefined },
    turnedAway: () => {},
    report: () => {},
  });
  await gateway.start();
  const hear = (bytes: Uint8Array) => net.events?.datagram(device, bytes);
  return { net, lease, gateway, config, hear };
}
