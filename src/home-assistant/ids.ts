/** Ids that Home Assistant takes: letters, digits, "-" and "_". */

/**
 * Any text as a part of an id. Whatever is no letter or digit becomes "-" and its octets in hexadecimal, so two texts never
 * have the same id, and parts may be joined by "_".
 */
export function idOf(text: string): string {
  return text.replace(/[^A-Za-z0-9]/gu, (character) => `-${Buffer.from(character).toString("hex")}`);
}

/** What all ids of a gateway begin with; a retained message without it is somebody else's. */
export function idPrefixOf(gateway: string): string {
  return `mqttsn_${idOf(gateway)}`;
}
