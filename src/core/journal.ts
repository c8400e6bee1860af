/**
 * Collects everything that must survive a crash, in one commit per turn. A datagram by itself writes nothing: a session
 * is marked, and written once at the end of the turn. A buffered message is written when the gateway takes custody of
 * it.
 *
 * If nothing can survive (`durable: false`), all of this does nothing, and promises do not wait.
 */
import type { Effects } from "./effects.ts";
import type { Change, QueuedRecord, SessionRecord, TopicRecord } from "./record.ts";
import type { CommitToken } from "./types.ts";

/** The part of a session that the journal needs. */
interface Recordable {
  readonly clientId: string;
  /** The topics of the session; each has a record of its own. */
  readonly registry?: {
    takeChanged(): readonly (readonly [id: number, record: TopicRecord | undefined])[];
    storedIds(): ReadonlySet<number>;
  };
}

interface Marked {
  readonly session: Recordable;
  readonly record: () => SessionRecord;
}

export class Journal {
  readonly enabled: boolean;
  readonly #out: Effects;
  #lastToken: CommitToken = 0;
  #open = false;
  /** Something of this turn must be on disk before the turn's effects leave. */
  #binding = false;
  #changes: Change[] = [];
  readonly #marked = new Map<string, Marked>();
  readonly #noted = new Map<string, Marked>();
  /** Sessions of which only topics have changed. `isBinding`: an effect waits for the change. */
  readonly #topical = new Map<string, { readonly session: Recordable; isBinding: boolean }>();
  /** The functions that withdraw what was promised on a commit, in case it fails. */
  readonly #undo = new Map<CommitToken, (() => void)[]>();
  #lastSeq = 0;
  #touched = false;

  constructor(enabled: boolean, out: Effects) {
    this.enabled = enabled;
    this.#out = out;
  }

  /** The session changed; it is written at the end of the turn. */
  mark(session: Recordable, record: () => SessionRecord): void {
    if (this.enabled) this.#marked.set(session.clientId, { session, record });
  }

  /** The session has changed, but nothing waits for the change. It is written with this turn nevertheless. */
  note(session: Recordable, record: () => SessionRecord): void {
    if (this.enabled && !this.#marked.has(session.clientId)) this.#noted.set(session.clientId, { session, record });
  }

  /** Whether something of this client is to be written at the end of this turn. */
  isMarked(clientId: string): boolean {
    return this.#marked.has(clientId) || this.#noted.has(clientId) || this.#topical.has(clientId);
  }

  /** Only topics of the session have changed. */
  markTopics(session: Recordable): void {
    if (this.enabled) this.#topical.set(session.clientId, { session, isBinding: true });
  }

  /** Only topics of the session have changed, and nothing waits for the change. */
  noteTopics(session: Recordable): void {
    if (this.enabled && !this.#topical.has(session.clientId))
      this.#topical.set(session.clientId, { session, isBinding: false });
  }

  /** The session has ended. */
  forget({ clientId, registry }: Recordable): void {
    if (!this.enabled) return;
    this.#marked.delete(clientId);
    this.#noted.delete(clientId);
    this.#topical.delete(clientId);
    for (const id of registry?.storedIds() ?? []) this.#changes.push({ of: "topic", clientId, id, record: undefined });
    this.#changes.push({ of: "session", clientId, id: 0, record: undefined });
  }

  /**
   * Stores a message of which the gateway takes custody. Returns its number, and the commit that a promise must wait
   * for.
   */
  keep(clientId: string, seq: number, record: QueuedRecord): { seq: number; after: CommitToken | undefined } {
    if (!this.enabled) return { seq: 0, after: undefined };
    const id = seq || ++this.#lastSeq;
    return { seq: id, after: this.put({ of: "queued", clientId, id, record }) };
  }

  /** A stored message is not needed any more. */
  drop(clientId: string, seq: number): void {
    if (seq > 0) this.remove({ of: "queued", clientId, id: seq, record: undefined });
  }

  /**
   * Writes a change that must be on disk before any effect of this turn leaves. A deletion may be such a change too.
   */
  put(change: Change): CommitToken | undefined {
    if (!this.enabled) return undefined;
    this.#binding = true;
    this.#changes.push(change);
    return this.#token();
  }

  /** Removes a record that is not needed any more. If it comes back after a crash, it is recognized. */
  remove(change: Change): void {
    if (this.enabled) this.#changes.push(change);
  }

  /** This turn ends with a commit, which may be empty. */
  touch(): void {
    this.#touched = this.enabled;
  }

  /** Writes a change that may be useful later and that nothing waits for. */
  remember(change: Change): void {
    if (this.enabled) this.#changes.push(change);
  }

  /** Numbers of stored messages continue above this one (after a restart). */
  startAbove(seq: number): void {
    this.#lastSeq = Math.max(this.#lastSeq, seq);
  }

  /** `undo` withdraws what was promised on this commit, if it fails. */
  promised(after: CommitToken, undo: () => void): void {
    const list = this.#undo.get(after);
    if (list) list.push(undo);
    else this.#undo.set(after, [undo]);
  }

  /** The commit is done or has failed. Returns the functions that withdraw what was promised on it. */
  settle(token: CommitToken): readonly (() => void)[] {
    const list = this.#undo.get(token) ?? [];
    this.#undo.delete(token);
    return list;
  }

  /**
   * The end of the turn: everything collected leaves as one commit. Returns the commit that the effects of the turn
   * have to wait for, if it contains a change that must be on disk first.
   */
  flush(): CommitToken | undefined {
    if (!this.enabled) return undefined;
    if (this.#marked.size > 0) this.#flushMarked();
    if (this.#noted.size > 0) this.#flushNoted();
    if (this.#topical.size > 0) this.#flushTopical();
    if (this.#changes.length === 0 && !this.#touched) return undefined;
    this.#touched = false;
    const token = this.#token();
    const binding = this.#binding;
    this.#open = false;
    this.#binding = false;
    this.#out.add({ kind: "persist", changes: this.#changes, token });
    this.#changes = [];
    return binding ? token : undefined;
  }

  /** The last commit that was requested, or is about to be. */
  get lastCommit(): CommitToken {
    return this.#lastToken;
  }

  #flushMarked(): void {
    for (const [clientId, { session, record }] of this.#marked) {
      this.put({ of: "session", clientId, id: 0, record: record() });
      this.#topics(session, true);
      this.#noted.delete(clientId);
    }
    this.#marked.clear(); // makes a new table, also of an empty one
  }

  #flushNoted(): void {
    for (const [clientId, { session, record }] of this.#noted) {
      this.remember({ of: "session", clientId, id: 0, record: record() });
      this.#topics(session, false);
    }
    this.#noted.clear();
  }

  #flushTopical(): void {
    for (const { session, isBinding } of this.#topical.values()) this.#topics(session, isBinding);
    this.#topical.clear();
  }

  #topics({ clientId, registry }: Recordable, isBinding: boolean): void {
    for (const [id, record] of registry?.takeChanged() ?? []) {
      const change = { of: "topic", clientId, id, record } as const;
      if (isBinding && record) this.put(change);
      else this.remember(change);
    }
  }

  /** The token of this turn's commit. */
  #token(): CommitToken {
    if (!this.#open) {
      this.#open = true;
      this.#lastToken++;
    }
    return this.#lastToken;
  }
}
