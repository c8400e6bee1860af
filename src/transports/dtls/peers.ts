/** The core's name for a device: its identity, independent of its address. */
import type { PeerId } from "../../core/types.ts";

/** The identity is percent-encoded, because some characters have a meaning in peer ids. */
export function peerOf(transport: string, identity: string): PeerId {
  return `${transport}/${encodeURIComponent(identity)}`;
}

/** Undefined: the peer id is not one of a DTLS transport. */
export function identityIn(peer: PeerId): string | undefined {
  try {
    return decodeURIComponent(peer.slice(peer.indexOf("/") + 1));
  } catch {
    return undefined;
  }
}
