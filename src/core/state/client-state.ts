/**
 * The client's states, as the gateway sees them. [MQTT-SN 1.2 §6.14, Fig. 4]
 *
 * Which step follows which is data; what a step does is in the procedures' files. `docs/` draws its diagram from this
 * table. A session that is not here does not exist: an unknown sender has no state. What a session is besides (its client
 * connects, its will is on the way, something is owed for it) is in standing.ts.
 */
import type { ClientState } from "../types.ts";

export type ClientEvent = "connect" | "sleep" | "wake" | "drained" | "unanswered" | "disconnect" | "silence";

export const transitions = {
  disconnected: { connect: "active" },
  active: { connect: "active", sleep: "asleep", disconnect: "disconnected", silence: "lost", unanswered: "lost" },
  asleep: { connect: "active", sleep: "asleep", wake: "awake", disconnect: "disconnected", silence: "lost" },
  awake: {
    connect: "active",
    sleep: "asleep",
    wake: "awake",
    drained: "asleep",
    unanswered: "asleep",
    disconnect: "disconnected",
    silence: "lost",
  },
  lost: { connect: "active" },
} as const satisfies Record<ClientState, Partial<Record<ClientEvent, ClientState>>>;

/** The state after `event`, or undefined where it has no place. */
export function nextState(state: ClientState, event: ClientEvent): ClientState | undefined {
  const row: Partial<Record<ClientEvent, ClientState>> = transitions[state];
  return row[event];
}
