/**
 * Recognizes the first message of a device of MQTT-SN 2.0, according to the draft. This gateway does not speak 2.0. It
 * can only write to its log why the device gets no answer. In 1.2 the octet 0x01 is SEARCHGW, which has three octets.
 * [MQTT-SN 2.0 CSD01, CONNECT]
 */

/**
 * Length, 0x01, flags (bit 7 reserved, bit 1 Will), packet id, with a will its flags, protocol version 2, and at least keep
 * alive and largest packet. Never true of a message of 1.2.
 */
export function isConnectOfVersion2(bytes: Uint8Array): boolean {
  const header = bytes[0] === 1 ? 4 : 2;
  const length = header === 4 ? ((bytes[1] ?? 0) << 8) | (bytes[2] ?? 0) : bytes[0];
  if (length !== bytes.length || length < header + 8 || bytes[header - 1] !== 0x01) return false;
  const flags = bytes[header] ?? 0;
  const version = bytes[header + ((flags & 0x02) === 0 ? 3 : 4)];
  return (flags & 0x80) === 0 && version === 2;
}
