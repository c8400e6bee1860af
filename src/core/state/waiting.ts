/** The packets that wait to be sent, as far as the search for suspects sees them: see suspects.ts. */
import type { Searched, Suspicion } from "./suspicion.ts";

/** What waits to be sent, as far as the search has to see it. */
export interface Waiting<Packet> {
  /** Packets outside. */
  readonly outside: number;
  /** The first of these that the broker's window takes now, together. */
  fit(packets: readonly Packet[]): readonly Packet[];
  /** A client waits whose next packet is no suspect. */
  readonly hasOthers: boolean;
  /** The lines whose next packet is a suspect, each from its first on. */
  held(): Iterable<readonly Packet[]>;
  /** All lines, each from its first on. */
  lines(): Iterable<readonly Packet[]>;
  /** Of each line, those that no publication waits before. */
  heads(): Iterable<Packet>;
  /** The n-th when clients take turns, each with its first few. */
  inTurn(turn: number, each: number): Packet | undefined;
}

/** The broker's window has a place for it now. */
export function fits<Packet extends Searched<Packet>>(waiting: Waiting<Packet>, packet: Packet): boolean {
  return waiting.fit([packet]).length > 0;
}

/**
 * Suspects that may be tested without overtaking packets of their own line: never tried ones, and tried ones. Without those for which the
 * broker's window has no place.
 */
export function candidates<Packet extends Searched<Packet>>(waiting: Waiting<Packet>) {
  const fresh: Suspicion<Packet>[] = [];
  const struck: Suspicion<Packet>[] = [];
  const seen = new Set<Suspicion<Packet>>();
  for (const line of waiting.held()) {
    for (const [place, { suspicion }] of line.entries()) {
      const [next] = suspicion?.packets ?? [];
      if (!suspicion?.isSuspect || seen.has(suspicion) || !next || !fits(waiting, next)) break;
      seen.add(suspicion);
      if (suspicion.deaths === 0) fresh.push(suspicion);
      else {
        if (place === 0) struck.push(suspicion);
        break;
      }
    }
  }
  const byOrder = (a: Suspicion<Packet>, b: Suspicion<Packet>) => a.order - b.order;
  return { fresh: fresh.sort(byOrder), struck: struck.sort(byOrder) };
}
