/** Ids that Home Assistant takes: letters, digits, "-" and "_". */

/**
 * Any text as a part of an id. Each character that is not a letter or digit becomes "-" and its octets in hexadecimal. So two texts never
 * have the same id, and parts may be joined by "_".
 */
export function idOf(text: string): string {
  return text.replace(/[^A-Za-z0-9]/gu, (character) => `-${Buffer.from(character).toString("hex")}`);
}

/** The common beginning of all ids of a gateway. A retained message without it belongs to another program. */
export function idPrefixOf(gateway: string): string {
  return `mqttsn_${idOf(gateway)}`;
}
