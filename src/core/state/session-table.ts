/**
 * Sessions by client id (the key), and by the address that each was last heard from. Sessions are created, ended and
 * moved to another address only here, so the two tables cannot disagree.
 */
import { assert, type Found } from "../assert.ts";
import type { CoreEnvironment } from "../options.ts";
import { forwardedNodeOf } from "../peer-id.ts";
import type { ClientState, Instant, PeerId } from "../types.ts";
import type { Session } from "./session.ts";

/**
 * The session that is ended for a new client, if there is no place left: first one that never sent a message after its CONNECT, as an
 * attacker would who only occupies sessions; then the one that is away for the longest time. An unknown client does not displace a client
 * that the operator has named, or one that was heard within the last day.
 */
export interface Newcomer {
  readonly vouched: boolean;
  readonly now: Instant;
}

/** A new client has this much time for its first message before an unknown client takes its place. */
const silenceGraceMs = 5_000;

/** A client that has sent messages and is away keeps its place from unknown clients for this long. */
const awayGraceMs = 86_400_000;

/** Topic ids of an ended session start here or later, so that a stale id does not match. See topic-registry.ts. */
const rememberedStartsMax = 10_000;

const firstStartMax = 0x1000;

export class SessionTable {
  readonly #byClientId = new Map<string, Session>();
  readonly #byPeer = new Map<PeerId, Session>();
  /** Disconnected and lost ones, longest first: whom the operator knows, and others. */
  readonly #idle = { vouched: new Set<Session>(), others: new Set<Session>() };
  /** Clients without a proved name that have sent no message; the oldest first. */
  readonly #silent = new Set<Session>();
  readonly #byState: Record<ClientState, number> = { active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0 };
  readonly #perHost = new Map<string, number>();
  /** Next topic id for clients whose session ended; oldest first. */
  readonly #topicIdStarts = new Map<string, number>();
  readonly #environment: CoreEnvironment;

  constructor(environment: CoreEnvironment) {
    this.#environment = environment;
  }

  get size(): number {
    return this.#byClientId.size;
  }

  /** How many are in each state. */
  get byState(): Readonly<Record<ClientState, number>> {
    return this.#byState;
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
    this.#byState[session.state]++;
    this.setIdle(session, isIdle(session));
    this.noteStanding(session);
  }

  /** The session's state is this from now on; whether it is in the table or not yet. */
  setState(session: Session, state: ClientState): void {
    if (this.#byClientId.get(session.clientId) === session) {
      this.#byState[session.state]--;
      this.#byState[state]++;
    }
    session.state = state;
  }

  /** `spoke` or `vouched` may have changed. */
  noteStanding(session: Session): void {
    if (session.spoke || session.vouched) this.#silent.delete(session);
    else this.#silent.add(session);
    const wrong = session.vouched ? this.#idle.others : this.#idle.vouched;
    if (wrong.has(session)) this.setIdle(session, true);
  }

  /** The client is at this address now; the earlier client there is not any more. */
  bind(session: Session, peer: PeerId): void {
    if (session.peer === peer) return;
    this.unbind(session);
    const before = this.#byPeer.get(peer);
    if (before) this.unbind(before);
    session.peer = peer;
    this.#byPeer.set(peer, session);
    this.#count(session, this.#hostOf(peer));
  }

  unbind(session: Session): void {
    if (session.peer === undefined) return;
    this.#byPeer.delete(session.peer);
    session.peer = undefined;
  }

  remove(session: Session): void {
    this.unbind(session);
    if (this.#byClientId.get(session.clientId) === session) this.#byState[session.state]--;
    this.#byClientId.delete(session.clientId);
    this.#idle.vouched.delete(session);
    this.#idle.others.delete(session);
    this.#silent.delete(session);
    this.#count(session, undefined);
    this.#topicIdStarts.delete(session.clientId);
    this.#topicIdStarts.set(session.clientId, session.registry.next);
    if (this.#topicIdStarts.size > rememberedStartsMax) {
      const oldest = this.#topicIdStarts.keys().next();
      if (!oldest.done) this.#topicIdStarts.delete(oldest.value);
    }
  }

  /** Notes whether the session is without a client now, for `toGiveUp`. */
  setIdle(session: Session, idle: boolean): void {
    this.#idle.vouched.delete(session);
    this.#idle.others.delete(session);
    if (idle) (session.vouched ? this.#idle.vouched : this.#idle.others).add(session);
  }

  /** Sessions whose client is, or was last, where this peer is. */
  atHostOf(peer: PeerId): number {
    return this.#perHost.get(this.#hostOf(peer)) ?? 0;
  }

  /** The session to give up for a new client; undefined: there is none. */
  toGiveUp(newcomer: Newcomer): Session | undefined {
    const silent = this.#longestSilent(newcomer);
    if (silent) return silent;
    // Those will go first, in a moment.
    if (this.#silent.size > 0 && !newcomer.vouched) return undefined;
    for (const session of this.#idle.others) {
      if (!newcomer.vouched && newcomer.now - session.lastHeard < awayGraceMs) break; // and so are those behind it
      if (isFree(session)) return session;
    }
    if (newcomer.vouched) for (const session of this.#idle.vouched) if (isFree(session)) return session;
    return undefined;
  }

  /** Of those where this peer is. */
  toGiveUpAtHostOf(peer: PeerId, newcomer: Newcomer): Session | undefined {
    return this.#longestSilent(newcomer, this.#hostOf(peer));
  }

  #longestSilent({ vouched, now }: Newcomer, host?: string): Session | undefined {
    for (const session of this.#silent) {
      if (!isFree(session) || (host !== undefined && session.host !== host)) continue;
      // From an earlier run, or disconnected: it has had its time.
      const hadTime = session.isUnasked || isIdle(session) || now - session.lastHeard >= silenceGraceMs;
      if (vouched || hadTime) return session;
    }
    return undefined;
  }

  /** A node behind a forwarder counts as a host: the forwarder was admitted by its own rule. */
  #hostOf(peer: PeerId): string {
    return forwardedNodeOf(peer) ? peer : this.#environment.hostOf(peer);
  }

  #count(session: Session, host: string | undefined): void {
    const before = session.host;
    if (before === host) return;
    session.host = host;
    if (before !== undefined) {
      const left = (this.#perHost.get(before) ?? 1) - 1;
      if (left > 0) this.#perHost.set(before, left);
      else this.#perHost.delete(before);
    }
    if (host !== undefined) this.#perHost.set(host, (this.#perHost.get(host) ?? 0) + 1);
  }

  /** Do the views agree? For tests. */
  check(found: Found): void {
    for (const [clientId, session] of this.#byClientId) {
      if (session.clientId !== clientId) found(`client ${session.clientId} stands in the table as ${clientId}`);
      if (session.peer !== undefined && this.#byPeer.get(session.peer) !== session)
        found(`client ${clientId} is at ${session.peer}, and the table of addresses says otherwise`);
      if (isIdle(session) !== (this.#idle.vouched.has(session) || this.#idle.others.has(session)))
        found(
          `client ${clientId} is ${session.state}, and ${isIdle(session) ? "not " : ""}among those without a client`,
        );
    }
    for (const [peer, session] of this.#byPeer) {
      if (session.peer !== peer) found(`${peer} stands for client ${session.clientId}, which is at ${session.peer}`);
      if (this.#byClientId.get(session.clientId) !== session)
        found(`${peer} stands for a session of client ${session.clientId} that is over`);
    }
    const states: Record<string, number> = {};
    for (const { state } of this.#byClientId.values()) states[state] = (states[state] ?? 0) + 1;
    for (const [state, count] of Object.entries(this.#byState))
      if ((states[state] ?? 0) !== count)
        found(`${states[state] ?? 0} sessions are ${state}, and ${count} are counted`);
    const hosts = new Map<string, number>();
    for (const { host } of this.#byClientId.values())
      if (host !== undefined) hosts.set(host, (hosts.get(host) ?? 0) + 1);
    for (const [host, count] of this.#perHost)
      if (hosts.get(host) !== count) found(`${host} has ${hosts.get(host) ?? 0} sessions, and ${count} are counted`);
    if (hosts.size !== this.#perHost.size)
      found(`${hosts.size} hosts have sessions, and ${this.#perHost.size} are counted`);
    for (const session of this.#silent)
      if (this.#byClientId.get(session.clientId) !== session || session.spoke || session.vouched)
        found(`client ${session.clientId} is over, or has spoken, and stands among the silent`);
    for (const session of [...this.#idle.vouched, ...this.#idle.others])
      if (this.#byClientId.get(session.clientId) !== session)
        found(`a session of client ${session.clientId} that is over is among those without a client`);
  }
}

/** Nothing is open for it. */
function isFree({ pendingConnect, willPending, awaitsForwarding }: Session): boolean {
  return !pendingConnect && !willPending && !awaitsForwarding;
}

function isIdle({ state }: Session): boolean {
  return state === "disconnected" || state === "lost";
}
