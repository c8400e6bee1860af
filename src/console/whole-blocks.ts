/** A capture that was ended anywhere, up to the last block that is whole: a reader would call the rest damaged. */
export function wholeBlocks(octets: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  let at = 0;
  while (at + 8 <= octets.byteLength) {
    const length = view.getUint32(at + 4, true); // the gateway writes little-endian
    if (length < 12 || at + length > octets.byteLength) break;
    at += length;
  }
  return octets.subarray(0, at);
}
