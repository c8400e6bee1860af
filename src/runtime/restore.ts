/**
 * Passes what the store has of an earlier run to the core, in slices, so that neither memory nor the event loop is occupied by all of it at
 * once.
 *
 * Dead letters and known clients come first, because a session may add to them (a message that is dropped, a refusal). Then come the
 * sessions that the core must know before it can serve any client. If the rest takes long, clients are served meanwhile. The core asks for
 * the sessions that it needs before their turn.
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

export interface RestoreTo {
  readonly handle: (input: Input) => void;
  /** Whether the configuration still has a transport; clients of a removed one are known only by their ids. */
  readonly hasTransport: (name: string) => boolean;
  /** Lets the event loop turn. */
  readonly pause: () => Promise<void>;
  /** Called with the number of sessions so far. */
  readonly progress?: (sessions: number) => void;
  /** Clients can be served from now on, while the rest is restored. Absent: all sessions are restored first. */
  readonly serve?:
    | {
        /** Called before each slice: true if the rest shall not be waited for. */
        readonly isDue: () => boolean;
        /** Called once. The core then handles datagrams and deadlines. */
        readonly begin: () => Promise<void>;
        /** Sessions could not be read while clients are served. They are read again when this resolves; true: give up. */
        readonly failed: (error: unknown) => Promise<boolean>;
        /** No more sessions are needed, because the gateway ends. */
        readonly isOver: () => boolean;
      }
    | undefined;
}

/**
 * Resolves when all sessions are restored.
 * @throws {GatewayError} ERR_STORE_OPEN if the store cannot be read and no client is served yet.
 */
export async function restore(store: Store, highest: StoreReport["highest"], to: RestoreTo): Promise<Restored> {
  return new Restore(store, to).all(highest);
}

class Restore {
  readonly #store: Store;
  readonly #to: RestoreTo;
  /** Sessions may be restored while clients are served. */
  #goesOn = false;
  /** The core knows everything that it needs before it can serve a client. */
  #canServe = false;
  #serves = false;
  #isGivenUp = false;

  constructor(store: Store, to: RestoreTo) {
    this.#store = store;
    this.#to = to;
  }

  async all(highest: StoreReport["highest"]): Promise<Restored> {
    this.#to.handle({ kind: "restored", highest });
    await this.#letters();
    await this.#known();
    const foremost = this.#to.serve ? await this.#store.foremost() : undefined;
    if (foremost) {
      this.#goesOn = true;
      this.#to.handle({ kind: "restored", goesOn: true }); // also if nothing is needed first
      await this.#some(foremost.needed, { mayServe: false });
      this.#canServe = true;
      await this.#some(foremost.active, { mayServe: true });
    }
    const restored = await this.#sessions();
    if (this.#goesOn && !this.#isOver) this.#to.handle({ kind: "restored", goesOn: true, isComplete: true });
    return restored;
  }

  async #letters(): Promise<void> {
    let last = 0;
    for (let isMore = true; isMore; ) {
      const letters = await this.#store.letters(last, namesAtOnce);
      this.#to.handle({ kind: "restored", letters: letters.map(({ id, clientId }) => [id, clientId] as const) });
      last = letters.at(-1)?.id ?? last;
      isMore = letters.length === namesAtOnce;
      await this.#to.pause();
    }
  }

  async #known(): Promise<void> {
    let last: string | undefined;
    for (let isMore = true; isMore; ) {
      const known = await this.#store.known(last, namesAtOnce);
      this.#to.handle({ kind: "restored", known });
      last = known.at(-1);
      isMore = known.length === namesAtOnce;
      await this.#to.pause();
    }
  }

  /** Restores the sessions of these clients. The slices of all sessions have them again, and the core ignores that. */
  async #some(clientIds: readonly string[], { mayServe }: { readonly mayServe: boolean }): Promise<void> {
    for (let at = 0; at < clientIds.length && !this.#isOver; at += sessionsAtOnce) {
      if (mayServe) await this.#serveIfDue();
      const names = clientIds.slice(at, at + sessionsAtOnce);
      const read = () => Promise.all(names.map((clientId) => this.#store.load(clientId)));
      const states = await this.#read(read, read());
      await this.#hand((states ?? []).flatMap((state) => state ?? []));
      await this.#to.pause();
    }
  }

  async #sessions(): Promise<Restored> {
    const restored = { sessions: 0, down: 0, up: 0 };
    let last: string | undefined;
    const ahead = (after: string | undefined) => {
      const read = () => this.#store.sessions(after, sessionsAtOnce);
      const next = read();
      next.catch(() => {}); // thrown where it is awaited
      return { read, next };
    };
    let reading = this.#isOver ? undefined : ahead(undefined);
    while (reading && !this.#isOver) {
      const states: readonly StoredState[] | undefined = await this.#read(reading.read, reading.next);
      if (!states) break;
      last = states.at(-1)?.session.clientId;
      // The store reads while the core takes what there is.
      reading = states.length === sessionsAtOnce ? ahead(last) : undefined;
      await this.#hand(states);
      for (const { queued, backlog, uplink } of states) {
        restored.sessions++;
        restored.down += queued.length;
        restored.up += (backlog?.count ?? 0) + uplink.length;
      }
      this.#to.progress?.(restored.sessions);
      await this.#to.pause();
      if (reading) await this.#serveIfDue();
    }
    return restored;
  }

  /** Hands these states to the core, a few in each turn. */
  async #hand(states: readonly StoredState[]): Promise<void> {
    for (let first = 0; first < states.length; first += handedAtOnce) {
      if (first > 0) await this.#to.pause();
      if (this.#isOver) return;
      const some = states.slice(first, first + handedAtOnce);
      this.#to.handle({
        kind: "restored",
        ...(this.#goesOn && { goesOn: true }),
        states: some.map((state) => withKnownPeer(state, this.#to.hasTransport)),
      });
    }
  }

  /** What `first` reads. If that fails while clients are served, it is read again. Undefined: it was given up. */
  async #read<T>(again: () => Promise<T>, first: Promise<T>): Promise<T | undefined> {
    for (let reading = first; ; reading = again()) {
      try {
        return await reading;
      } catch (error) {
        if (!this.#serves || !this.#to.serve) throw error;
        if (this.#isOver) return undefined;
        if (await this.#to.serve.failed(error)) {
          this.#isGivenUp = true;
          return undefined;
        }
      }
    }
  }

  async #serveIfDue(): Promise<void> {
    const { serve } = this.#to;
    if (!serve || this.#serves || !this.#canServe || !serve.isDue()) return;
    this.#serves = true;
    await serve.begin();
  }

  get #isOver(): boolean {
    return this.#isGivenUp || (this.#serves && this.#to.serve?.isOver() === true);
  }
}

/** The session without its address, if the configuration has no such transport any more. */
export function withKnownPeer(state: StoredState, hasTransport: (name: string) => boolean): StoredState {
  const { peer } = state.session;
  if (peer === undefined || hasTransport(transportNameOf(peer))) return state;
  const session: SessionRecord = { ...state.session, peer: undefined };
  return { ...state, session };
}
