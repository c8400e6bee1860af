/** Makes and parses link ids: `<owner>~<number>`. Every connection gets its own number. */
import type { LinkId } from "./types.ts";

const mark = "~";

/** `whose`: the client id, or the MQTT client id of a shared connection or of the gateway's own connection. */
export function linkIdOf(whose: string, number: number): LinkId {
  return `${whose}${mark}${number}`;
}

/**
 * The owner of the connection: the same for all connections of one client. It ends with the mark, so it differs from
 * every client id.
 */
export function ownerOfLink(linkId: LinkId): string {
  return linkId.slice(0, linkId.lastIndexOf(mark) + mark.length);
}
