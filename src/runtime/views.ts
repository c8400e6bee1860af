/**
 * The views of the console and the commands: the list of devices, one device, the overview, topics. They are read from
 * the core on demand.
 */
import type { GatewayCore } from "../core/gateway-core.ts";
import { censusOf, type DeviceQuery, pageOf, rowOf, rssiByPeer } from "./device-views.ts";
import type { Installation } from "./installation.ts";
import { needsOf } from "./needs.ts";
import { RememberedViews } from "./remembered-views.ts";
import { inSlices } from "./slices.ts";

/** Names in the table of topics. A large gateway may have as many as it has devices. */
const topicsMax = 1_000;
const usersNamed = 20;

export type Views = ReturnType<typeof createViews>;

export function createViews(core: GatewayCore, now: () => number, installation: Installation) {
  const views = new RememberedViews(now);
  return {
    devices: (query: DeviceQuery) => pageOf(core, installation, views, query),
    device: (clientId: string) => deviceOf(core, now, installation, clientId),
    overview: (withBrokers: boolean) => overviewOf(core, installation, views, withBrokers),
    topics: () => topicsOf(core, installation),
  };
}

function deviceOf(core: GatewayCore, now: () => number, installation: Installation, clientId: string) {
  const found = core.session(clientId);
  if (!found) return undefined;
  const row = rowOf(found.view, now(), rssiByPeer(installation));
  const { peer, clean, keepAliveSeconds, sleepSeconds, waitingBytes, waitingSince, owedBytes, linkUp } = found.view;
  const { quarantinedUntil = 0 } = found.view;
  const identity = peer === undefined ? undefined : installation.identityOf(peer);
  const { topics, subscriptions, will } = found.record;
  return {
    ...row,
    clean,
    keepAliveSeconds,
    sleepSeconds,
    waitingBytes,
    waitingSeconds: waitingSince === undefined ? undefined : Math.max(0, Math.round((now() - waitingSince) / 1_000)),
    owedBytes,
    linkUp,
    ...(quarantinedUntil > now() && { quarantineSeconds: Math.ceil((quarantinedUntil - now()) / 1_000) }),
    identity: identity && { name: identity.name, by: identity.by, isProved: identity.verified },
    topics,
    subscriptions,
    wakings: [...installation.wakingsOf(clientId)],
    will: will && { topic: will.topicName, qos: will.qos, retain: will.retain, bytes: will.payload.byteLength },
  };
}

async function overviewOf(core: GatewayCore, installation: Installation, views: RememberedViews, withBrokers: boolean) {
  const { total, byState: states, owed: owedToBroker } = await censusOf(core, views);
  const { counters, letters, storeFails } = core;
  const brokers = installation.brokers().map((broker) => (withBrokers ? broker : { ...broker, url: "", why: "" }));
  const transports = installation.transports();
  const clock = installation.clock();
  const pair = installation.pair();
  const needs = needsOf({
    // A gateway that stands by is connected to no broker.
    brokers: pair && pair.role !== "active" ? [] : brokers,
    pair,
    transports,
    storeFails,
    keepsWhenAway: installation.keepsWhenAway,
    owedToBroker,
    deadLetters: letters,
    late: states.late,
    lost: states.lost,
    knocks: installation.knocks.size,
    clockIsTrusted: clock.isTrusted,
    isRestoring: core.isRestoring,
  });
  return {
    version: installation.version,
    at: clock.at,
    uptimeSeconds: installation.uptimeSeconds(),
    memoryBytes: process.memoryUsage.rss(),
    sessions: { total, ...states },
    brokers,
    transports: transports.map(({ name, place }) => ({ name, place })),
    addresses: [...installation.addresses()],
    waiting: { forClients: counters.bufferedMessages, forBroker: owedToBroker, deadLetters: letters },
    storeKind: installation.storeKind,
    storeFails,
    ...(pair && { pair }),
    dropped: Object.entries(counters.dropped)
      .filter(([, count]) => count > 0)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]) => {
        const { meaning, advice } = installation.reason(reason) ?? { meaning: "", advice: "" };
        return { reason, count, meaning, advice };
      }),
    needs,
  };
}

async function topicsOf(core: GatewayCore, installation: Installation) {
  const uses = new Map<string, { name: string; isFilter: boolean; clients: number; some: string[] }>();
  let isCut = false;
  await inSlices(core.topicUses(), ({ name, isFilter, clientId }) => {
    const key = `${isFilter ? "filter" : "topic"} ${name}`;
    let use = uses.get(key);
    if (!use && uses.size >= topicsMax) {
      isCut = true;
      return;
    }
    if (!use) {
      use = { name, isFilter, clients: 0, some: [] };
      uses.set(key, use);
    }
    use.clients++;
    if (use.some.length < usersNamed) use.some.push(clientId);
  });
  const { forAll, byClient, byHand } = installation.predefined();
  const rowsFor = (table: Readonly<Record<string, string>>, client?: string) => {
    const given = new Set(byHand.filter((each) => each.client === client).map(({ id }) => id));
    return Object.entries(table).map(([id, name]) => ({
      id: Number(id),
      name,
      ...(client !== undefined && { client }),
      isByHand: given.has(Number(id)),
    }));
  };
  const predefined = rowsFor(forAll);
  const own = Object.entries(byClient).flatMap(([client, table]) => rowsFor(table, client));
  return {
    predefined: [...predefined, ...own],
    used: [...uses.values()].sort((a, b) => b.clients - a.clients),
    isCut,
  };
}
