/** Names that would end a connection to the broker are refused here, for good: "congestion" would make a device ask for ever. */
import { isSafeToShare, isTakenByBrokers } from "../../wire/topic.ts";

/** `isShared`: over a connection that clients share. */
export function mayGoToBroker(text: string, isShared: boolean): boolean {
  return isShared ? isSafeToShare(text) : isTakenByBrokers(text);
}
