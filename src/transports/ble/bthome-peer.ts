/**
 * BTHome sensors as peers. They are kept apart from the devices at the same address: only what the gateway itself made of
 * a reading may name its topic, and no device can be heard under such a name.
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

/** Whether this peer of the transport is a BTHome sensor. */
export function isBthomePeer(transport: string, peer: string): boolean {
  return peer.startsWith(`${transport}/${prefix}`);
}
