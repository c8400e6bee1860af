/**
 * Can the time of day be trusted? A Raspberry Pi has no clock of its own: until NTP answers it begins where it stopped,
 * or in 1970. A time before this program was written is certainly wrong; a later one is taken to be right.
 */

/** Nothing of this program is older: 2026-11-01. */
export const oldestPlausible = Date.UTC(2026, 10, 1);

/** Milliseconds since 1970; undefined while that cannot be trusted. */
export function trustedNow(now: number = Date.now()): number | undefined {
  return now >= oldestPlausible ? now : undefined;
}
