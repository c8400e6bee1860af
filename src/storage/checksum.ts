import { crc32 } from "node:zlib";

/** For this many octets and more, a call of the native function costs less than the loop. */
const nativeFrom = 200;

const table = Int32Array.from({ length: 256 }, (_, octet) => {
  let rest = octet;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

/**
 * CRC-32 (as in zlib) of the octets from `from` on. Most records are short; for a short record, the call of the native
 * function costs more than this loop.
 */
export function checksumOf(bytes: Buffer, from: number): number {
  if (bytes.length - from >= nativeFrom) return crc32(bytes.subarray(from));
  let crc = -1;
  for (let i = from; i < bytes.length; i++) crc = (table[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}
