/** One datagram of a capture in one line. */
import type { ReadDatagram } from "../capture/capture-file.ts";
import { oneLine } from "./one-line.ts";

export function datagramLine({ atUs, direction, device, comment, value, payload, wholeBytes }: ReadDatagram): string {
  const time = new Date(Math.floor(atUs / 1_000)).toISOString().slice(11, 23);
  const arrow = direction === "in" ? ">" : "<";
  return `${time} ${arrow} ${comment === "" ? device : comment}: ${oneLine(payload, wholeBytes)}${value === undefined ? "" : ` = ${value}`}`;
}
