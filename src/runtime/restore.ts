/**
 * Passes what the store has of an earlier run to the core, in slices, so that neither memory nor the event loop is occupied by all of it at
 * once. The caller opens no transport before this is done: otherwise a client could be answered before its session is restored.
 *
 * Dead letters and known clients come first, because a session may add to them (a message that is dropped, a refusal).
 */
import type { Input } from "../core/input.ts";
import { transportNameOf } from "../core/peer-id.ts";
import type { SessionRecord, StoredState } from "../core/record.ts";
import type { Store, StoreReport } from "../storage/store.ts";

/** Sessions, each with all messages for its client, that are read at once and handed over. */
const sessionsAtOnce = 50;
const handedAtOnce = 10;
const namesAtOnce = 1_000;

export interface Restored {
  readonly sessions: number;
  /** Messages that wait for clients. */
  readonly down: number;
  /** Messages that wait for the broker. */
  readonly up: number;
}

/**
 * `hasTransport`: whether the configuration still has a transport; clients of a removed one are known only by their ids. `pause` lets the
 * event loop turn.
 * @throws {GatewayError} ERR_STORE_OPEN if the store cannot be read.
 */
export async function restore(
  store: Store,
  highest: StoreReport["highest"],
  to: {
    readonly handle: (input: Input) => void;
    readonly hasTransport: (name: string) => boolean;
    readonly pause: () => Promise<void>;
    /** Called with the number of sessions so far. */
    readonly progress?: (sessions: number) => void;
  },
): Promise<Restored> {
  to.handle({ kind: "restored", highest });
  let lastLetter = 0;
  for (let isMore = true; isMore; ) {
    const letters = await store.letters(lastLetter, namesAtOnce);
    to.handle({ kind: "restored", letters: letters.map(({ id, clientId }) => [id, clientId] as const) });
    lastLetter = letters.at(-1)?.id ?? lastLetter;
    isMore = letters.length === namesAtOnce;
    await to.pause();
  }
  let lastKnown: string | undefined;
  for (let isMore = true; isMore; ) {
    const known = await store.known(lastKnown, namesAtOnce);
    to.handle({ kind: "restored", known });
    lastKnown = known.at(-1);
    isMore = known.length === namesAtOnce;
    await to.pause();
  }
  const restored = { sessions: 0, down: 0, up: 0 };
  let next: ReturnType<Store["sessions"]> | undefined = store.sessions(undefined, sessionsAtOnce);
  while (next) {
    const states: readonly StoredState[] = await next;
    next = undefined;
    const last = states.at(-1)?.session.clientId;
    if (states.length === sessionsAtOnce) {
      next = store.sessions(last, sessionsAtOnce); // the store reads while the core takes what there is
      next.catch(() => {}); // thrown where it is awaited
    }
    for (let first = 0; first < states.length; first += handedAtOnce) {
      const some = states.slice(first, first + handedAtOnce);
      if (first > 0) await to.pause();
      to.handle({ kind: "restored", states: some.map((state) => withKnownPeer(state, to.hasTransport)) });
    }
    for (const { queued, backlog, uplink } of states) {
      restored.sessions++;
      restored.down += queued.length;
      restored.up += (backlog?.count ?? 0) + uplink.length;
    }
    to.progress?.(restored.sessions);
    await to.pause();
  }
  return restored;
}

/** The session without its address, if the configuration has no such transport any more. */
export function withKnownPeer(state: StoredState, hasTransport: (name: string) => boolean): StoredState {
  const { peer } = state.session;
  if (peer === undefined || hasTransport(transportNameOf(peer))) return state;
  const session: SessionRecord = { ...state.session, peer: undefined };
  return { ...state, session };
}
