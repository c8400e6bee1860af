/**
 * Makes and parses peer ids. A peer that a transport hears directly is `<transport>/<address>`. A node behind a
 * forwarder is `<forwarder>#<Wireless Node Id in hex>`. [MQTT-SN 1.2 §5.5]
 */
import type { PeerId } from "./types.ts";

const mark = "#";

/** The core's name for a node, in the two parts that a message to it needs. */
export interface ForwardedNode {
  readonly forwarder: PeerId;
  /** Wireless Node Id in hex, two digits an octet. */
  readonly nodeId: string;
}

/** The node of this Wireless Node Id behind this forwarder. */
export function peerBehind(forwarder: PeerId, nodeId: Uint8Array): PeerId {
  let hex = "";
  for (const octet of nodeId) hex += octet.toString(16).padStart(2, "0");
  return `${forwarder}${mark}${hex}`;
}

/** The two parts of a peer behind a forwarder; undefined: the transport reaches the peer directly. */
export function forwardedNodeOf(peer: PeerId): ForwardedNode | undefined {
  const at = peer.indexOf(mark);
  if (at < 0) return undefined;
  return { forwarder: peer.slice(0, at) as PeerId, nodeId: peer.slice(at + mark.length) };
}

/** The address to which the transport sends: the peer itself, or its forwarder. */
export function neighbourOf(peer: PeerId): PeerId {
  return forwardedNodeOf(peer)?.forwarder ?? peer;
}

/** The name of the transport that reaches this peer. */
export function transportNameOf(peer: PeerId): string {
  return peer.slice(0, peer.indexOf("/"));
}
