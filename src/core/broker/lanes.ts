/**
 * Chooses the connection for a filter, if clients share a connection and the broker may send a message once for each
 * matching filter (state/shared-connection.ts). The gateway asks the broker how it behaves when filters overlap for the
 * first time. Until it has the answer, such a filter waits.
 */
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import { probeId } from "../own-ids.ts";
import type { SharedFilter } from "../state/exchanges.ts";
import { newUnsubscribe } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { Upstream } from "../state/upstream.ts";
import { openShared } from "./links.ts";
import { sendOrWait } from "./sending.ts";
import { markLane } from "./shared-record.ts";
import { toBroker } from "./topic-prefix.ts";
import { withdraw } from "./withdraw.ts";

/** True if this filter may be subscribed to. False: it overlaps with others on every connection that there may be. */
export function hasPlaceFor(context: Context, main: SharedConnection<Session>, filter: string): boolean {
  if (upstreamOf(context, main).copies !== "each" || main.laneWith(filter)) return true;
  return main.hasRoomForLane || main.laneFor(filter) !== undefined;
}

/** The connection for a filter to which no client has subscribed yet. */
export function placeOf(context: Context, main: SharedConnection<Session>, filter: string): SharedConnection<Session> {
  const upstream = upstreamOf(context, main);
  if (upstream.copies !== "each") return main;
  const lane = main.laneFor(filter) ?? newLane(context, main) ?? main;
  if (!lane.broker.link) openShared(context, upstream, lane);
  return lane;
}

/**
 * Notes that a filter has been assigned to a connection. If it is not sure that this is the right one, the filter waits
 * there.
 */
export function notePlaced(context: Context, lane: SharedConnection<Session>, entry: SharedFilter<Session>): void {
  if (lane.isLane) return markLane(context, lane);
  const { copies } = upstreamOf(context, lane);
  if ((copies !== "unknown" && copies !== "asked") || !lane.filters.overlaps(entry.filter)) return;
  lane.undecided.add(entry);
  askForCopies(context, lane);
}

/** Asks how the broker sends copies, if a filter waits for the answer and the broker can be reached. */
export function askForCopies(context: Context, main: SharedConnection<Session>): void {
  const upstream = upstreamOf(context, main);
  if (upstream.copies !== "unknown" || main.undecided.size === 0 || !main.broker.link?.up) return;
  upstream.copies = "asked";
  const mqttClientId = probeId(upstream.options);
  const { topicPrefix, serviceClientId } = upstream.options;
  context.out.add({
    kind: "askCopies",
    link: {
      linkId: context.nextLinkId(mqttClientId),
      upstream: upstream.name,
      mqttClientId,
      identity: undefined,
      clean: true,
      will: undefined,
    },
    topic: toBroker(topicPrefix, `${serviceClientId}/probe`),
  });
}

/** Returns the filters that were assigned to a connection, and the connection at which each must be subscribed to. */
export function onCopiesKnown(
  context: Context,
  { upstream: name, copies }: Extract<Input, { kind: "copiesKnown" }>,
): [SharedConnection<Session>, SharedFilter<Session>][] {
  const upstream = context.upstreams.all.find((each) => each.name === name);
  if (!upstream) return [];
  if (copies === undefined && !upstream.isThere) {
    upstream.copies = "unknown"; // the connection was lost meanwhile; the probe is repeated after a reconnect
    return [];
  }
  context.out.report({ event: "copies_known", upstream: name, copies });
  upstream.copies = copies ?? "counted";
  if (copies !== "each") for (const main of upstream.sharedConnections) main.filters.forgetOverlaps();
  const placed: [SharedConnection<Session>, SharedFilter<Session>][] = [];
  for (const main of upstream.sharedConnections) {
    for (const entry of main.undecided) placed.push([move(context, main, entry), entry]);
    main.undecided.clear();
  }
  return placed;
}

/**
 * All sessions of an earlier run are restored, and no connection is open. Their filters return to the connections that
 * had them. Filters that are new at this upstream are assigned.
 */
export function settleLanes(context: Context): void {
  for (const upstream of context.upstreams.all) {
    const hasLanes = upstream.sharedConnections.some(({ lanes }) => lanes.length > 0);
    if (hasLanes) upstream.copies = "each"; // this was found out in an earlier run
    for (const main of upstream.sharedConnections) settle(context, main);
    upstream.isSettled = true;
  }
}

function settle(context: Context, main: SharedConnection<Session>): void {
  const { copies } = upstreamOf(context, main);
  for (const lane of main.lanes) {
    for (const filter of lane.keeps ?? []) {
      const entry = main.filters.get(filter);
      if (entry) shift(main, lane, entry);
    }
    lane.keeps = undefined;
  }
  if (copies !== "one") {
    const { filters } = main;
    const overlapping: string[] = [];
    for (const filter of filters.filters()) if (filters.overlaps(filter)) overlapping.push(filter);
    for (const filter of overlapping) {
      const entry = filters.overlaps(filter) ? filters.get(filter) : undefined;
      if (!entry) continue;
      if (copies === "each") move(context, main, entry);
      else {
        if (entry.asking) withdraw(main.broker, entry.asking);
        entry.asking = undefined;
        main.undecided.add(entry);
      }
    }
  }
  for (const lane of main.lanes) {
    if (lane.filters.size > 0) continue;
    lane.resumes = false; // the broker's session of this lane is ended before the lane is used again
    context.journal.forget({ clientId: lane.key });
  }
}

/**
 * Moves a filter from the main connection to another one, if it still overlaps with others there. Returns the
 * connection that has it.
 */
function move(
  context: Context,
  main: SharedConnection<Session>,
  entry: SharedFilter<Session>,
): SharedConnection<Session> {
  const { filter } = entry;
  if (upstreamOf(context, main).copies !== "each" || !main.filters.overlaps(filter)) return main;
  const lane = main.lanes.find(({ filters }) => !filters.overlaps(filter)) ?? newLane(context, main);
  if (!lane) return main;
  shift(main, lane, entry);
  markLane(context, lane);
  if (main.broker.link && !lane.broker.link) openShared(context, upstreamOf(context, main), lane);
  for (const row of entry.members.keys()) {
    // A parked client waits for no SUBACK, so it has subscribed.
    if (context.sessions.liveAt(row)?.subscriptions.has(filter) === false) continue;
    unsubscribe(context, main, filter); // the filter was there in an earlier run
    break;
  }
  return lane;
}

function shift(from: SharedConnection<Session>, to: SharedConnection<Session>, entry: SharedFilter<Session>): void {
  if (entry.asking) withdraw(from.broker, entry.asking);
  entry.asking = undefined;
  from.filters.remove(entry);
  to.filters.add(entry);
}

function unsubscribe(context: Context, { broker }: SharedConnection<Session>, filter: string): void {
  const packetId = broker.freePacketId();
  if (packetId === undefined) return;
  const exchange = newUnsubscribe<Session>({ packetId, filter, origin: undefined });
  broker.add(exchange);
  sendOrWait(context, broker, exchange);
}

function newLane(context: Context, main: SharedConnection<Session>): SharedConnection<Session> | undefined {
  if (!main.hasRoomForLane) return undefined;
  return main.lane(main.lanes.length + 1, () => Math.floor(context.environment.random() * 65_535));
}

function upstreamOf(context: Context, shared: SharedConnection<Session>): Upstream<Session> {
  return context.upstreams.all.find(({ name }) => name === shared.upstreamName) ?? context.upstreams.default;
}
