/** Compares octets, and makes a hash of them. */

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((octet, i) => octet === b[i]);
}

/** A hash that distinguishes a repetition from the next reading: length and the first octets, FNV-1a. */
export function hashOf(data: Uint8Array): number {
  let hash = 0x811c9dc5 ^ data.byteLength;
  const end = Math.min(data.byteLength, 64);
  for (let i = 0; i < end; i++) hash = Math.imul(hash ^ (data[i] ?? 0), 0x01000193);
  return hash;
}

/** The number of octets that a well-formed text has in UTF-8. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a surrogate pair counts as two of the four octets.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}
