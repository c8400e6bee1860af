/**
 * Checks a packet before it is sent to a broker that closes the connection because of some packets: is the packet known
 * to be one of them, or suspected?
 */
import type { Context } from "../context.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import { contentKey, kindKey, publicationKey } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";
import type { Publication } from "../types.ts";
import { storeExperience } from "./experience-record.ts";

/**
 * `refuse`: the broker is known to close the connection for it. `suspect`: it may be sent, but is tested alone first. Call this once for
 * each publication: one that is admitted as a test of whether the broker still refuses this kind delays the next one.
 */
export function verdictOn(
  context: Context,
  broker: BrokerSession<Session>,
  client: string,
  publication: Publication,
): "refuse" | "suspect" | undefined {
  if (!broker.search.remembers && broker.kinds.size === 0) return undefined;
  const isKind = publication.qos === 0;
  const kind = kindKey(client, publication);
  const key = isKind ? kind : publicationKey(client, publication);
  const octets = publication.payload.byteLength;
  const verdict = broker.kinds.verdict(context.now, { key: kind, content: contentKey(publication), octets });
  if (verdict === "refuse") return "refuse";
  if (verdict === "suspect") broker.search.suspect({ key, client, ofKnownKind: true, isKind });
  storeExperience(context, broker);
  return broker.search.find(key)?.isSuspect === true && !isKind ? "suspect" : undefined;
}
