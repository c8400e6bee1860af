/**
 * The checks of the subscriptions of clients that share a connection, and of clients that wait for retained messages.
 * See check.ts.
 */
import type { Found } from "../assert.ts";
import type { Checked } from "./checked.ts";
import type { SharedFilter } from "./exchanges.ts";
import type { Session } from "./session.ts";
import type { SharedConnection } from "./shared-connection.ts";

/** The members of filters and the subscriptions of clients are two views of the same facts, so they must agree. */
export function checkShared(gateway: Checked, shared: SharedConnection<Session>, found: Found): void {
  for (const lane of shared.all()) checkLane(gateway, lane, found);
  for (const session of gateway.sessions.each()) {
    if (session.shared !== shared) continue;
    for (const { filter, isRefused } of session.subscriptions.values())
      if (!isRefused && !shared.look(filter)?.members.has(session.row))
        found(`client ${session.clientId} subscribes to ${filter}, and gets nothing of it`);
    for (const request of session.subscribesInFlight.values())
      if (request.kind === "subscribe" && !shared.look(request.filter)?.members.has(session.row))
        found(`client ${session.clientId} waits for its SUBACK of ${request.filter}, and nobody asks for it`);
  }
}

/** If the broker sends a copy for each filter, no two overlapping filters may be on the same lane. */
function checkLane(gateway: Checked, lane: SharedConnection<Session>, found: Found): void {
  const who = `the shared connection ${lane.upstreamKey}`;
  lane.filters.check((finding) => found(`${who}: ${finding}`));
  for (const entry of lane.filters.each()) checkFilter(gateway, lane, entry, found);
  for (const entry of [...lane.unasked, ...lane.undecided])
    if (lane.filters.look(entry.filter) !== entry)
      found(`${who}: ${entry.filter} is to be asked for, and nobody wants it`);
  for (const exchange of lane.broker.inFlight.values()) {
    const entry = exchange.kind === "subscribe" ? exchange.shared?.entry : undefined;
    if (entry?.asking === exchange && entry.members.size > 0 && lane.filters.look(entry.filter) !== entry)
      found(`${who}: ${entry.filter} is asked for, and stands there as another entry`);
  }
  const upstream = gateway.upstreams.all.find(({ name }) => name === lane.upstreamName);
  const isFull = !lane.main.hasRoomForLane;
  for (const filter of lane.filters.filters()) {
    if (upstream?.copies === "each" && upstream.isSettled && !isFull && lane.filters.overlaps(filter))
      found(`${who}: ${filter} overlaps with another filter there`);
    for (const other of lane.main.all())
      if (other !== lane && other.filters.has(filter)) found(`${who}: ${filter} stands on ${other.upstreamKey} too`);
  }
}

function checkFilter(
  gateway: Checked,
  shared: SharedConnection<Session>,
  entry: SharedFilter<Session>,
  found: Found,
): void {
  const { filter, members, asking, next, waits } = entry;
  const who = `${filter} of the shared connection ${shared.upstreamKey}`;
  if (members.size === 0) found(`${who} has no members`);
  for (const [row, qos] of members) {
    const session = gateway.sessions.lookInto(row);
    if (!session) {
      found(`${who}: the session of the member in row ${row} is over`);
      continue;
    }
    const { clientId } = session;
    if (session.shared !== shared.main) found(`${who}: member ${clientId} is of another connection`);
    let isAsked = false;
    for (const request of session.subscribesInFlight.values())
      isAsked ||= request.kind === "subscribe" && request.filter === filter;
    const subscription = session.subscriptions.get(filter);
    if (!isAsked && !subscription) found(`${who}: member ${clientId} does not subscribe to it`);
    if (!isAsked && subscription && subscription.qos !== qos)
      found(`${who}: member ${clientId} subscribes at QoS ${subscription.qos}, and gets it at ${qos}`);
  }
  if (asking && shared.broker.inFlight.get(asking.packetId) !== asking)
    found(`${who} waits for a SUBACK, and nothing is asked`);
  if (next.length > 0 && !asking && !shared.unasked.has(entry) && !shared.undecided.has(entry))
    found(`${who}: ${next.length} wait for a SUBSCRIBE that nobody makes`);
  for (const [session, wait] of waits ?? []) {
    const isGone = session.isParked ? "is parked" : session.isOver ? "is over" : "";
    if (isGone) found(`${who}: client ${session.clientId} ${isGone}, and waits for what is retained`);
    if (wait.session !== session || wait.entry !== entry)
      found(`${who}: client ${session.clientId} waits for what is retained elsewhere`);
    const isKept =
      wait.until === undefined ? asking?.shared?.waits.includes(wait) : gateway.retainedWaits.all().includes(wait);
    if (isKept !== true) found(`${who}: client ${session.clientId} waits for what is retained, for ever`);
  }
}

/** The waits end in their order, and a deadline is set for the first one. */
export function checkRetainedWaits({ retainedWaits }: Checked, found: Found): void {
  const { deadline } = retainedWaits;
  const [first] = retainedWaits.all();
  if (first?.until !== undefined && (deadline.at === undefined || deadline.at > Math.ceil(first.until)))
    found(
      `client ${first.session.clientId}: its time for what is retained of ${first.entry.filter} ends, and no deadline says so`,
    );
  let before = 0;
  const counted = new Map<Session, number>();
  for (const { until = 0, session, entry } of retainedWaits.all()) {
    counted.set(session, (counted.get(session) ?? 0) + 1);
    if (until < before)
      found(`client ${session.clientId}: its time for what is retained of ${entry.filter} is out of order`);
    before = until;
  }
  for (const [session, waits] of counted) {
    const { clientId } = session;
    if (session.retainedWaits !== waits) found(`client ${clientId} has ${waits} waits, counted otherwise`);
    if (session.isParked) found(`client ${clientId} is parked, and waits for what is retained`);
  }
}
