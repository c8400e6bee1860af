/**
 * Stores what the gateway has learnt about packets for which a broker closes the connection: suspects with the ends of
 * connections that are held against them, and kinds that were taken out. So after a restart the search continues, and a
 * device cannot end the shared connection again in each run of the gateway.
 */
import type { Context } from "../context.ts";
import type { KindRecord, SuspectRecord } from "../record.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { hasShorterAnswered, isForgotten } from "../state/learnt-kinds.ts";
import { searchFigures } from "../state/search-figures.ts";
import type { Session } from "../state/session.ts";
import { hashOfText } from "../state/shared-connection.ts";
import type { Instant } from "../types.ts";

/** Writes what changed since the last call. */
export function storeExperience(context: Context, { search, kinds, key }: BrokerSession<Session>): void {
  for (const suspicion of search.takeChanged()) {
    const { deaths, epochs, ordinal, firstDeath, isKind } = suspicion;
    const clientId = suspicion.client || key;
    if (clientId === "") continue; // the gateway's own connection has no record to lie beside
    const id = idOf(suspicion.key);
    const wall = wallClockOf(context, firstDeath);
    const record: SuspectRecord = { key: suspicion.key, deaths, epochs, ordinal, firstDeath: wall, isKind };
    context.journal.remember({ of: "suspect", clientId, id, record: deaths > 0 ? record : undefined });
  }
  for (const kind of kinds.takeChanged()) {
    const { taken, until, spanMs, shortest, longestAnswered, lastTaken, contents } = kind;
    const clientId = kind.client || key;
    if (clientId === "") continue;
    const record: KindRecord = {
      key: kind.key,
      taken,
      until: until === 0 ? 0 : wallClockOf(context, until),
      spanMs,
      shortest,
      hasShorterAnswered: hasShorterAnswered(kind),
      ...(hasShorterAnswered(kind) && { longestAnswered }),
      lastTaken: wallClockOf(context, lastTaken),
      contents: [...contents],
    };
    const id = idOf(kind.key);
    context.journal.remember({ of: "kind", clientId, id, record: isForgotten(kind) ? undefined : record });
  }
}

/** The session of the client ends, and its records are deleted. */
export function forgetExperience(
  context: Context,
  { search, kinds, retired, key }: BrokerSession<Session>,
  clientId: string,
): void {
  for (const { client, deaths, key: id } of search.suspects)
    if (client === clientId && deaths > 0)
      context.journal.remove({ of: "suspect", clientId, id: idOf(id), record: undefined });
  for (const kind of kinds.all())
    if (kind.client === clientId)
      context.journal.remove({ of: "kind", clientId, id: idOf(kind.key), record: undefined });
  if (key === clientId) for (const packetId of retired.keys()) forgetRetired(context, clientId, packetId);
}

/**
 * This publication is given up. At QoS 2 the broker may have it, and would ignore the next message with the same packet
 * id. So this packet id is not used again in this MQTT session, neither in this run nor in the next one.
 */
export function retire(
  context: Context,
  { retired, key }: BrokerSession<Session>,
  { publication, packetId, stage, sentBefore }: PublishExchange<Session>,
): void {
  if (publication.qos !== 2 || (stage === "waiting" && !sentBefore)) return;
  retired.set(packetId, true);
  storeRetired(context, key, packetId);
}

/** Kept under a number beyond all hashes, until the session ends. */
function storeRetired(context: Context, clientId: string, packetId: number): void {
  const record: SuspectRecord = { key: "", deaths: 0, epochs: 0, ordinal: 0, firstDeath: 0, retired: packetId };
  context.journal.put({ of: "suspect", clientId, id: retiredId(packetId), record });
}

export function forgetRetired(context: Context, clientId: string, packetId: number): void {
  context.journal.remove({ of: "suspect", clientId, id: retiredId(packetId), record: undefined });
}

/** The number of a record, from 1 on. */
function idOf(key: string): number {
  return hashOfText(key) + 1;
}

function retiredId(packetId: number): number {
  return 2 ** 32 + 1 + packetId;
}

/** Restores what an earlier run had learnt. */
export function restoreExperience(
  context: Context,
  broker: BrokerSession<Session>,
  clientId: string,
  stored: {
    readonly suspects?: readonly (readonly [id: number, record: SuspectRecord])[];
    readonly kinds?: readonly (readonly [id: number, record: KindRecord])[];
  },
): void {
  for (const [, { key, deaths, epochs, ordinal, firstDeath, isKind, retired }] of stored.suspects ?? []) {
    if (retired !== undefined) broker.retired.set(retired, true);
    else
      broker.search.suspect({
        key,
        client: clientId,
        deaths,
        epochs,
        ordinal,
        firstDeath: instantOf(context, firstDeath) ?? context.now,
        isKind: isKind === true,
      });
  }
  for (const [, record] of stored.kinds ?? []) {
    const { key, taken, until, spanMs, shortest, lastTaken: last = 0, contents = [] } = record;
    const isLearnt = until !== 0 || spanMs > 0;
    const end = isLearnt ? (instantOf(context, until) ?? context.now + searchFigures.kindFirstMs) : 0;
    const lastTaken = instantOf(context, last) ?? context.now;
    const longestAnswered = record.longestAnswered ?? (record.hasShorterAnswered ? shortest - 1 : -1);
    const rest = { taken, spanMs, shortest, longestAnswered, lastTaken, contents: [...contents] };
    broker.kinds.restore({ key, client: clientId, until: end, ...rest });
  }
}

/** The time of the wall clock; 0 while the wall clock cannot be trusted. */
function wallClockOf(context: Context, at: Instant): number {
  const wall = context.environment.wallClock();
  return wall === undefined ? 0 : Math.round(wall + at - context.now);
}

function instantOf(context: Context, at: number): Instant | undefined {
  const wall = context.environment.wallClock();
  return wall === undefined || at === 0 ? undefined : context.now + at - wall;
}
