/** Opens and closes connections to brokers: a client's own, shared ones, and the gateway's own. */
import type { Context } from "../context.ts";
import { Deadline } from "../deadlines.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import { type Link, newLink } from "../state/link.ts";
import { searchFigures } from "../state/search-figures.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { Upstream } from "../state/upstream.ts";
import type { LinkId } from "../types.ts";
import { holderOfId } from "./client-ids.ts";
import { statusWill } from "./service.ts";
import { willToTell } from "./will.ts";

/**
 * Opens a connection for the client; the one before, if any, must be closed. `resume`: an earlier run of the gateway
 * had one, and the session that the broker kept is needed.
 */
export function openLink(
  context: Context,
  session: Session,
  options: { clean: boolean; resume?: boolean; isProbe?: boolean },
): void {
  const { clientId, upstream } = session;
  const { clientIdPrefix } = upstream.options;
  const { isProbe = false } = options;
  const holder = holderOfId(context, clientId, upstream);
  // Such a CONNECT is refused earlier. This is for sessions of an earlier run under another configuration.
  session.lacksId = holder !== undefined;
  if (holder !== undefined)
    return context.drop("client-id-taken", { clientId, peer: session.peer, detail: `at the broker it is ${holder}'s` });
  const link = newLink({
    id: context.nextLinkId(session.clientId),
    session,
    upstream,
    broker: session.broker,
    clean: options.clean,
    resumes: options.resume === true,
    isProbe,
    will: isProbe ? undefined : willToTell(context, session),
  });
  if (options.resume) link.answersFrom = context.now + searchFigures.custodyWaitMs;
  attach(context, link);
  session.brokerRefused = false;
  context.out.add({
    kind: "openLink",
    link: {
      linkId: link.id,
      upstream: upstream.name,
      mqttClientId: clientIdPrefix + session.clientId,
      identity: session.clientId,
      clean: options.clean,
      ...(options.resume === true && { resume: true }),
      will: link.will,
    },
  });
}

export function openShared(
  context: Context,
  upstream: Upstream<Session>,
  shared: SharedConnection<Session>,
  { isProbe }: { isProbe: boolean } = { isProbe: false },
): void {
  const { broker, mqttClientId } = shared;
  const clean = !shared.resumes;
  const link = newLink({
    id: context.nextLinkId(mqttClientId),
    session: undefined,
    shared,
    upstream,
    broker,
    clean,
    isProbe,
    will:
      shared.index === 0 && !shared.isLane && !shared.isLeaving && !isProbe ? statusWill(context, upstream) : undefined,
  });
  if (!shared.isAway) link.answersFrom = context.now + searchFigures.custodyWaitMs;
  attach(context, link);
  const { will } = link;
  const request = { linkId: link.id, upstream: upstream.name, mqttClientId, identity: shared.leaves, clean, will };
  context.out.add({ kind: "openLink", link: request });
}

/** Opens the gateway's own connection. If clients share connections, the first of those is used instead. */
export function openServiceLink(
  context: Context,
  upstream: Upstream<Session>,
  { isProbe }: { isProbe: boolean } = { isProbe: false },
): void {
  const { serviceClientId, clientIdPrefix } = upstream.options;
  const mqttClientId = clientIdPrefix + serviceClientId;
  const link = newLink({
    id: context.nextLinkId(mqttClientId),
    session: undefined,
    upstream,
    broker: upstream.service,
    clean: true,
    isProbe,
    will: isProbe ? undefined : statusWill(context, upstream),
  });
  attach(context, link);
  context.out.add({
    kind: "openLink",
    link: {
      linkId: link.id,
      upstream: upstream.name,
      mqttClientId,
      identity: undefined,
      clean: true,
      will: link.will,
    },
  });
}

/** Makes this connection again, with or without the will. */
export function reopen(context: Context, link: Link, { isProbe }: { isProbe: boolean }): void {
  const { session, shared, upstream, broker, clean, answersFrom } = link;
  closeLink(context, broker, { how: "disconnect", endSession: false });
  if (session) openLink(context, session, { clean, resume: link.resumes, isProbe });
  else if (shared) openShared(context, upstream, shared, { isProbe });
  else openServiceLink(context, upstream, { isProbe });
  if (broker.link) broker.link.answersFrom = answersFrom;
}

/** Sets the time after which exchanges that wait for this connection are answered without it. */
export function awaitCustody({ deadlines }: Context, link: Link): void {
  link.custody ??= new Deadline(link, "custody");
  deadlines.set(link.custody, link.answersFrom);
}

/** Makes this the present connection of its MQTT session, until `closeLink`. */
function attach(context: Context, link: Link): void {
  context.links.set(link.id, link);
  link.broker.link = link;
}

/** Closes the connection of this MQTT session, if it has one. */
export function closeLink(
  context: Context,
  broker: BrokerSession<Session>,
  options: { how: "disconnect" | "abandon"; endSession: boolean },
): void {
  const link = broker.link;
  if (!link) return;
  if (!link.up) broker.sessionUncertain = true;
  broker.link = undefined;
  broker.cut(context.now);
  forgetDeadlines(context, link.id);
  context.links.delete(link.id);
  context.out.add({ kind: "closeLink", linkId: link.id, ...options });
}

function forgetDeadlines(context: Context, id: LinkId): void {
  const link = context.links.get(id);
  if (link?.retest) context.deadlines.clear(link.retest);
  if (link?.custody) context.deadlines.clear(link.custody);
}

/** The client needs the broker no longer for now. A connection that it shares with others stays open. */
export function detach(
  context: Context,
  session: Session,
  options: { how: "disconnect" | "abandon"; endSession: boolean },
): void {
  if (!session.shared) closeLink(context, session.broker, options);
}
