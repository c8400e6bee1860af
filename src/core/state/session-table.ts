/**
 * Sessions by client id (the key), and by the address each was last heard from. Setting up and ending a session, and
 * moving it to another address, happen here and nowhere else, so the two views cannot disagree.
 */
import { assert, type Found } from "../assert.ts";
import type { CoreEnvironment } from "../options.ts";
import type { PeerId } from "../types.ts";
import type { Session } from "./session.ts";

/** Topic ids of an ended session start here or later, so that a stale id does not match. See topic-registry.ts. */
const rememberedStartsMax = 10_000;

const firstStartMax = 0x1000;

export class SessionTable {
  readonly #byClientId = new Map<string, Session>();
  readonly #byPeer = new Map<PeerId, Session>();
  /** Disconnected and lost ones, longest first. */
  readonly #idle = new Set<Session>();
  /** Next topic id for clients whose session ended; oldest first. */
  readonly #topicIdStarts = new Map<string, number>();
  readonly #environment: CoreEnvironment;

  constructor(environment: CoreEnvironment) {
    this.#environment = environment;
  }

  get size(): number {
    return this.#byClientId.size;
  }

  all(): IterableIterator<Session> {
    return this.#byClientId.values();
  }

  byClientId(clientId: string): Session | undefined {
    return this.#byClientId.get(clientId);
  }

  byPeer(peer: PeerId): Session | undefined {
    return this.#byPeer.get(peer);
  }

  /** Where the topic ids of a new session of this client begin; random after a start of the gateway. */
  topicIdStart(clientId: string): number {
    return this.#topicIdStarts.get(clientId) ?? 1 + Math.floor(this.#environment.random() * firstStartMax);
  }

  add(session: Session): void {
    assert(!this.#byClientId.has(session.clientId), "a client has one session");
    this.#byClientId.set(session.clientId, session);
    this.setIdle(session, isIdle(session));
  }

  /** The client is at this address now; whoever was there is not any more. */
  bind(session: Session, peer: PeerId): void {
    if (session.peer === peer) return;
    this.unbind(session);
    const before = this.#byPeer.get(peer);
    if (before) this.unbind(before);
    session.peer = peer;
    this.#byPeer.set(peer, session);
  }

  unbind(session: Session): void {
    if (session.peer === undefined) return;
    this.#byPeer.delete(session.peer);
    session.peer = undefined;
  }

  remove(session: Session): void {
    this.unbind(session);
    this.#byClientId.delete(session.clientId);
    this.#idle.delete(session);
    this.#topicIdStarts.delete(session.clientId);
    this.#topicIdStarts.set(session.clientId, session.registry.next);
    if (this.#topicIdStarts.size > rememberedStartsMax) {
      const oldest = this.#topicIdStarts.keys().next();
      if (!oldest.done) this.#topicIdStarts.delete(oldest.value);
    }
  }

  /** Notes whether the session is without a client now, for `longestIdle`. */
  setIdle(session: Session, idle: boolean): void {
    this.#idle.delete(session);
    if (idle) this.#idle.add(session);
  }

  /** The session that has been without a client for longest: the one to give up for a new client. */
  longestIdle(): Session | undefined {
    for (const session of this.#idle) if (!session.setup && !session.farewell && !session.lingers) return session;
    return undefined;
  }

  /** Do the views agree? For tests. */
  check(found: Found): void {
    for (const [clientId, session] of this.#byClientId) {
      if (session.clientId !== clientId) found(`client ${session.clientId} stands in the table as ${clientId}`);
      if (session.peer !== undefined && this.#byPeer.get(session.peer) !== session)
        found(`client ${clientId} is at ${session.peer}, and the table of addresses says otherwise`);
      if (isIdle(session) !== this.#idle.has(session))
        found(
          `client ${clientId} is ${session.state}, and ${isIdle(session) ? "not " : ""}among those without a client`,
        );
    }
    for (const [peer, session] of this.#byPeer) {
      if (session.peer !== peer) found(`${peer} stands for client ${session.clientId}, which is at ${session.peer}`);
      if (this.#byClientId.get(session.clientId) !== session)
        found(`${peer} stands for a session of client ${session.clientId} that is over`);
    }
    for (const session of this.#idle)
      if (this.#byClientId.get(session.clientId) !== session)
        found(`a session of client ${session.clientId} that is over is among those without a client`);
  }
}

function isIdle({ state }: Session): boolean {
  return state === "disconnected" || state === "lost";
}
