/**
 * The views of the console and the commands: the list of devices, one device, the overview, topics. They are read from
 * the core on demand.
 */
import type { GatewayCore, SessionView } from "../core/gateway-core.ts";
import { neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import type { DeviceOrder } from "./device-orders.ts";
import type { Installation } from "./installation.ts";
import { needsOf } from "./needs.ts";
import { stateInWords } from "./state-words.ts";

/** Browsers that ask within this time get the same view. */
const pictureMs = 1_000;
/** Searches and orders of one view that are remembered, because several browsers usually show the same. */
const orderedMax = 16;
/** Names in the table of topics. A large gateway may have as many as it has devices. */
const topicsMax = 1_000;
const usersNamed = 20;

export type DeviceState = SessionView["state"];

export interface DeviceQuery {
  readonly search?: string | undefined;
  readonly state?: DeviceState | "late" | "waiting" | undefined;
  readonly sort: DeviceOrder;
  readonly order: "up" | "down";
  readonly offset: number;
  readonly limit: number;
}

type Wanted = Omit<DeviceQuery, "offset" | "limit">;

/** All sessions at one moment. */
interface Picture {
  readonly at: number;
  readonly rows: readonly DeviceRow[];
  readonly byState: ReturnType<typeof byState>;
  readonly ordered: Map<string, readonly DeviceRow[]>;
}

export type DeviceRow = ReturnType<typeof rowOf>;

export type Views = ReturnType<typeof createViews>;

export function createViews(core: GatewayCore, now: () => number, installation: Installation) {
  let picture: Picture | undefined;
  const look = (): Picture => {
    const at = now();
    if (!picture || at < picture.at || at - picture.at >= pictureMs) {
      const rssi = rssiByPeer(installation);
      const rows = Array.from(core.sessions(), (session) => rowOf(session, at, rssi));
      picture = { at, rows, byState: byState(rows), ordered: new Map() };
    }
    return picture;
  };
  return {
    devices: ({ offset, limit, ...wanted }: DeviceQuery) => {
      const { rows, byState, ordered } = look();
      const key = JSON.stringify(wanted);
      const found = ordered.get(key) ?? order(rows, wanted);
      if (ordered.size < orderedMax) ordered.set(key, found);
      return {
        total: rows.length,
        matched: found.length,
        byState,
        devices: found.slice(offset, offset + limit),
      };
    },
    device: (clientId: string) => {
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
        waitingSeconds:
          waitingSince === undefined ? undefined : Math.max(0, Math.round((now() - waitingSince) / 1_000)),
        owedBytes,
        linkUp,
        ...(quarantinedUntil > now() && { quarantineSeconds: Math.ceil((quarantinedUntil - now()) / 1_000) }),
        identity: identity && { name: identity.name, by: identity.by, isProved: identity.verified },
        topics,
        subscriptions,
        wakings: [...installation.wakingsOf(clientId)],
        will: will && { topic: will.topicName, qos: will.qos, retain: will.retain, bytes: will.payload.byteLength },
      };
    },
    overview: (withBrokers: boolean) => {
      const { rows: all, byState: states } = look();
      const { counters, letters, storeFails } = core;
      const brokers = installation.brokers().map((broker) => (withBrokers ? broker : { ...broker, url: "", why: "" }));
      const transports = installation.transports();
      const clock = installation.clock();
      const owedToBroker = all.reduce((sum, { owed }) => sum + owed, 0);
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
      });
      return {
        version: installation.version,
        at: clock.at,
        uptimeSeconds: installation.uptimeSeconds(),
        memoryBytes: process.memoryUsage.rss(),
        sessions: { total: all.length, ...states },
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
    },
    topics: () => {
      const uses = new Map<string, { name: string; isFilter: boolean; clients: number; some: string[] }>();
      let isCut = false;
      for (const { name, isFilter, clientId } of core.topicUses()) {
        const key = `${isFilter ? "filter" : "topic"} ${name}`;
        let use = uses.get(key);
        if (!use && uses.size >= topicsMax) {
          isCut = true;
          continue;
        }
        if (!use) {
          use = { name, isFilter, clients: 0, some: [] };
          uses.set(key, use);
        }
        use.clients++;
        if (use.some.length < usersNamed) use.some.push(clientId);
      }
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
    },
  };
}

function rowOf(session: SessionView, now: number, rssi: ReadonlyMap<string, number>) {
  const { clientId, peer, state, keepAliveSeconds, sleepSeconds, stateSince, stateWhy } = session;
  const secondsSilent = secondsBetween(session.lastHeard, now);
  const stateSeconds = stateSince === undefined ? undefined : secondsBetween(stateSince, now);
  const why = stateWhy;
  const facts = { state, why, stateSeconds, secondsSilent, keepAliveSeconds, sleepSeconds };
  const { says, isLate, dueSeconds } = stateInWords(facts);
  return {
    clientId,
    peer,
    transport: peer === undefined ? undefined : transportNameOf(peer),
    state,
    says,
    isLate,
    dueSeconds,
    why,
    stateSeconds,
    secondsSilent,
    keepAliveSeconds,
    sleepSeconds,
    rssi: peer === undefined ? undefined : rssi.get(neighbourOf(peer)),
    waiting: session.waitingMessages,
    owed: session.owedToBroker,
    dropped: session.droppedMessages,
  };
}

function order(rows: readonly DeviceRow[], { search, state, sort, order }: Wanted): readonly DeviceRow[] {
  const wanted = search?.toLowerCase();
  const found = rows.filter((row) => fits(row, state) && (wanted === undefined || holds(row, wanted)));
  const sign = order === "up" ? 1 : -1;
  const key = keys[sort];
  const byKey = found.map((row) => ({ row, key: key(row) }));
  byKey.sort((a, b) => sign * compare(a.key, b.key) || compare(a.row.clientId, b.row.clientId));
  return byKey.map(({ row }) => row);
}

const keys: Readonly<Record<DeviceOrder, (row: DeviceRow) => string | number>> = {
  client: ({ clientId }) => clientId,
  state: ({ isLate, state }) => (isLate ? 0 : stateRank[state]),
  address: ({ peer }) => peer ?? "",
  heard: ({ secondsSilent }) => secondsSilent,
  due: ({ dueSeconds }) => dueSeconds ?? Number.POSITIVE_INFINITY,
  waiting: ({ waiting }) => -waiting,
  owed: ({ owed }) => -owed,
  dropped: ({ dropped }) => -dropped,
};

/** The order of states in the list; states that need attention come first. */
const stateRank: Readonly<Record<DeviceState, number>> = { lost: 1, disconnected: 2, awake: 3, active: 4, asleep: 5 };

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function fits(row: DeviceRow, state: DeviceQuery["state"]): boolean {
  if (state === undefined) return true;
  if (state === "late") return row.isLate;
  if (state === "waiting") return row.waiting + row.owed > 0;
  return row.state === state;
}

function holds(row: DeviceRow, wanted: string): boolean {
  return row.clientId.toLowerCase().includes(wanted) || (row.peer ?? "").toLowerCase().includes(wanted);
}

function byState(rows: readonly DeviceRow[]) {
  const states = { active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0, late: 0 };
  for (const { state, isLate } of rows) {
    states[state]++;
    if (isLate) states.late++;
  }
  return states;
}

function rssiByPeer(installation: Installation): ReadonlyMap<string, number> {
  const found = new Map<PeerId, number>();
  for (const { links } of installation.transports())
    for (const { peer, rssi } of links?.devices ?? []) if (rssi !== undefined) found.set(peer, rssi);
  return found;
}

function secondsBetween(then: number, now: number): number {
  return Math.max(0, Math.round((now - then) / 1_000));
}
