/**
 * Part of the composition root: the operator's view of a process of a fleet, for its console. It shows the shards that
 * this process serves as one gateway.
 */
import type { Managed } from "./config/managed.ts";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayCore, SessionView } from "./core/gateway-core.ts";
import type { Gateway } from "./gateway.ts";
import { Lookout, type LookoutCore } from "./gateway-console.ts";
import type { ScriptProcess } from "./gateway-scripts.ts";
import type { WallClock } from "./runtime/wall-clock.ts";
import type { Transport } from "./transports/transport.ts";

export interface FleetLookoutParts {
  readonly config: () => GatewayConfig;
  readonly version: string;
  /** The configuration's file; undefined: none. */
  readonly file: string | undefined;
  readonly managed: Managed;
  readonly wallClock: WallClock;
  /** The real transports, which all shards use. */
  readonly transports: readonly Transport[];
  /** Runs the scripts for the payloads of all shards. */
  readonly scripts: ScriptProcess;
  /** The gateways of this process. */
  readonly gateways: () => readonly Gateway[];
  /** The sums over all shards, also over those that this process has served before. */
  readonly counters: LookoutCore["counters"];
  /** Takes over the settings that can change while running. Returns the sections that need a restart. */
  readonly reload: (config: GatewayConfig) => readonly string[];
  /** The address of the API, or "" if there is none. */
  readonly place: () => string;
}

export function fleetLookout(parts: FleetLookoutParts): Lookout {
  const { gateways, transports, scripts, ...rest } = parts;
  const views = () => gateways().map((gateway) => gateway.view);
  return new Lookout({
    ...rest,
    core: {
      counters: parts.counters,
      brokers: () => brokersOf(views()),
      clientAt: (peer) => firstOf(views(), (view) => view.clientAt(peer)),
      // Client ids are unique in a fleet. A predefined topic id may be asked for without one.
      topicName: (clientId, topicId, isPredefined) =>
        firstOf(views(), (view) => view.topicName(clientId, topicId, isPredefined)),
    },
    transports: new Map(transports.map((each) => [each.name, each])),
    now: () => performance.now(),
    scriptValue: (way, clientId, topicName, payload) => scripts.values.of(way, clientId, topicName, payload),
    accessChanged: () => {
      for (const gateway of gateways()) gateway.accessChanged();
    },
    predefinedChanged: () => {},
    wakingsOf: () => [],
    pair: () => undefined,
    drain: async () => "this gateway does not belong to a pair (store.pair)",
    octets: () => new Map(),
  });
}

/** The sessions of all shards. A shard may end while they are read. */
export function* sessionsOf(gateways: readonly Gateway[]): Generator<SessionView> {
  for (const gateway of gateways) if (gateway.serves) yield* gateway.view.sessions();
}

type Brokers = ReturnType<GatewayCore["brokers"]>;

/** Each broker once. It counts as reachable if each shard is connected to it. */
function brokersOf(views: readonly Pick<GatewayCore, "brokers">[]): Brokers {
  const isThere = new Map<string, boolean>();
  for (const view of views)
    for (const broker of view.brokers()) isThere.set(broker.name, broker.isThere && (isThere.get(broker.name) ?? true));
  return [...isThere].map(([name, there]) => ({ name, isThere: there }));
}

function firstOf<View, Found>(views: readonly View[], find: (view: View) => Found | undefined): Found | undefined {
  for (const view of views) {
    const found = find(view);
    if (found !== undefined) return found;
  }
  return undefined;
}
