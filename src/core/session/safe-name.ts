/**
 * Refuses names for which a broker would close the connection, with a final answer: after "congestion" a device would
 * try for ever.
 */
import { isSafeToShare, isTakenByBrokers } from "../../wire/topic.ts";

/** `isShared`: over a connection that clients share. */
export function mayGoToBroker(text: string, isShared: boolean): boolean {
  return isShared ? isSafeToShare(text) : isTakenByBrokers(text);
}
