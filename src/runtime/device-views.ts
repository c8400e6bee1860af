/** The list of devices, page by page, and the sums over all of them. */
import type { GatewayCore, SessionView } from "../core/gateway-core.ts";
import { neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import type { DeviceOrder } from "./device-orders.ts";
import { FirstOf } from "./first-of.ts";
import type { Installation } from "./installation.ts";
import type { RememberedViews } from "./remembered-views.ts";
import { inSlices } from "./slices.ts";
import { stateInWords } from "./state-words.ts";

export type DeviceState = SessionView["state"];

export interface DeviceQuery {
  readonly search?: string | undefined;
  readonly state?: DeviceState | "late" | "waiting" | undefined;
  readonly sort: DeviceOrder;
  readonly order: "up" | "down";
  readonly offset: number;
  readonly limit: number;
}

export type DeviceRow = ReturnType<typeof rowOf>;

/** All sessions at one moment, as a large gateway allows it. */
export const censusOf = (core: GatewayCore, views: RememberedViews) =>
  views.named("census", async (at) => {
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

/** A page of the list of devices. */
export const pageOf = (
  core: Pick<GatewayCore, "sessions">,
  installation: Pick<Installation, "transports">,
  views: RememberedViews,
  { search, state, sort, order, offset, limit }: DeviceQuery,
) =>
  views.named(JSON.stringify(["devices", search, state, sort, order, offset, limit]), async (at) => {
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

export function rowOf(session: SessionView, now: number, rssi: ReadonlyMap<string, number>) {
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

export function rssiByPeer(installation: Pick<Installation, "transports">): ReadonlyMap<string, number> {
  const found = new Map<PeerId, number>();
  for (const { links } of installation.transports())
    for (const { peer, rssi } of links?.devices ?? []) if (rssi !== undefined) found.set(peer, rssi);
  return found;
}

function secondsBetween(then: number, now: number): number {
  return Math.max(0, Math.round((now - then) / 1_000));
}
