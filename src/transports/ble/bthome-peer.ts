/**
 * BTHome sensors as peers. They are kept apart from other devices at the same address: only messages that the gateway itself made from a
 * reading may carry a topic name, and no device can send under such a peer id.
 */
const prefix = "bthome:";

/** Follows the transport's name and a slash in the peer's id. */
export function bthomePeer(address: string): string {
  return `${prefix}${address}`;
}

/** The Bluetooth address, of a BTHome sensor or any device. */
export function addressOfPeer(name: string): string {
  return name.startsWith(prefix) ? name.slice(prefix.length) : name;
}

/** True if this peer of the transport is a BTHome sensor. */
export function isBthomePeer(transport: string, peer: string): boolean {
  return peer.startsWith(`${transport}/${prefix}`);
}
