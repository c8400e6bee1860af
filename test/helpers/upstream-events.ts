import type { UpstreamEvents } from "../../src/upstream/link.ts";

const ignored = () => {};

/** The events of an upstream that a test needs; all others are ignored. */
export function upstreamEvents(events: Partial<UpstreamEvents>): UpstreamEvents {
  return {
    up: ignored,
    refused: ignored,
    down: ignored,
    pong: ignored,
    congested: ignored,
    delivered: ignored,
    released: ignored,
    acked: ignored,
    ...events,
  };
}
