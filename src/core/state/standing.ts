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

/** One way in which a session can stand. */
export interface Standing {
  readonly states: readonly ClientState[];
  readonly pendingConnect: boolean;
  readonly willPending: boolean;
  readonly awaitsForwarding: boolean;
  /** `either`: this is a matter of the client's. */
  readonly clean: boolean | "either";
  /** May the broker have refused it? While a CONNECT waits, the refusal is the answer to that. */
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

/** All ways in which a session can stand. One that fits none of them should not exist. */
export const standings = {
  /** The client is there, or sleeps. */
  served: { ...plain, states: withClient },
  /** The same, and it connects once more: from elsewhere, with another will, or because it has noticed a cut. */
  servedAndConnecting: { ...connecting, states: withClient },
  /** Kept for a client that may come back. */
  kept: { ...plain, states: withoutClient, clean: false },
  /** The client comes back to what was kept; or it is new, and its session goes again if the CONNECT fails. */
  keptAndConnecting: { ...connecting, states: withoutClient, clean: false },
  /** A clean session without a client, with all publications at the broker: it was made for this CONNECT, and is removed if that fails. */
  cleanAndConnecting: { ...connecting, states: ["disconnected"], clean: true },
  /** The client has left; its accepted publications are being sent to the broker. Then a clean session ends. */
  awaitingForwarding: { ...plain, states: withoutClient, awaitsForwarding: true },
  /** The client comes back while this continues. */
  awaitingForwardingAndConnecting: { ...connecting, states: withoutClient, awaitsForwarding: true },
  /** The will goes to the broker. Then a clean one ends. */
  publishingWill: { ...plain, states: ["lost"], willPending: true },
  /** What was accepted goes to the broker, and then the will. */
  awaitingForwardingThenWill: { ...plain, states: ["lost"], willPending: true, awaitsForwarding: true },
} as const satisfies Record<string, Standing>;

/** What `isPossible` looks at. */
export type Flags = Pick<Session, "state" | "willPending" | "awaitsForwarding" | "brokerRefused" | "clean"> & {
  readonly pendingConnect: unknown;
};

/** Does the session stand in one of these ways? */
export function isPossible(session: Flags): boolean {
  return standingOf(session) !== undefined;
}

/** The way in which it stands: no two of them fit the same session. */
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
