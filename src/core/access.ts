/** Who gets in. The rules live in the configuration; the core only asks. */
import type { PeerId, PeerIdentity } from "./types.ts";

export type Admission =
  | {
      readonly admitted: true /** A rule names it, or it has proved who it is: not just anybody. */;
      readonly byName?: boolean;
    }
  | { readonly admitted: false /** The line of configuration that would admit it. */; readonly hint: string };

export interface AccessPolicy {
  /** May this client id CONNECT from this peer, or go on? Asked once for each CONNECT, not for each message. */
  client(clientId: string, peer: PeerId, identity: PeerIdentity): Admission;
  /** Is this peer in a network of the own site, where nobody forges addresses to aim at somebody else? */
  isInside(peer: PeerId): boolean;
  /** May this peer publish at QoS -1 without a connection? */
  qosMinusOne(peer: PeerId): Admission;
  /** May this peer encapsulate messages of others? */
  forwarder(peer: PeerId): Admission;
}

export const admitAll: AccessPolicy = {
  client: () => ({ admitted: true }),
  isInside: () => true,
  qosMinusOne: () => ({ admitted: true }),
  forwarder: () => ({ admitted: true }),
};
