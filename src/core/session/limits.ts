/**
 * Limits of one device. Requests beyond them are answered with congestion, as the standard says for a gateway that is
 * full. A device that ignores this gets no answer for a while. Both cost less than a service, so a faulty device does
 * not slow down the others.
 */
import type { Context } from "../context.ts";
import { Allowance } from "../state/allowance.ts";
import type { Session } from "../state/session.ts";

/** Of clients whose session ended, so that a new session does not begin with full buckets. The oldest ones are forgotten. */
const rememberedMax = 10_000;

/** Longest pause before it is looked again whether a message may go down. */
const lookAgainMs = 60_000;

/** Undefined: there is no limit. Nearly always one comparison. */
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

/** May the client ask for this? No: it is counted, and the caller answers with congestion. */
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

/** Is it not listened to now? What it says is counted, and no more: a report for each would be what it costs. */
export function isQuarantined(context: Context, clientId: string, session: Session | undefined): boolean {
  const allowance = session ? allowanceOf(context, session) : context.allowances.get(clientId);
  if (!allowance || allowance.quarantinedUntil <= context.now) return false;
  context.counters.dropped.quarantined++;
  return true;
}

/** How long a message of so many octets waits before it may go to the client, in ms; 0: it goes. */
export function waitDown(context: Context, session: Session, octets: number): number {
  const waitMs = allowanceOf(context, session)?.takeDown(octets, context.now) ?? 0;
  return Math.min(waitMs, lookAgainMs);
}

/** Its session ends. */
export function keepAllowance({ allowances }: Context, { clientId, allowance }: Session): void {
  if (!allowance) return;
  allowances.set(clientId, allowance);
  const oldest = allowances.size > rememberedMax ? allowances.keys().next() : undefined;
  if (oldest && !oldest.done) allowances.delete(oldest.value);
}
