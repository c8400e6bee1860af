/** Octets with a Length at the head that is true, as stream transports need it. [MQTT-SN 1.2 §5.2.1] */
export function messageOf(length: number, fill = 0): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + length + fill) & 0xff);
  if (length <= 255) bytes[0] = length;
  else bytes.set([1, length >> 8, length & 0xff]);
  if (length <= 255 && bytes[1] === 0xfe) bytes[1] = 0; // an encapsulation has a second Length
  return bytes;
}
