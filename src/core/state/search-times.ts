/** When a suspect is tried again: waits that grow, in milliseconds. See suspects.ts. */
import type { Instant } from "../types.ts";
import { searchFigures as figures } from "./search-figures.ts";
import type { Suspicion } from "./suspicion.ts";

/** The time until a suspect is tried again without a witness. */
export function blindWait<Packet>({ deaths, ofKnownKind }: Suspicion<Packet>): number {
  const waits = figures.waitsUnwitnessedMs;
  const isLast = deaths >= waits.length;
  return isLast && ofKnownKind ? figures.waitOfKindMs : (waits[Math.min(deaths, waits.length) - 1] ?? 0);
}

export function grown(first: number, times: number, longest: number): number {
  return Math.min(longest, first * 2 ** Math.min(times, 30));
}

export function earliest(times: readonly Instant[], now: Instant): Instant | undefined {
  const later = times.filter((at) => at > now);
  return later.length === 0 ? undefined : Math.min(...later);
}
