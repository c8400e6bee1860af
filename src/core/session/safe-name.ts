/**
 * Refuses names for which a broker would close the connection. The refusal is final, because after "congestion" a
 * device would try again for ever.
 */
import { isSafeToShare, isTakenByBrokers } from "../../wire/topic.ts";

/** Whether a name may be sent to a broker. `isShared`: over a connection that several clients share. */
export function mayGoToBroker(text: string, isShared: boolean): boolean {
  return isShared ? isSafeToShare(text) : isTakenByBrokers(text);
}
