/** UUIDs in one form: 32 hexadecimal digits, or 4 if the rest is the Bluetooth base UUID. */
const base = "00001000800000805f9b34fb";

export function normalUuid(uuid: string): string {
  const digits = uuid.toLowerCase().replaceAll("-", "");
  if (digits.length <= 8) {
    const long = digits.padStart(8, "0");
    return long.startsWith("0000") ? long.slice(4) : long + base;
  }
  if (digits.startsWith("0000") && digits.endsWith(base)) return digits.slice(4, 8);
  return digits;
}
