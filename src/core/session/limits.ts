/**
 * Limits of one device. Requests beyond them are answered with congestion, as the standard says for a gateway that is
 * full. A device that ignores this gets no answer for a while. Both cost less than a service, so a faulty device does
 * not slow down the others.
 */
import type { Context } from "../context.ts";
import { Allowance } from "../state/allowance.ts";
import type { Session } from "../state/session.ts";

/**
 * Limit of remembered allowances of clients whose session ended. They are kept so that a new session does not begin
 * with full buckets. The oldest ones are forgotten.
 */
const rememberedMax = 10_000;

/** Longest pause before the gateway checks again whether it may send a message to the client. */
const lookAgainMs = 60_000;

/** The allowance of a client. Undefined: the client has no limit. Nearly always this costs one comparison. */
export function allowanceOf(context: Context, session: Session): Allowance | undefined {
  if (session.limitsBy === context.access) return session.allowance;
  session.limitsBy = context.access;
  const { clientId } = session;
  const limits = context.access.limitsOf(clientId);
  session.allowance ??= context.allowances.get(clientId);
  context.allowances.delete(clientId);
  if (!limits) session.allowance = undefined;
  else if (session.allowance) session.allowance.limits = limits;
  else session.allowance = new Allowance(limits, context.now);
  return session.allowance;
}

/**
 * Whether the client may make a request now. If not, the request is counted, and the caller answers with congestion.
 */
export function mayAsk(context: Context, session: Session, what: string): boolean {
  const allowance = allowanceOf(context, session);
  if (!allowance || allowance.takeUp(context.octetsHeard, context.now)) return true;
  const { clientId, peer } = session;
  context.drop("over-limit", { clientId, peer, detail: what });
  const { refusalsMax, quarantineSeconds } = allowance.limits;
  if (++allowance.refused < refusalsMax || quarantineSeconds === 0) return false;
  allowance.refused = 0;
  allowance.quarantinedUntil = context.now + quarantineSeconds * 1_000;
  context.out.report({ event: "client_quarantined", clientId, peer, seconds: quarantineSeconds });
  return false;
}

/**
 * Whether the client is in quarantine. Its messages are only counted, because a report of each one would be the cost
 * that the quarantine avoids.
 */
export function isQuarantined(context: Context, clientId: string, session: Session | undefined): boolean {
  const allowance = session ? allowanceOf(context, session) : context.allowances.get(clientId);
  if (!allowance || allowance.quarantinedUntil <= context.now) return false;
  context.counters.dropped.quarantined++;
  return true;
}

/**
 * How long a message of so many octets has to wait before it may be sent to the client, in ms; 0: it may be sent now.
 */
export function waitDown(context: Context, session: Session, octets: number): number {
  const waitMs = allowanceOf(context, session)?.takeDown(octets, context.now) ?? 0;
  return Math.min(waitMs, lookAgainMs);
}

/** Remembers the allowance of a client whose session ends. */
export function keepAllowance({ allowances }: Context, { clientId, allowance }: Session): void {
  if (!allowance) return;
  allowances.set(clientId, allowance);
  const oldest = allowances.size > rememberedMax ? allowances.keys().next() : undefined;
  if (oldest && !oldest.done) allowances.delete(oldest.value);
}
