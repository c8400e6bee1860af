/**
 * Decides where the records of a single gateway, or of a pair, belong in a fleet. Almost all of them belong to a
 * client, and go to the shard of this client with their numbers. Messages and dead letters are numbered within one
 * store, and each store continues above its highest number. Records of a shared connection are not used: in a fleet
 * each shard has a shared connection of its own with another MQTT client id, so the MQTT session of these records is
 * not used any more.
 */
import type { Change, SessionRecord } from "../core/record.ts";
import type { PeerId } from "../core/types.ts";
import { shardOf } from "./shard.ts";

/**
 * `client`: the record goes to the shard of its client id. `nowhere`: the record is not used, and `why` gives the
 * reason.
 */
export interface Goes {
  readonly to: "client" | "nowhere";
  readonly why: string;
}

/** Each kind of record that is stored under a client id. */
export const ofClients = {
  session: { to: "client", why: "the session itself" },
  topic: { to: "client", why: "its topic ids: the device knows them" },
  queued: { to: "client", why: "messages that wait for it" },
  uplink: { to: "client", why: "its QoS 2 exchanges with the broker, by packet id of the client's own MQTT session" },
  received: { to: "client", why: "what the broker has not released in the client's own MQTT session" },
  backlog: { to: "client", why: "its publications that wait for the broker" },
  taken: { to: "client", why: "what it was answered PUBREC for: it is not to be published twice" },
  known: { to: "client", why: "the broker has accepted it: it may connect while the broker is away" },
  letter: { to: "client", why: "what could not be delivered to it, or for it" },
  suspect: { to: "client", why: "packets of this client that the broker may close a connection for" },
  kind: { to: "client", why: "kinds of publications of this client that the broker does not take" },
  secure: { to: "nowhere", why: "in no backup, because numbers of records would be used twice" },
} as const satisfies Record<Change["of"], Goes>;

/** The kinds of records of a shared connection itself, under a name that begins with U+0000. */
export const ofSharedConnections = {
  session: { to: "nowhere", why: "a shard with it would take up an MQTT session that was never there" },
  received: { to: "nowhere", why: "packet ids of an MQTT session that is used no more" },
  suspect: { to: "nowhere", why: "what was learnt in that MQTT session; each shard learns it again" },
  kind: { to: "nowhere", why: "what was learnt in that MQTT session; each shard learns it again" },
} as const satisfies Partial<Record<Change["of"], Goes>>;

/**
 * Used as `SessionRecord.home` of a client that used a shared connection at another gateway. No connection has this
 * name, so the core treats the client as one that has moved: it subscribes again, and publishes again what was open
 * there, except what the broker had answered with PUBREC.
 */
export const elsewhere = "\0elsewhere";

export type Placed = { readonly shard: number; readonly change: Change } | { readonly leftOut: Goes };

/** @param shards the number of shards of the fleet */
export function placeOf(change: Change, shards: number): Placed {
  const goes = goesTo(change);
  if (goes.to === "nowhere") return { leftOut: goes };
  return { shard: shardOf(change.clientId, shards), change: isSession(change) ? moved(change) : change };
}

/**
 * In the record of a shared connection: the name of the connection, as in `SessionRecord.home`. Undefined: it is the
 * record of a client.
 */
export function sharedNameOf({ clientId }: Pick<Change, "clientId">): string | undefined {
  return clientId.startsWith(sharedMark) ? clientId.slice(sharedMark.length) : undefined;
}

/**
 * The address from which the device can continue without CONNECT. Undefined: it must connect, or send its client id.
 */
export function addressIn({ peer, state }: SessionRecord): PeerId | undefined {
  return state === "active" || state === "asleep" ? peer : undefined;
}

const sharedMark = "\0";

function goesTo(change: Change): Goes {
  const ofShared: Partial<Record<Change["of"], Goes>> = ofSharedConnections;
  return (sharedNameOf(change) !== undefined && ofShared[change.of]) || ofClients[change.of];
}

type SessionChange = Extract<Change, { of: "session" }>;

function isSession(change: Change): change is SessionChange {
  return change.of === "session";
}

function moved(change: SessionChange): SessionChange {
  const { record } = change;
  if (!record) return change;
  const { home, movingTo } = record;
  return {
    ...change,
    record: {
      ...record,
      ...(isShared(home) && { home: elsewhere }),
      ...(isShared(movingTo) && { movingTo: elsewhere }),
    },
  };
}

/** Whether this is the place of a shared connection. It contains a slash, which the name of an upstream never does. */
function isShared(home: string | undefined): boolean {
  return home?.includes("/") === true;
}
