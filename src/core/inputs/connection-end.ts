/** An accepted connection has ended: which packet is blamed, what is taken out, and when the next attempt is made. */
import { storeExperience } from "../broker/experience-record.ts";
import { awaitCustody } from "../broker/links.ts";
import { sessionsOf } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { LinkEnd } from "../input.ts";
import { isStoreAndForward } from "../session/backlog.ts";
import { failPendingConnects } from "../session/connect-outcome.ts";
import { acceptInFlight } from "../session/store-and-forward.ts";
import { grantPendingRequests } from "../session/subscribe.ts";
import type { Link } from "../state/link.ts";
import { blamelessReasons, namedReasons, searchFigures } from "../state/search-figures.ts";
import type { Session } from "../state/session.ts";
import { takeOut } from "./take-out.ts";

/** Evaluates the end of a connection. Must be called before sent packets are marked as unsent. */
export function noteEnd(context: Context, link: Link, end: LinkEnd): void {
  const { broker } = link;
  const { cause, reasonCode, showedLife } = end;
  const blames = cause === "peer" && !(reasonCode !== undefined && blamelessReasons.has(reasonCode));
  const named = reasonCode !== undefined && namedReasons.has(reasonCode);
  link.answersFrom = blames ? context.now + searchFigures.custodyWaitMs : context.now;
  const { evidence } = link.upstream;
  if (blames && broker.unanswered > 0) evidence.noteEnd(broker, context.now);
  const isDoubtful = evidence.isDoubtful(broker, context.now);
  const { takenOut, pause } = broker.ended(context.now, { blames, named, showedLife, isDoubtful });
  if (pause !== "next") context.out.add({ kind: "pause", linkId: link.id, pause });
  if (takenOut) takeOut(context, link, takenOut);
  storeExperience(context, broker);
}

/**
 * The broker is away: requests for which clients wait are taken into custody or granted, as the client's policy says.
 * If the broker has just closed the connection, this is done later: the requests may get an answer over the next
 * connection, and the gateway must not acknowledge a packet for which the broker closes. Packets that were not sent yet
 * wait only until an attempt to connect has failed.
 */
export function answerWithoutBroker(context: Context, link: Link, sessions: Iterable<Session>): void {
  if (context.now < link.answersFrom) {
    if (link.isMissed) for (const session of sessions) acceptInFlight(context, session, { isUnsentOnly: true });
    return awaitCustody(context, link);
  }
  for (const session of sessions) {
    acceptInFlight(context, session);
    grantPendingRequests(context, session);
  }
}

export function onCustodyDeadline(context: Context, link: Link): void {
  if (link.up) return;
  if (link.shared) failPendingConnects(context, link.shared, "the broker is away");
  const all = link.shared ? [...sessionsOf(context, link.shared)] : link.session ? [link.session] : [];
  answerWithoutBroker(
    context,
    link,
    all.filter(({ clientId }) => isStoreAndForward(context, clientId)),
  );
}

/** The connection is up again: the gateway stops answering requests in place of the broker. */
export function forgetCustody(context: Context, link: Link): void {
  if (link.custody) context.deadlines.clear(link.custody);
}
