/**
 * The order of the search in suspects.ts: functions that choose the next packet among those that wait. Each function
 * gets the state of the search as parameters. `died`: packets that have died alone and were not answered since.
 */
import { searchFigures as figures } from "./search-figures.ts";
import type { Searched, Suspicion } from "./suspicion.ts";
import { fits, type Waiting } from "./waiting.ts";

const nobody: readonly never[] = [];

/**
 * Of the packets whose turn comes soon, the one that was outside at the fewest ends. A good packet that died by chance
 * among forbidden ones should not wait for a whole round of them. Packets that the broker's window does not take are
 * skipped.
 */
export function leastStruck<Packet extends Searched<Packet>>(
  waiting: Waiting<Packet>,
  sickTurn: number,
  endsOf: WeakMap<Packet, number>,
): Packet | undefined {
  let least: Packet | undefined;
  let fewest = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < figures.turnsMax; turn++) {
    const packet = waiting.inTurn(sickTurn + turn, figures.walkMax);
    const ends = packet && (endsOf.get(packet) ?? 0);
    if (!packet || ends === undefined || ends >= fewest || !fits(waiting, packet)) continue;
    least = packet;
    fewest = ends;
  }
  return least;
}

/**
 * Returns a packet that has not died yet: one of the first few of each client, or otherwise one from further behind.
 * Without this, many refused packets in a row would look like a faulty broker, and the good packets behind them would
 * never be sent.
 */
export function untried<Packet extends Searched<Packet>>(
  waiting: Waiting<Packet>,
  sickTurn: number,
  died: WeakSet<Packet>,
): Packet | undefined {
  const lines = [...waiting.lines()];
  const inTurn = lines.map((_, i) => lines[(sickTurn + i) % lines.length] ?? nobody);
  const mayBeTried = (packet: Packet) => !died.has(packet) && fits(waiting, packet);
  for (const line of inTurn) {
    const found = line.slice(0, figures.walkMax).find(mayBeTried);
    if (found) return found;
  }
  for (const line of inTurn) {
    const found = line.slice(figures.walkMax, figures.depthMax).findLast(mayBeTried);
    if (found) return found;
  }
  return undefined;
}

/**
 * A packet that died without a witness, behind others that are answered on each connection: for example requests that a
 * client repeats at the beginning of each connection, while it sends nothing else. It is sent first once. A broker that
 * closes after every n packets then answers it. If the broker closes because of this packet, the others are its
 * witnesses from then on.
 */
export function behindOthers<Packet extends Searched<Packet>>(waiting: Waiting<Packet>): Packet | undefined {
  for (const packet of waiting.heads()) {
    const { suspicion } = packet;
    if (suspicion?.isSuspect && diedBehindOthers(suspicion) && fits(waiting, packet)) return packet;
  }
  return undefined;
}

/**
 * No other client has anything to send, and the first packet of a line has died without a witness. One of the packets behind it is tried
 * as the witness, if possible one that is no suspect.
 */
export function walk<Packet extends Searched<Packet>>(
  struck: readonly Suspicion<Packet>[],
  waiting: Waiting<Packet>,
  deathsMin: number,
  died: WeakSet<Packet>,
): Packet | undefined {
  let second: Packet | undefined;
  let third: Packet | undefined;
  for (const line of waiting.held()) {
    const first = line[0]?.suspicion;
    if (!first || !struck.includes(first) || first.deaths < deathsMin) continue;
    let tried = 0;
    for (const [place, packet] of line.slice(0, figures.depthMax).entries()) {
      if (!fits(waiting, packet)) continue;
      if (died.has(packet)) {
        if (place < figures.walkMax && !packet.suspicion?.deaths) third ??= packet;
        continue;
      }
      if (++tried > figures.walkMax) break;
      if (!packet.suspicion?.isSuspect) return packet;
      if (packet.suspicion.deaths === 0) second ??= packet;
    }
  }
  return second ?? third;
}

/** All suspects; those of which no packet has died come first. */
export function untriedFirst<Packet extends Searched<Packet>>(
  suspicions: readonly Suspicion<Packet>[],
  died: WeakSet<Packet>,
): readonly Suspicion<Packet>[] {
  const last = suspicions.filter((suspicion) => hasDied(suspicion, died));
  return last.length === 0 ? suspicions : [...suspicions.filter((one) => !last.includes(one)), ...last];
}

export function hasDied<Packet extends Searched<Packet>>(
  { packets }: Suspicion<Packet>,
  died: WeakSet<Packet>,
): boolean {
  return packets.some((packet) => died.has(packet));
}

/**
 * Each client that has something to send may have a refused packet at its head. This function chooses a packet that is
 * no suspect: of another client each time, and further back each time. It shows whether the broker answers anything,
 * and is the witness for the packets that died.
 */
export function nextScout<Packet extends Searched<Packet>>(
  waiting: Waiting<Packet>,
  nextTurn: () => number,
  sickTurn: number,
  died: WeakSet<Packet>,
): Packet | undefined {
  let second: Packet | undefined;
  let third: Packet | undefined;
  for (let i = 0; i < figures.walkMax; i++) {
    const packet = waiting.inTurn(nextTurn(), figures.walkMax);
    if (packet && !fits(waiting, packet)) continue;
    if (packet && died.has(packet)) {
      if (!packet.suspicion?.deaths) third ??= packet;
      continue;
    }
    if (!packet?.suspicion?.isSuspect) return packet;
    if (packet.suspicion.deaths === 0) second ??= packet;
  }
  return second ?? untried(waiting, sickTurn, died) ?? third;
}

/** A suspect that died without a witness, behind others on its connection. */
export function diedBehindOthers<Packet>({ unwitnessed, ordinal, witnessed }: Suspicion<Packet>): boolean {
  return unwitnessed > 0 && ordinal > 1 && !witnessed;
}
