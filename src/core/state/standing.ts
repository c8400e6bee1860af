/**
 * The flags of a session, which its client's state alone does not show.
 *
 * The table of client-state.ts says in which state the client is. Beside it a session has these flags, each of a
 * procedure of its own:
 *
 * - `pendingConnect`: a CONNECT waits for the broker. It is set by bindPendingConnect. forgetPendingConnect removes it
 *   when the CONNECT is answered, given up or too late. It may be set at any time: while the client sleeps, from
 *   another address, or for a session that was over.
 * - `willPending`: the client is lost, and its will is being published or waits for a connection. Only
 *   deliverWillOrClose sets it. `closeAfterWill` removes it when the broker has the will, when the client comes back
 *   first, or when this takes too long; endByOperator removes it too.
 * - `awaitsForwarding`: the client has disconnected, and some of its accepted publications are not at the broker yet.
 *   `awaitForwarding` sets it. `leave` and `closeAfterWill` remove it when the broker has all of them;
 *   completePendingConnect removes it because the client is there again.
 * - `brokerRefused`: the broker does not accept the client any more. The client gets this answer when it next sends
 *   something. onLinkRefused sets it if no CONNECT waits for that answer. openLink removes it, because it asks the
 *   broker again. It says nothing about the other flags: a session without a client may be refused too. It is not used
 *   over a shared connection, where the broker knows no clients.
 * - `clean`: the session ends when the client disconnects or is lost. It is set by the last CONNECT that was accepted,
 *   by the operator, or by endForRoom.
 *
 * `willPending` and `awaitsForwarding` may be set together: first the accepted publications are sent, then the will.
 * The last of both ends the session, if it is clean. So a clean session without a client is there only while one of
 * these flags is set. After a restart the flags are as before: `willPending` and `clean` are stored, `awaitsForwarding`
 * follows from the account, and no client is connecting.
 *
 * This is true at the end of a turn. Within a turn a procedure may be half done.
 */
import type { ClientState } from "../types.ts";
import type { Session } from "./session.ts";

/** One possible combination of state and flags. */
export interface Standing {
  readonly states: readonly ClientState[];
  readonly pendingConnect: boolean;
  readonly willPending: boolean;
  readonly awaitsForwarding: boolean;
  /** `either`: the client decides. */
  readonly clean: boolean | "either";
  /**
   * Whether the broker may have refused the client. While a CONNECT waits, the refusal is the answer to that CONNECT.
   */
  readonly mayBeRefused: boolean;
}

const withClient = ["active", "asleep", "awake"] as const;
const withoutClient = ["disconnected", "lost"] as const;

const plain = {
  pendingConnect: false,
  willPending: false,
  awaitsForwarding: false,
  clean: "either",
  mayBeRefused: true,
} as const;
const connecting = { ...plain, pendingConnect: true, mayBeRefused: false } as const;

/** All possible combinations. A session with any other combination must not exist. */
export const standings = {
  /** The client is active, asleep or awake. */
  served: { ...plain, states: withClient },
  /**
   * As `served`, and the client connects again: from another address, with another will, or because it has noticed a
   * cut.
   */
  servedAndConnecting: { ...connecting, states: withClient },
  /** The session is kept for a client that may come back. */
  kept: { ...plain, states: withoutClient, clean: false },
  /**
   * The client comes back to a session that was kept; or it is new, and its session is removed if the CONNECT fails.
   */
  keptAndConnecting: { ...connecting, states: withoutClient, clean: false },
  /**
   * A clean session without a client, with all publications at the broker. It was made for this CONNECT, and is removed
   * if the CONNECT fails.
   */
  cleanAndConnecting: { ...connecting, states: ["disconnected"], clean: true },
  /** The client has left; its accepted publications are being sent to the broker. Then a clean session ends. */
  awaitingForwarding: { ...plain, states: withoutClient, awaitsForwarding: true },
  /** The client comes back while this continues. */
  awaitingForwardingAndConnecting: { ...connecting, states: withoutClient, awaitsForwarding: true },
  /** The will is being sent to the broker. Then a clean session ends. */
  publishingWill: { ...plain, states: ["lost"], willPending: true },
  /** Accepted publications are being sent to the broker, and then the will. */
  awaitingForwardingThenWill: { ...plain, states: ["lost"], willPending: true, awaitsForwarding: true },
} as const satisfies Record<string, Standing>;

/** The fields that `isPossible` reads. */
export type Flags = Pick<Session, "state" | "willPending" | "awaitsForwarding" | "brokerRefused" | "clean"> & {
  readonly pendingConnect: unknown;
};

/** Whether the session has one of these combinations. */
export function isPossible(session: Flags): boolean {
  return standingOf(session) !== undefined;
}

/** The name of the session's combination. At most one fits. */
export function standingOf(session: Flags): keyof typeof standings | undefined {
  for (const [name, standing] of all) if (fits(standing, session)) return name;
  return undefined;
}

function fits(standing: Standing, session: Flags): boolean {
  return (
    standing.states.includes(session.state) &&
    standing.pendingConnect === (session.pendingConnect !== undefined) &&
    standing.willPending === session.willPending &&
    standing.awaitsForwarding === session.awaitsForwarding &&
    (standing.clean === "either" || standing.clean === session.clean) &&
    (standing.mayBeRefused || !session.brokerRefused)
  );
}

const all = Object.entries(standings) as [keyof typeof standings, Standing][];
