/**
 * The views of the console and the commands: the list of devices, one device, the overview, topics. They are read from
 * the core on demand.
 */
import type { GatewayCore, SessionView } from "../core/gateway-core.ts";
import { neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import type { DeviceOrder } from "./device-orders.ts";
import { FirstOf } from "./first-of.ts";
import type { Installation } from "./installation.ts";
import { needsOf } from "./needs.ts";
import { inSlices } from "./slices.ts";
import { stateInWords } from "./state-words.ts";

/**
 * Browsers that ask within this time get the same view. With many sessions it is longer: reading them all again and again takes at most a
 * tenth of the gateway's time.
 */
const viewMs = 1_000;
const shareOfTime = 10;
/** Views that are remembered, because several browsers usually show the same. */
const viewsMax = 16;
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

interface Remembered {
  /** Monotonic milliseconds; the view is valid until then. Infinity: it is being made. */
  until: number;
  readonly at: number;
  readonly view: Promise<unknown>;
}

export type DeviceRow = ReturnType<typeof rowOf>;

export type Views = ReturnType<typeof createViews>;

export function createViews(core: GatewayCore, now: () => number, installation: Installation) {
  const remembered = new Map<string, Remembered>();
  let last: Promise<unknown> = Promise.resolve();
  /** The view of this name, which `make` makes from all sessions. One view is made at a time. */
  const viewNamed = <T>(name: string, make: (at: number) => Promise<{ view: T; workedMs: number }>): Promise<T> => {
    const known = remembered.get(name);
    if (known && now() >= known.at && now() < known.until) return known.view as Promise<T>;
    const made = last.then(() => make(now()));
    const entry: Remembered = { until: Number.POSITIVE_INFINITY, at: now(), view: made.then(({ view }) => view) };
    last = made.then(
      ({ workedMs }) => {
        entry.until = now() + Math.max(viewMs, workedMs * shareOfTime);
      },
      () => {
        entry.until = entry.at;
      },
    );
    remembered.delete(name);
    remembered.set(name, entry);
    for (const oldest of remembered.keys()) {
      if (remembered.size <= viewsMax) break;
      remembered.delete(oldest);
    }
    return entry.view as Promise<T>;
  };
  /** All sessions at one moment, as a large gateway allows it. */
  const census = () =>
    viewNamed("census", async (at) => {
      const view = { total: 0, byState: noStates(), owed: 0 };
      const rssi = new Map<string, number>();
      const workedMs = await inSlices(core.sessions(), (session) => {
        const row = rowOf(session, at, rssi);
        view.total++;
        view.owed += row.owed;
        countState(view.byState, row);
      });
      return { view, workedMs };
    });
  const page = ({ search, state, sort, order, offset, limit }: DeviceQuery) =>
    viewNamed(JSON.stringify(["devices", search, state, sort, order, offset, limit]), async (at) => {
      const view = { total: 0, matched: 0, byState: noStates() };
      const wanted = search?.toLowerCase();
      const key = keys[sort];
      const sign = order === "up" ? 1 : -1;
      const first = new FirstOf<{ readonly key: string | number; readonly row: DeviceRow }>(
        offset + limit,
        (a, b) => sign * compare(a.key, b.key) || compare(a.row.clientId, b.row.clientId),
      );
      const rssi = rssiByPeer(installation);
      const workedMs = await inSlices(core.sessions(), (session) => {
        const row = rowOf(session, at, rssi);
        view.total++;
        countState(view.byState, row);
        if (!fits(row, state) || (wanted !== undefined && !holds(row, wanted))) return;
        view.matched++;
        first.add({ key: key(row), row });
      });
      const devices = first.items.slice(offset).map(({ row }) => row);
      return { view: { ...view, devices }, workedMs };
    });
  return {
    devices: page,
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
    overview: async (withBrokers: boolean) => {
      const { total, byState: states, owed: owedToBroker } = await census();
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
    },
    topics: async () => {
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

const noStates = () => ({ active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0, late: 0 });

function countState(states: ReturnType<typeof noStates>, { state, isLate }: DeviceRow): void {
  states[state]++;
  if (isLate) states.late++;
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
