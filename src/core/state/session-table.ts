/**
 * Sessions by client id (the key), and by the address that each was last heard from. Sessions are created, ended and
 * moved to another address only here, so the two tables cannot disagree.
 */
import { assert, type Found } from "../assert.ts";
import { noRow } from "../hash-rows.ts";
import type { CoreEnvironment } from "../options.ts";
import { forwardedNodeOf } from "../peer-id.ts";
import type { ClientState, Instant, PeerId } from "../types.ts";
import type { SharedFilter } from "./exchanges.ts";
import { HostCounts } from "./host-counts.ts";
import { IdleOrder } from "./idle-order.ts";
import { ParkedSessions } from "./parked-sessions.ts";
import { RestingFilters } from "./resting-filters.ts";
import { isDormant, Parking, type Session } from "./session.ts";
import { type Glance, SessionForm, type Surroundings } from "./session-form.ts";
import type { SharedConnection } from "./shared-connection.ts";

/**
 * Describes a new client. If there is no room left, a session is ended for it: first one that never sent a message
 * after its CONNECT, because an attacker who only occupies sessions would do that; then the one whose client has been
 * away for the longest time. An unknown client does not displace a client that the operator has named, or one that was
 * heard within the last day.
 */
export interface Newcomer {
  readonly vouched: boolean;
  readonly now: Instant;
}

/** A new client has this much time for its first message before an unknown client takes its place. */
const silenceGraceMs = 5_000;

/** A client that has sent messages and is away keeps its place from unknown clients for this long. */
const awayGraceMs = 86_400_000;

/**
 * Topic ids of a client's next session start at the remembered number or later, so that an old id does not match. At
 * most so many are remembered. See topic-registry.ts.
 */
const rememberedStartsMax = 10_000;

const firstStartMax = 0x1000;

const parkStepMs = 250;

/** The part of the deadlines that the table needs. */
interface SessionDeadlines {
  set(deadline: Session["silence"] | Parking["deadline"], at: Instant): void;
  clear(deadline: Session["silence"] | Session["retry"] | Session["expiry"] | Parking["deadline"]): void;
}

export class SessionTable {
  /** Sessions that are objects. The others are parked. */
  readonly #byClientId = new Map<string, Session>();
  readonly #byPeer = new Map<PeerId, Session>();
  /** Sessions by row; undefined: the session is parked, or the row is free. */
  readonly #byRow: (Session | undefined)[] = [];
  readonly #freeRows: number[] = [];
  /** Made when the first session is parked. */
  #parked: ParkedSessions | undefined = undefined;
  #filters: RestingFilters | undefined = undefined;
  /** Disconnected and lost sessions that are objects: those of clients that the operator knows, and others. */
  readonly #idle = { vouched: new IdleOrder(), others: new IdleOrder() };
  #idleNumber = 0;
  /** Clients without a proved name that have sent no message; the oldest first. None of them is parked. */
  readonly #silent = new Set<Session>();
  readonly #byState: Record<ClientState, number> = { active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0 };
  readonly #perHost: HostCounts;
  /** Next topic id for clients whose session ended; oldest first. */
  readonly #topicIdStarts = new Map<string, number>();
  readonly #environment: CoreEnvironment;
  readonly #around: Surroundings;
  readonly #deadlines: SessionDeadlines;
  readonly #form: SessionForm;
  /** Sessions of an earlier run that were restored, also if they have ended since. There may be more than the limit now allows. */
  restored = 0;
  /** Called with each session that is parked, and with the session that would be made from its octets. For tests. */
  watch: ((session: Session, again: Session) => void) | undefined = undefined;

  constructor(environment: CoreEnvironment, around: Surroundings, deadlines: SessionDeadlines) {
    this.#environment = environment;
    this.#perHost = new HostCounts(() => environment.random());
    this.#around = around;
    this.#deadlines = deadlines;
    this.#form = new SessionForm(around, (peer) => this.#hostOf(peer));
  }

  get size(): number {
    return this.#byClientId.size + this.parked;
  }

  /** The number of parked sessions. */
  get parked(): number {
    return this.#parked?.size ?? 0;
  }

  /** The number of sessions in each state. */
  get byState(): Readonly<Record<ClientState, number>> {
    return this.#byState;
  }

  /** All sessions that are not parked. The sessions for which something is open are among them. */
  live(): IterableIterator<Session> {
    return this.#byClientId.values();
  }

  /**
   * All sessions, one after the other, for reading only: for a parked session this is a copy. A session keeps its row while it is parked and
   * when it is needed again, so each appears once, also if that happens between two steps. One that ends or begins meanwhile may be left out.
   */
  *each(): IterableIterator<Session> {
    for (let row = 0; row < this.#byRow.length; row++) {
      const session = this.#byRow[row] ?? (this.#parked?.has(row) ? this.#parked.look(row) : undefined);
      if (session) yield session;
    }
  }

  /** The rows of the sessions that are parked now, for `at`. */
  parkedRows(): Iterable<number> {
    return this.#parked?.rows() ?? [];
  }

  /** The number behind the last row. A row may be free. */
  get rowsEnd(): number {
    return this.#byRow.length;
  }

  /** The session of this client. If it was parked, it is not parked any more. */
  byClientId(clientId: string): Session | undefined {
    const session = this.#byClientId.get(clientId);
    if (session || !this.#parked) return session;
    return this.#unpark(this.#parked.rowOf(clientId));
  }

  /** The session at this address. If it was parked, it is not parked any more. */
  byPeer(peer: PeerId): Session | undefined {
    const session = this.#byPeer.get(peer);
    if (session || !this.#parked) return session;
    return this.#unpark(this.#parked.rowAt(peer));
  }

  /** The session in this row; undefined: there is none. If it was parked, it is not parked any more. */
  at(row: number): Session | undefined {
    return this.#byRow[row] ?? this.#unpark(row);
  }

  /** The session in this row, unless it is parked. */
  liveAt(row: number): Session | undefined {
    return this.#byRow[row];
  }

  /** Whether this client has a session. */
  has(clientId: string): boolean {
    return this.#byClientId.has(clientId) || (this.#parked !== undefined && this.#parked.rowOf(clientId) !== noRow);
  }

  /** Whether there is a session at this address. */
  hasAt(peer: PeerId): boolean {
    return this.#byPeer.has(peer) || (this.#parked !== undefined && this.#parked.rowAt(peer) !== noRow);
  }

  /** The session of this client, for reading only: for a parked session this is a copy. */
  look(clientId: string): Session | undefined {
    return this.#byClientId.get(clientId) ?? this.#look(this.#parked?.rowOf(clientId));
  }

  /** The session at this address, for reading only: for a parked session this is a copy. */
  lookAt(peer: PeerId): Session | undefined {
    return this.#byPeer.get(peer) ?? this.#look(this.#parked?.rowAt(peer));
  }

  /** The session in this row, for reading only: for a parked session this is a copy. */
  lookInto(row: number): Session | undefined {
    return this.#byRow[row] ?? this.#look(row);
  }

  /**
   * What can be read of the parked session in this row without making an object. Undefined: no session is parked there.
   */
  glanceAt(row: number): Glance | undefined {
    return this.#parked?.has(row) ? this.#parked.glance(row) : undefined;
  }

  /** Whether this object is the session of its client now. */
  isCurrent(session: Session): boolean {
    return this.#byClientId.get(session.clientId) === session;
  }

  /** The first topic id for a new session of this client; random after a start of the gateway. */
  topicIdStart(clientId: string): number {
    return this.#topicIdStarts.get(clientId) ?? 1 + Math.floor(this.#environment.random() * firstStartMax);
  }

  add(session: Session): void {
    assert(this.look(session.clientId) === undefined, "a client has one session");
    session.row = this.#freeRows.pop() ?? this.#byRow.length;
    this.#byRow[session.row] = session;
    this.#byClientId.set(session.clientId, session);
    this.#byState[session.state]++;
    this.setIdle(session, isIdle(session));
    this.noteStanding(session);
    if (isDormant(session)) this.#parkSoon(session);
  }

  /** Sets the session's state, whether or not the session is in the table yet. */
  setState(session: Session, state: ClientState): void {
    const isHere = this.isCurrent(session);
    if (isHere) {
      this.#byState[session.state]--;
      this.#byState[state]++;
    }
    session.state = state;
    if (isHere && isDormant(session)) this.#parkSoon(session);
  }

  /** `spoke` or `vouched` may have changed. */
  noteStanding(session: Session): void {
    if (session.spoke || session.vouched) this.#silent.delete(session);
    else this.#silent.add(session);
    const wrong = session.vouched ? this.#idle.others : this.#idle.vouched;
    if (wrong.has(session)) this.setIdle(session, true);
  }

  /** The client is at this address now. The client that was there before is not there any more. */
  bind(session: Session, peer: PeerId): void {
    if (session.peer === peer) return;
    this.unbind(session);
    const before = this.byPeer(peer);
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
    if (this.isCurrent(session)) {
      this.#byState[session.state]--;
      this.#byRow[session.row] = undefined;
      this.#freeRows.push(session.row);
      session.row = noRow;
    }
    if (session.parking) this.#deadlines.clear(session.parking.deadline);
    this.#byClientId.delete(session.clientId);
    this.#idle.vouched.remove(session);
    this.#idle.others.remove(session);
    this.#silent.delete(session);
    this.#count(session, undefined);
    this.#topicIdStarts.delete(session.clientId);
    this.#topicIdStarts.set(session.clientId, session.registry.next);
    if (this.#topicIdStarts.size > rememberedStartsMax) {
      const oldest = this.#topicIdStarts.keys().next();
      if (!oldest.done) this.#topicIdStarts.delete(oldest.value);
    }
  }

  /** Notes whether the session is without a client now, for `toGiveUp`. Its deadline says since when. */
  setIdle(session: Session, idle: boolean): void {
    this.#idle.vouched.remove(session);
    this.#idle.others.remove(session);
    const since = session.silence.at ?? Number.POSITIVE_INFINITY;
    if (idle) (session.vouched ? this.#idle.vouched : this.#idle.others).add(session, since, ++this.#idleNumber);
  }

  /** Sets the deadline for checking whether the session may be parked. */
  #parkSoon(session: Session): void {
    const { parkAfterMs } = this.#around.options.clients;
    if (!session.shared || parkAfterMs === Number.POSITIVE_INFINITY) return;
    session.parking ??= new Parking(session);
    session.parking.heard = session.heard;
    session.parking.tries = 0;
    this.#deadlines.set(session.parking.deadline, inSteps(this.#around.now + parkAfterMs, parkAfterMs));
  }

  /** Turns a session for which nothing is open (`mayBeParked`) into octets. The object must not be used any more. */
  park(session: Session): void {
    const { row, silence } = session;
    assert(this.isCurrent(session) && silence.at !== undefined, "what is parked is in the table and has a deadline");
    this.#parked ??= new ParkedSessions(this.#form, Math.floor(this.#environment.random() * 2 ** 31));
    if (this.#parked.isFull) return;
    this.#parked.add(session, silence.at);
    this.watch?.(session, this.#parked.look(row));
    for (const deadline of [silence, session.retry, session.expiry]) this.#deadlines.clear(deadline);
    if (session.parking) this.#deadlines.clear(session.parking.deadline);
    if (session.peer !== undefined) this.#byPeer.delete(session.peer);
    this.#byClientId.delete(session.clientId);
    this.#idle.vouched.remove(session);
    this.#idle.others.remove(session);
    this.#byRow[row] = undefined;
    session.isParked = true;
    this.#filters ??= new RestingFilters(this.#parked);
    this.#filters.restOf(session);
  }

  /** `row`: if it is undefined, `noRow`, or no parked session has it, the result is undefined. */
  #unpark(row: number): Session | undefined {
    if (!this.#parked?.has(row)) return undefined;
    const { session, due } = this.#parked.take(row);
    this.#byRow[row] = session;
    this.#byClientId.set(session.clientId, session);
    if (session.peer !== undefined) this.#byPeer.set(session.peer, session);
    this.#filters?.wakeOf(session);
    this.#deadlines.set(session.silence, due);
    if (isIdle(session)) this.setIdle(session, true);
    this.#parkSoon(session);
    return session;
  }

  #look(row: number | undefined): Session | undefined {
    return row !== undefined && this.#parked?.has(row) ? this.#parked.look(row) : undefined;
  }

  /** Nothing is under way for this filter. If its client is parked, it may take no object from the end of the turn on. */
  noteQuiet(lane: SharedConnection<Session>, entry: SharedFilter<Session>): void {
    this.#filters?.noteQuiet(lane, entry);
  }

  endTurn(): void {
    this.#filters?.endTurn();
  }

  /** When the first deadline of a parked session is due; undefined: there is none. */
  get nextParkedDue(): Instant | undefined {
    const due = this.#parked?.nextDue;
    return due === Number.POSITIVE_INFINITY ? undefined : due;
  }

  /** If the deadline of a parked session is due, this session is not parked any more, and its deadline is set. */
  unparkDue(now: Instant): void {
    if (this.#parked && this.#parked.nextDue <= now) this.#unpark(this.#parked.next?.row ?? noRow);
  }

  /** The silence until now does not count against parked clients that sleep. */
  noteSleepersHeard(now: Instant): void {
    this.#parked?.noteSleepersHeard(now);
  }

  /** The number of sessions whose client is, or was last, on the host of this peer. */
  atHostOf(peer: PeerId): number {
    return this.#perHost.of(this.#hostOf(peer));
  }

  /** The session that is ended for a new client; undefined: there is none. */
  toGiveUp(newcomer: Newcomer): Session | undefined {
    const silent = this.#longestSilent(newcomer);
    if (silent) return silent;
    // The silent sessions can be ended in a moment.
    if (this.#silent.size > 0 && !newcomer.vouched) return undefined;
    const since = newcomer.vouched ? Number.POSITIVE_INFINITY : newcomer.now - awayGraceMs;
    const other = this.#longestAway({ vouched: false }, since);
    return other ?? (newcomer.vouched ? this.#longestAway({ vouched: true }, since) : undefined);
  }

  /**
   * Of the sessions whose client is away and for which nothing is open, the one whose client has been away for the
   * longest time. `since`: the client was not heard after this time.
   */
  #longestAway(of: { readonly vouched: boolean }, since: Instant): Session | undefined {
    const live = (of.vouched ? this.#idle.vouched : this.#idle.others).first(isFree);
    const parked = this.#parked?.longestIdle(of);
    const liveSince = live && live.lastHeard <= since ? live.idleSince : Number.POSITIVE_INFINITY;
    if (parked && parked.lastHeard <= since && parked.due < liveSince) return this.#unpark(parked.row);
    return live && live.lastHeard <= since ? live : undefined;
  }

  /** Of the sessions on the host of this peer, the one that is ended for a new client. */
  toGiveUpAtHostOf(peer: PeerId, newcomer: Newcomer): Session | undefined {
    return this.#longestSilent(newcomer, this.#hostOf(peer));
  }

  #longestSilent({ vouched, now }: Newcomer, host?: string): Session | undefined {
    for (const session of this.#silent) {
      if (!isFree(session) || (host !== undefined && session.host !== host)) continue;
      // The session is from an earlier run, or its client has disconnected: the client has had its time.
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
    if (before !== undefined) this.#perHost.remove(before);
    if (host !== undefined) this.#perHost.add(host);
  }

  /** Checks that the views agree. For tests. */
  check(found: Found): void {
    this.#parked?.check(found);
    for (const table of [this.#idle.vouched, this.#idle.others]) table.check(found);
    for (const [clientId, session] of this.#byClientId) {
      if (session.clientId !== clientId) found(`client ${session.clientId} stands in the table as ${clientId}`);
      if (this.#byRow[session.row] !== session) found(`client ${clientId} has another row than the table says`);
      if (session.isParked || this.#parked?.has(session.row)) found(`client ${clientId} is parked, and it is not`);
      if (session.peer !== undefined && this.#byPeer.get(session.peer) !== session)
        found(`client ${clientId} is at ${session.peer}, and the table of addresses says otherwise`);
      if (isIdle(session) !== (this.#idle.vouched.has(session) || this.#idle.others.has(session)))
        found(
          `client ${clientId} is ${session.state}, and ${isIdle(session) ? "not " : ""}among those without a client`,
        );
    }
    for (const [peer, session] of this.#byPeer) {
      if (session.peer !== peer) found(`${peer} stands for client ${session.clientId}, which is at ${session.peer}`);
      if (!this.isCurrent(session)) found(`${peer} stands for a session of client ${session.clientId} that is over`);
    }
    this.#checkCounts(found);
    for (const session of this.#silent)
      if (!this.isCurrent(session) || session.spoke || session.vouched)
        found(`client ${session.clientId} is over, or has spoken, and stands among the silent`);
    for (const session of [...this.#idle.vouched.all(), ...this.#idle.others.all()])
      if (!this.isCurrent(session))
        found(`a session of client ${session.clientId} that is over is among those without a client`);
  }

  #checkCounts(found: Found): void {
    const states: Record<string, number> = {};
    const hosts: string[] = [];
    let sessions = 0;
    for (const { state, host } of this.each()) {
      sessions++;
      states[state] = (states[state] ?? 0) + 1;
      if (host !== undefined) hosts.push(host);
    }
    if (sessions !== this.size) found(`${sessions} rows have a session, and ${this.size} are counted`);
    if (this.#freeRows.length + sessions !== this.#byRow.length)
      found(`of ${this.#byRow.length} rows ${sessions} have a session, and ${this.#freeRows.length} are free`);
    for (const [state, count] of Object.entries(this.#byState))
      if ((states[state] ?? 0) !== count)
        found(`${states[state] ?? 0} sessions are ${state}, and ${count} are counted`);
    this.#perHost.check(hosts, found);
  }
}

/**
 * Rounds the times at which sessions are parked, so that many sessions share one time, unless they are parked at once.
 */
function inSteps(at: Instant, parkAfterMs: number): Instant {
  return parkAfterMs < parkStepMs ? at : Math.ceil(at / parkStepMs) * parkStepMs;
}

/** Nothing is open for the session. */
function isFree({ pendingConnect, willPending, awaitsForwarding }: Session): boolean {
  return !pendingConnect && !willPending && !awaitsForwarding;
}

function isIdle({ state }: Session): boolean {
  return state === "disconnected" || state === "lost";
}
