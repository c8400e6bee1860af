/**
 * QoS 2 deliveries as they are stored, until the broker's PUBREL: after a crash a delivery that comes again is known by
 * its packet id, whether a device has it already or it waits here.
 */
import type { Context } from "../context.ts";
import type { Received } from "../routing/broker-session.ts";
import type { CommitToken } from "../types.ts";

/** `seq`: the queued message that it is, while it is not acknowledged; 0 afterwards. */
export function storeReceived(
  context: Context,
  clientId: string,
  received: Received,
  seq: number,
): CommitToken | undefined {
  if (!context.journal.enabled || received.publication.qos !== 2) return undefined;
  received.stored = true;
  return context.journal.put({ of: "received", clientId, id: received.packetId, record: { v: 1, seq } });
}

/** Released by the broker, or forgotten by it. The id may mean another message from now on: that must be on disk first. */
export function forgetReceived(context: Context, clientId: string, received: Received): void {
  if (!received.stored) return;
  received.stored = false;
  context.journal.put({ of: "received", clientId, id: received.packetId, record: undefined });
}
