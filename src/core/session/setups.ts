/**
 * CONNECTs under way: where a set-up is noted, and where it is forgotten. What happens between is in connect.ts and
 * connect-outcome.ts.
 */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Setup } from "../state/setup.ts";
import { markChanged } from "./session-record.ts";

/** A CONNECT came. The set-up is forgotten when it takes longer than a client repeats itself. */
export function beginSetup(context: Context, setup: Setup<Session>): void {
  context.setups.set(setup.peer, setup);
  context.deadlines.set(setup.expiry, context.now + context.repetitionMs);
}

/** Everything is known: from now on it holds up this session. */
export function bindSetup(setup: Setup<Session>, session: Session): void {
  setup.session = session;
  session.setup = setup;
}

/** It is answered, or nobody waits for it any more. What it had held up goes on: for its client, and for one at its address. */
export function forgetSetup(context: Context, setup: Setup<Session>): void {
  context.deadlines.clear(setup.expiry);
  if (context.setups.get(setup.peer) === setup) context.setups.delete(setup.peer);
  if (setup.session?.setup === setup) {
    setup.session.setup = undefined;
    markChanged(context, setup.session); // its will is that of this CONNECT, also if the broker refused
  }
  if (setup.session) context.touch(setup.session);
  const present = context.sessions.byPeer(setup.peer);
  if (present) context.touch(present);
}
