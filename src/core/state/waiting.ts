/** The packets that wait to be sent, in the form that the search for suspects needs: see suspects.ts. */
import type { Searched, Suspicion } from "./suspicion.ts";

/** Packets that wait to be sent, for the search. */
export interface Waiting<Packet> {
  /** The number of packets outside. */
  readonly outside: number;
  /** The first of these packets that fit together into the broker's window now. */
  fit(packets: readonly Packet[]): readonly Packet[];
  /** Whether a client waits whose next packet is no suspect. */
  readonly hasOthers: boolean;
  /** The lines whose next packet is a suspect, each with all its packets in order. */
  held(): Iterable<readonly Packet[]>;
  /** All lines, each with all its packets in order. */
  lines(): Iterable<readonly Packet[]>;
  /** For each line, the packets that no publication waits before. */
  heads(): Iterable<Packet>;
  /** The packet of the n-th turn, if clients take turns, each with its first few packets. */
  inTurn(turn: number, each: number): Packet | undefined;
}

/** Whether the packet fits into the broker's window now. */
export function fits<Packet extends Searched<Packet>>(waiting: Waiting<Packet>, packet: Packet): boolean {
  return waiting.fit([packet]).length > 0;
}

/**
 * Suspects that may be tested without overtaking packets of their own line: never tried ones (`fresh`), and tried ones
 * (`struck`). Packets that do not fit into the broker's window are left out.
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
