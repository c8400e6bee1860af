/** The name the core has for a device: its identity, wherever it is. */
import type { PeerId } from "../../core/types.ts";

/** What has a meaning in peer ids is written in percents. */
export function peerOf(transport: string, identity: string): PeerId {
  return `${transport}/${encodeURIComponent(identity)}`;
}

/** undefined: no peer of ours. */
export function identityIn(peer: PeerId): string | undefined {
  try {
    return decodeURIComponent(peer.slice(peer.indexOf("/") + 1));
  } catch {
    return undefined;
  }
}
