/**
 * The states of a client, as the gateway sees them. [MQTT-SN 1.2 §6.14, Fig. 4]
 *
 * The transitions are data; what a transition does is in the files of the procedures. The diagram in ARCHITECTURE.md
 * has the transitions of this table. An unknown sender has no session and no state. Further properties of a session
 * (its client is connecting, its will is being published, publications wait for the broker) are in standing.ts.
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

/** The state after `event`; undefined: the event is not possible in this state. */
export function nextState(state: ClientState, event: ClientEvent): ClientState | undefined {
  const row: Partial<Record<ClientEvent, ClientState>> = transitions[state];
  return row[event];
}
