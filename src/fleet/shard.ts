/**
 * The shard of a client. A shard is a part of all clients: it has one owner, one lease, one store prefix and one
 * connection per upstream, and moves as a whole. Every gateway of a fleet, in every version, must compute the same
 * shard for a client id, because the stored data are found by it.
 */

/** The number of shards of a fleet: the least, the most, and the default. */
export const shardsMin = 16;
export const shardsMax = 256;
export const shardsDefault = 64;

const textEncoder = new TextEncoder();

/**
 * FNV-1a over the UTF-8 octets of the client id, and then the final mixing of MurmurHash3. FNV alone spreads the lowest bits badly for
 * ids that differ in their last digits only, as device ids do.
 *
 * @returns from 0 to `shards` - 1.
 */
export function shardOf(clientId: string, shards: number): number {
  return mixed(fnv1a(textEncoder.encode(clientId))) % shards;
}

/**
 * The preference of a member for a shard, from 0 to 2^32 - 1. The living member with the highest value owns the shard
 * (rendezvous hashing). A member that joins or leaves moves only the shards that it gets or had.
 */
export function weightOf(member: string, shard: number): number {
  return mixed(fnv1a(textEncoder.encode(`${shard} ${member}`)));
}

function fnv1a(octets: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const octet of octets) hash = Math.imul(hash ^ octet, 0x01000193);
  return hash >>> 0;
}

function mixed(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
