/**
 * Leaves an MQTT session that an earlier run of the gateway used and this run does not use, because the configuration
 * has changed and its clients now use another connection. If the gateway did nothing, the broker would keep the session
 * and its messages. A later run that uses the session again would then get these messages a second time.
 *
 * The gateway makes the old connection once more, as a shared connection whose members are the clients that used it. It
 * ends the subscriptions there. Only then does it subscribe elsewhere at this broker, so no message is delivered twice.
 * The messages that wait in the old session are delivered. When nothing has arrived for a while, the session is ended.
 */
import { closeLink, openLink, openServiceLink, openShared } from "../broker/links.ts";
import { forgetReceived } from "../broker/received-record.ts";
import { resendAll } from "../broker/sending.ts";
import { joinLane } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import { Deadline } from "../deadlines.ts";
import type { ReceivedRecord } from "../record.ts";
import { markChanged } from "../session/session-record.ts";
import { newUnsubscribe } from "../state/exchanges.ts";
import type { Link } from "../state/link.ts";
import type { Session } from "../state/session.ts";
import { SharedConnection } from "../state/shared-connection.ts";
import { mayMeet, type Upstream } from "../state/upstream.ts";

/** When nothing has arrived for this long, in milliseconds, the session counts as empty. */
const quietMs = 2_000;

/**
 * The client used another connection before, which `SessionRecord.home` names. Returns false if nothing has to be left
 * at the broker, or if the session there is still the same one.
 */
export function beginLeaving(
  context: Context,
  session: Session,
  from: { readonly home: string; readonly clean: boolean },
  received: Iterable<readonly [packetId: number, record: ReceivedRecord]>,
): boolean {
  const { home } = from;
  const own = context.upstreams.all.find(({ name }) => name === home);
  if (own) {
    if (own.options.protocol === "3.1.1" && from.clean) return false; // the broker has forgotten it
    const { options } = session.upstream;
    const isSameId = !session.shared && options.clientIdPrefix === own.options.clientIdPrefix;
    if (isSameId && mayMeet(options, own.options)) return false;
    const shared = new SharedConnection<Session>({ name: home, options: own.options }, 0, 0, {
      leaves: session.clientId,
    });
    takeUp(own, shared, received);
    shared.movers.push(session);
  } else {
    const slash = home.lastIndexOf("/");
    const upstream = context.upstreams.all.find(({ name }) => name === home.slice(0, slash));
    if (!upstream) return false;
    upstream.movers.push([home, session]);
  }
  session.leaves = home;
  session.isHeldBack = true;
  return true;
}

/**
 * Leaves a shared connection of an earlier run that is not in the configuration any more. Returns false if its upstream
 * is not in the configuration either.
 */
export function leaveShared(
  context: Context,
  key: string,
  filters: ReadonlySet<string>,
  received: Iterable<readonly [packetId: number, record: ReceivedRecord]>,
): boolean {
  const found = /^\0(.*)\/(\d+)(?:\.(\d+))?$/.exec(key);
  const upstream = context.upstreams.all.find(({ name }) => name === found?.[1]);
  if (!found || !upstream) return false;
  const [index, lane] = [Number(found[2]), Number(found[3] ?? 0)];
  const shared = new SharedConnection<Session>({ name: upstream.name, options: upstream.options }, index, 0, {
    left: lane,
  });
  shared.keeps = filters;
  takeUp(upstream, shared, received);
  return true;
}

function takeUp(
  upstream: Upstream<Session>,
  shared: SharedConnection<Session>,
  received: Iterable<readonly [packetId: number, record: ReceivedRecord]>,
): void {
  shared.resumes = true;
  shared.quiet = new Deadline(shared, "quiet");
  upstream.leaving.add(shared);
  for (const [packetId, { hash }] of received) {
    shared.broker.received.set(packetId, {
      packetId,
      publication: { topicName: "", payload: new Uint8Array(0), qos: 2, retain: false },
      connection: 0,
      stage: "acknowledged", // every recipient has it on disk
      expiresAt: undefined,
      held: false,
      stored: true,
      hash,
    });
  }
}

/** All sessions of the earlier run are restored: the gateway connects to each session that has to be left. */
export function openLeavings(context: Context): void {
  for (const upstream of context.upstreams.all) {
    for (const [home, session] of upstream.movers.splice(0)) {
      const left = [...upstream.leaving].filter(
        (shared) => shared.upstreamKey === home || shared.upstreamKey.startsWith(`${home}.`),
      );
      for (const shared of left) shared.movers.push(session);
      if (left.length === 0) session.leaves = undefined;
    }
    for (const shared of upstream.leaving) {
      for (const session of shared.movers.filter(({ isOver }) => !isOver))
        for (const { filter, qos } of session.subscriptions.values())
          if (shared.keeps === undefined || shared.keeps.size === 0 || shared.keeps.has(filter))
            joinLane(shared, session, filter, qos);
      openShared(context, upstream, shared);
    }
  }
  for (const upstream of context.upstreams.all) {
    upstream.isHolding = true;
    goOn(context, upstream);
  }
}

/** Whether the packets of this connection have to wait until subscriptions at this broker have ended. */
function isHeldBack({ leaving }: Upstream<Session>): boolean {
  for (const shared of leaving) if (!shared.isUnsubscribed) return true;
  return false;
}

export function onLeavingUp(
  context: Context,
  shared: SharedConnection<Session>,
  link: Link,
  sessionPresent: boolean,
): void {
  const { broker } = shared;
  if (link.clean) {
    closeLink(context, broker, { how: "disconnect", endSession: true });
    return finish(context, shared, link.upstream);
  }
  broker.connection++;
  if (!sessionPresent) {
    for (const received of broker.received.values()) forgetReceived(context, shared.key, received);
    broker.received.clear();
    for (const exchange of [...broker.inFlight.values()]) broker.finish(exchange);
    shared.isUnsubscribed = true;
    goOn(context, link.upstream);
    return end(context, shared, link.upstream);
  }
  if (broker.inFlight.size === 0 && !shared.isUnsubscribed) {
    for (const filter of shared.filters.filters()) {
      const packetId = broker.freePacketId();
      if (packetId !== undefined) broker.add(newUnsubscribe<Session>({ packetId, filter, origin: undefined }));
    }
  }
  resendAll(context, broker);
  noteHeard(context, shared);
  onLeavingAnswered(context, shared, link.upstream);
}

/** UNSUBACK has arrived, or there is nothing to unsubscribe from. Everything that waited for this continues. */
export function onLeavingAnswered(
  context: Context,
  shared: SharedConnection<Session>,
  upstream: Upstream<Session>,
): void {
  if (shared.isUnsubscribed || shared.broker.inFlight.size > 0) return;
  shared.isUnsubscribed = true;
  goOn(context, upstream);
}

/** A message arrived over this connection, so its session is not empty yet. */
export function noteHeard(context: Context, shared: SharedConnection<Session>): void {
  if (shared.quiet) context.deadlines.set(shared.quiet, context.now + quietMs);
}

export function onQuietDeadline(context: Context, shared: SharedConnection<Session>): void {
  const { broker } = shared;
  const { link } = broker;
  const upstream = link && context.links.get(link.id)?.upstream;
  if (!upstream || !link.up) return; // it continues with the next connection
  const isUndecided = shared.ackAwaitingStore.length > 0 || !shared.isUnsubscribed;
  if (isUndecided) return noteHeard(context, shared);
  end(context, shared, upstream);
}

/** The broker does not accept the gateway there any more, or nothing is left in the session. */
export function giveUpLeaving(context: Context, shared: SharedConnection<Session>, upstream: Upstream<Session>): void {
  closeLink(context, shared.broker, { how: "disconnect", endSession: true });
  shared.isUnsubscribed = true;
  finish(context, shared, upstream);
}

/** In both versions of MQTT, connecting with a clean session ends the old session. */
function end(context: Context, shared: SharedConnection<Session>, upstream: Upstream<Session>): void {
  closeLink(context, shared.broker, { how: "disconnect", endSession: true });
  shared.resumes = false;
  openShared(context, upstream, shared);
}

function finish(context: Context, shared: SharedConnection<Session>, upstream: Upstream<Session>): void {
  if (!upstream.leaving.delete(shared)) return;
  if (shared.quiet) context.deadlines.clear(shared.quiet);
  for (const received of shared.broker.received.values()) forgetReceived(context, shared.key, received);
  if (shared.leaves === undefined) context.journal.forget({ clientId: shared.key });
  for (const session of shared.movers) {
    if ((shared.leaves === undefined && isMovingFrom(upstream, session)) || !context.sessions.isCurrent(session))
      continue;
    session.leaves = undefined;
    markChanged(context, session);
  }
  goOn(context, upstream);
}

/** Whether another shared connection that had filters of this client is not left yet. */
function isMovingFrom({ leaving }: Upstream<Session>, session: Session): boolean {
  for (const { movers } of leaving) if (movers.includes(session)) return true;
  return false;
}

/** Continues what waited for the leaving, unless it waits for another connection that is being left. */
function goOn(context: Context, upstream: Upstream<Session>): void {
  if (isHeldBack(upstream)) return;
  openOwn(context, upstream);
  if (!upstream.isHolding) return;
  upstream.isHolding = false;
  for (const session of context.sessions.live()) {
    if (session.upstream !== upstream || !session.isHeldBack) continue;
    session.isHeldBack = false;
    const isIdle = session.state === "disconnected" || session.state === "lost";
    if (session.shared || session.broker.link || session.lacksId) continue;
    if (!isIdle || session.willPending || session.awaitsForwarding)
      openLink(context, session, { clean: session.clean, resume: true });
  }
}

/** Opens the gateway's own connections and the shared connections that are not open yet. */
function openOwn(context: Context, upstream: Upstream<Session>): void {
  for (const shared of upstream.sharedConnections)
    for (const lane of shared.all())
      if (!lane.broker.link && (!lane.isLane || lane.filters.size > 0)) openShared(context, upstream, lane);
  if (upstream.sharedConnections.length > 0 || upstream.service.link) return;
  const isIdTaken = [...upstream.leaving].some(({ leaves }) => leaves === undefined); // theirs is the same id
  if (!isIdTaken) openServiceLink(context, upstream);
}
