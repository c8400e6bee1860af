/** The end of a CONNECT under way. */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Setup } from "../state/setup.ts";

/** A CONNECT under way is over, whatever came of it. What it had held up goes on: for its client, and for one at its address. */
export function forgetSetup(context: Context, setup: Setup<Session>): void {
  context.deadlines.clear(setup.expiry);
  if (context.setups.get(setup.peer) === setup) context.setups.delete(setup.peer);
  if (setup.session?.setup === setup) setup.session.setup = undefined;
  if (setup.session) context.touch(setup.session);
  const present = context.sessions.byPeer(setup.peer);
  if (present) context.touch(present);
}
