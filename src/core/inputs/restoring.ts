/**
 * Clients are served while sessions of an earlier run are still restored, because with 100,000 sessions this takes
 * seconds, and a gateway that has taken over must answer at once.
 *
 * The session of a client that sends CONNECT, or PINGREQ with its client id, is read from the store before its turn. A
 * message from an address without a session waits until the session at this address is restored. The gateway connects
 * to its brokers at once, so publications reach them. But three things wait until all sessions are restored, because
 * they concern clients that may not be known yet: subscribing, ending a subscription, and what the broker delivers over
 * a shared connection. A delivery is acknowledged when it is handled, so none is lost.
 */
import { askForCopies, settleLanes } from "../broker/lanes.ts";
import { closeLink, openServiceLink, openShared } from "../broker/links.ts";
import { sendWaiting } from "../broker/sending.ts";
import { publishClientStates } from "../broker/service.ts";
import { askAllNow } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { HeldAboutClient, HeldDatagram, HeldDelivery, Restoring } from "../state/restoring.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { PeerId } from "../types.ts";
import type { FromClient } from "../words.ts";
import { openLeavings } from "./leaving.ts";
import { restoreSession } from "./restore.ts";
import { finishMoves } from "./restore-moved.ts";
import { askForOwed, endAtBroker } from "./restore-shared.ts";

/** Messages that concern no session. */
const ofNoSession: ReadonlySet<string> = new Set(["SEARCHGW", "ADVERTISE", "GWINFO"]);

/** Inputs that waited and are handled in one turn, so that others wait some milliseconds at most. */
export const releasedAtOnce = 20;

/**
 * Deadlines are handled from now on. While sessions are still restored, the gateway opens only those connections for
 * which nothing has to be decided first: its own ones, and shared connections whose MQTT session belongs to it.
 */
export function openFirst(context: Context): void {
  for (const upstream of context.upstreams.all) {
    const { sharedConnections, leaving, service } = upstream;
    if (leaving.size > 0) continue;
    for (const shared of sharedConnections)
      if (shared.resumes && !shared.broker.link) openShared(context, upstream, shared);
    if (sharedConnections.length === 0 && !service.link) openServiceLink(context, upstream);
  }
}

/**
 * True: the message waits, or was dropped, because the session that it concerns may not be restored yet. Not called for a
 * publication without a connection.
 */
export function waitsForSession(
  context: Context,
  restoring: Restoring,
  { input, peer, message }: { readonly input: HeldDatagram; readonly peer: PeerId; readonly message: FromClient },
): boolean {
  if (ofNoSession.has(message.type)) return false;
  const { clientId } = message;
  if (typeof clientId === "string" && clientId !== "") {
    if (message.type === "CONNECT" && !restoring.isReleasing) restoring.beginAnew(peer);
    if (isKnown(context, restoring, clientId)) return false;
    // Whoever is not admitted gets the answer without a question to the store.
    if (!context.access.client(clientId, peer, context.neighbourAt(peer)).admitted) return false;
    return keepOrDrop(context, restoring.holdFor(clientId, input), peer, message.type);
  }
  if (context.pendingConnects.has(peer)) return false;
  if (!context.sessions.hasAt(peer)) {
    if (restoring.isComplete) return false;
    return keepOrDrop(context, restoring.holdAt(peer, input), peer, message.type);
  }
  const isRequest = message.type === "SUBSCRIBE" || message.type === "UNSUBSCRIBE";
  if (!isRequest || restoring.isComplete || !context.sessions.lookAt(peer)?.shared) return false;
  return keepOrDrop(context, restoring.holdRequest(peer, input), peer, message.type);
}

function isKnown(context: Context, restoring: Restoring, clientId: string): boolean {
  return restoring.isComplete || restoring.isSettled(clientId) || context.sessions.has(clientId);
}

function keepOrDrop(context: Context, isKept: boolean, peer: PeerId, detail: string): true {
  if (!isKept) context.drop("not-restored", { peer, detail });
  return true;
}

/**
 * True: an input that is no datagram waits, or was dropped, because sessions that it concerns may not be restored yet.
 */
export function waitsForAll(context: Context, restoring: Restoring, input: Input): boolean {
  switch (input.kind) {
    case "delivered":
      return waitsForRecipients(context, restoring, input);
    case "stateUnwanted":
    case "dropSession":
    case "purgeUplink":
    case "purgeDownlink":
    case "sendDown":
      return !isKnown(context, restoring, input.clientId) && waitsForClient(context, restoring, input);
    case "republish":
      return !restoring.isComplete && restoring.holdToTheEnd(input);
    case "linkDown":
      restoring.forgetDeliveries(input.linkId);
      return false;
    default:
      return false;
  }
}

function waitsForClient(context: Context, restoring: Restoring, input: HeldAboutClient): true {
  const { clientId, kind } = input;
  if (!restoring.holdFor(clientId, input)) context.drop("not-restored", { clientId, detail: kind });
  return true;
}

function waitsForRecipients(context: Context, restoring: Restoring, input: HeldDelivery): boolean {
  const link = context.links.get(input.linkId);
  if (!link?.shared || restoring.isReleasing || !restoring.holdsDeliveries) return false;
  if (restoring.holdDelivery(input, context.now)) return true;
  const { qos, topicName } = input.publication;
  if (qos === 0) context.drop("not-restored", { detail: `QoS 0 ${topicName}` });
  // The broker sends it again over the next connection, as it sends everything that is not acknowledged.
  else closeLink(context, link.broker, { how: "disconnect", endSession: false });
  return true;
}

/** Asks the store for sessions that are needed now. Called at the end of each turn. */
export function askForSessions({ out }: Context, restoring: Restoring): void {
  for (const clientId of restoring.toAsk()) out.add({ kind: "load", clientId });
}

/** The store has answered for one client. */
export function onLoaded(context: Context, { clientId, state, failed }: Extract<Input, { kind: "loaded" }>): void {
  const { restoring } = context;
  if (!restoring) return; // all sessions are restored meanwhile
  const held = restoring.answered(clientId);
  if (failed !== undefined) {
    for (const input of held) context.drop("store-failing", { clientId, detail: `${input.kind}: ${failed}` });
    return;
  }
  if (state) restoreSession(context, state);
  restoring.settle(clientId); // whatever a slice has of this client is older
  restoring.ready.push(...held);
}

/** Takes inputs that waited and can be handled now, at most `releasedAtOnce` in one turn. `handle` handles one. */
export function handleReady(context: Context, restoring: Restoring, handle: (input: Input) => void): void {
  for (let i = 0; i < releasedAtOnce; i++) {
    const next = restoring.takeReady(context.now);
    if (!next) break;
    restoring.isReleasing = true;
    handle(next);
    restoring.isReleasing = false;
  }
  if (restoring.hasReady) context.deadlines.set(context.release, context.now);
  else if (restoring.isOver) context.restoring = undefined;
}

/**
 * All sessions are restored. Filters are assigned to their connections, subscriptions are made and ended, connections
 * that waited for this are opened, and what has waited is handled.
 */
export function finishRestoring(context: Context): void {
  const { restoring } = context;
  if (restoring) {
    closeHeldBack(context);
    restoring.complete();
  }
  finishMoves(context);
  settleLanes(context);
  askForOwed(context);
  for (const [shared, filters] of restoring?.left ?? [])
    for (const filter of filters) if (!shared.filters.has(filter)) endAtBroker(context, shared, filter);
  openLeavings(context);
  if (!restoring) return;
  for (const upstream of context.upstreams.all) {
    for (const shared of upstream.sharedConnections) goOn(context, shared);
    if (upstream.service.link?.up) publishClientStates(context, upstream);
  }
}

/**
 * Sessions were found that used another connection at this broker. Their old connections must be left before anything
 * else is done there.
 */
function closeHeldBack(context: Context): void {
  for (const { leaving, sharedConnections } of context.upstreams.all) {
    if (leaving.size === 0) continue;
    for (const { broker } of sharedConnections) closeLink(context, broker, { how: "disconnect", endSession: false });
  }
}

/** What `onSharedUp` does for clients, for a connection that was opened before all its clients were restored. */
function goOn(context: Context, shared: SharedConnection<Session>): void {
  const { broker } = shared;
  if (!broker.link?.up) return;
  if (broker.sessionUncertain) askAllNow(context, shared);
  broker.sessionUncertain = false;
  askForCopies(context, shared);
  sendWaiting(context, broker);
}
