/** Makes and parses link ids: `<owner>~<number>`. Every connection gets its own number. */
import type { LinkId } from "./types.ts";

const mark = "~";

/** `whose`: the client id, or the MQTT client id of a connection that is shared or the gateway's own. */
export function linkIdOf(whose: string, number: number): LinkId {
  return `${whose}${mark}${number}`;
}

/** Whose connection it is: the same for all of one client, one after the other. With the mark, so that no client id is it. */
export function ownerOfLink(linkId: LinkId): string {
  return linkId.slice(0, linkId.lastIndexOf(mark) + mark.length);
}
