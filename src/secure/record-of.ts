/**
 * Encodes a context for the store. The first octet is the version. An invalid record is ignored, and its device makes a
 * new handshake.
 */
import type { ContextState } from "./context.ts";
import { ivOctets } from "./key-schedule.ts";
import { joined, none, number, octetsOf, Reader, textOf, vector } from "./octets.ts";
import { certificateSuites, type Suite, suites } from "./suites.ts";

const version = 1;
export const keyMarkOctets = 8;

export function recordOf(state: ContextState): Uint8Array {
  const { suite, cid, peerCid, keys, lastFlight } = state;
  const has = (cid ? 1 : 0) | (peerCid ? 2 : 0) | (lastFlight ? 4 : 0);
  return joined(
    Uint8Array.of(version, has),
    number(suite.id, 2),
    vector(octetsOf(state.identity), 2),
    vector(octetsOf(state.address), 1),
    vector(cid ?? none, 1),
    vector(peerCid ?? none, 1),
    keys.clientKey,
    keys.serverKey,
    keys.clientIv,
    keys.serverIv,
    state.keyMark,
    number(state.ceiling, 6),
    number(state.readTop + 1, 6),
    vector(lastFlight?.finished ?? none, 2),
    number(lastFlight?.plainNext ?? 0, 6),
  );
}

/** Undefined: the record was not written by this version, or is damaged. */
export function stateOf(record: Uint8Array): ContextState | undefined {
  const reader = new Reader(record);
  if (reader.number(1) !== version) return undefined;
  const has = reader.number(1);
  const suite = suiteOf(reader.number(2));
  const identity = textOf(reader.vector(2));
  const address = textOf(reader.vector(1));
  const cid = reader.vector(1).slice();
  const peerCid = reader.vector(1).slice();
  if (!suite || !identity || address === undefined) return undefined;
  const keys = {
    clientKey: reader.take(suite.keyOctets).slice(),
    serverKey: reader.take(suite.keyOctets).slice(),
    clientIv: reader.take(ivOctets).slice(),
    serverIv: reader.take(ivOctets).slice(),
  };
  const keyMark = reader.take(keyMarkOctets).slice();
  const ceiling = reader.number(6);
  const readTop = reader.number(6) - 1;
  const finished = reader.vector(2).slice();
  const plainNext = reader.number(6);
  if (!reader.ok || reader.left > 0) return undefined;
  return {
    identity,
    suite,
    cid: has & 1 ? cid : undefined,
    peerCid: has & 2 ? peerCid : undefined,
    keys,
    keyMark,
    address,
    ceiling,
    readTop,
    lastFlight: has & 4 ? { finished, plainNext } : undefined,
  };
}

export function suiteOf(id: number): Suite | undefined {
  return [...Object.values(suites), ...Object.values(certificateSuites)].find((suite) => suite.id === id);
}
