/**
 * Checks that a parked session comes back as it was. The session that is parked is compared with the one that would be
 * made from its octets, property by property. Objects with a state of their own are compared by what they show.
 */
import type { Instant } from "../types.ts";
import type { Session } from "./session.ts";

/**
 * Properties that differ by their nature (positions in tables, deadlines) or are computed again, and `lastConnect`,
 * which has no meaning for a client that is not active.
 */
const notCompared: ReadonlySet<string> = new Set([
  ...["row", "isParked", "parking", "idlePlace", "idleSince", "idleNumber", "touched"],
  ...["silence", "retry", "expiry", "limitsBy", "rightsAt", "lastConnect"],
  ...["outbox", "registry", "account", "recentPublishes"],
]);

/** Properties that refer to the same object before and after. */
const compared: ReadonlySet<string> = new Set([
  "dialect",
  "upstream",
  "shared",
  "broker",
  "predefined",
  "rights",
  "rightsBy",
]);

/** The first property that differs, with both values; undefined: the sessions are equal. `since`: when repetitions still counted. */
export function differenceOf(one: Session, other: Session, since: Instant): string | undefined {
  const before: Record<string, unknown> = { ...one, ...inside(one, since) };
  const after: Record<string, unknown> = { ...other, ...inside(other, since) };
  // If the client has an address, its rights for this address are computed again.
  const hasRights = one.peer === undefined && one.rightsBy !== undefined;
  for (const name of Object.keys({ ...before, ...after })) {
    if (notCompared.has(name) || (!hasRights && (name === "rights" || name === "rightsBy"))) continue;
    const [was, is] = [before[name], after[name]];
    if (compared.has(name) ? was === is : shown(was) === shown(is)) continue;
    return compared.has(name) ? `another "${name}"` : `"${name}" ${shown(is)} in place of ${shown(was)}`;
  }
  return undefined;
}

function inside({ outbox, registry, account, recentPublishes, allowance, silence }: Session, since: Instant): object {
  const { backlog, ...amounts } = account;
  return {
    "outbox.": { ...outbox, lastMsgId: outbox.lastMsgId, length: outbox.length, justSent: undefined },
    "registry.": { topics: [...registry.topics()], next: registry.next, octets: registry.octets },
    "account.": { amounts, next: backlog.next, readUpTo: backlog.readUpTo, count: backlog.count },
    "recentPublishes.": recentPublishes.since(since),
    allowance: allowance?.levels,
    "silence.": silence.at,
  };
}

/** Plain data as text. */
function shown(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner === "number") return String(inner); // JSON has no Infinity
    const isList = typeof inner === "object" && inner !== null && Symbol.iterator in inner && !Array.isArray(inner);
    return isList ? Array.from(inner as Iterable<unknown>) : inner;
  });
}
