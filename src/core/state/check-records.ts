/**
 * Checks that a restart would read the session as it is now. Each change must be marked in the turn that makes it. A
 * forgotten mark has no effect until the power fails, so nothing else would find it.
 */
import type { Found } from "../assert.ts";
import type { Effect } from "../effect.ts";
import type { Input } from "../input.ts";
import { sameBytes } from "../octets.ts";
import type { SessionRecord, StoredState, TopicRecord } from "../record.ts";
import type { Session } from "./session.ts";

/**
 * Fields that are not written at once: the will at the broker is sent again, the messages that a client was shown may
 * be a little older, and the next topic id is always above the existing ones.
 */
const unread: ReadonlySet<string> = new Set(["brokerWill", "shown", "nextTopicId"]);

export class WrittenRecords {
  /** For each client id: the record that was to be stored last. */
  readonly #last = new Map<string, SessionRecord>();
  /** Clients whose record was read or stored, even if it was removed since. */
  readonly #seen = new Set<string>();

  /** Notes the records that this turn has read, or has asked to store. */
  note({ input, effects }: { readonly input: Input | undefined; readonly effects: readonly Effect[] }): void {
    for (const { session, topics = [] } of statesIn(input)) {
      // A slice may have been read before the client was needed, so it may be out of date.
      if (this.#seen.has(session.clientId)) continue;
      this.#seen.add(session.clientId);
      const own = topics.map(([id, topic]) => ({ id, ...topic }));
      this.#last.set(session.clientId, { ...session, topics: [...session.topics, ...own] });
    }
    for (const effect of effects) if (effect.kind === "persist") this.#note(effect);
  }

  compare(session: Session, recordOf: (session: Session) => SessionRecord, found: Found): void {
    if (session.pendingConnect) return; // its CONNECT has no answer yet, and may fail
    const { clientId } = session;
    const last = this.#last.get(clientId);
    if (!last) return found(`client ${clientId}: its session is not stored`);
    const now = recordOf(session);
    if (isSame(last, now)) return;
    const [before, after] = [inOrder(last), inOrder(now)];
    if (isSame(before, after)) return;
    const names = Object.keys({ ...last, ...now }) as (keyof SessionRecord)[];
    for (const name of names.filter((name) => !unread.has(name) && !isSame(before[name], after[name])))
      found(`client ${clientId}: "${name}" of its session changed, and it was not marked to be stored`);
  }

  #note({ changes }: Extract<Effect, { kind: "persist" }>): void {
    for (const { of, clientId, id, record } of changes) {
      if (of === "topic") this.#noteTopic(clientId, id, record);
      if (of !== "session") continue;
      this.#seen.add(clientId);
      if (record) this.#last.set(clientId, { ...record, topics: this.#last.get(clientId)?.topics ?? [] });
      else this.#last.delete(clientId);
    }
  }

  #noteTopic(clientId: string, id: number, record: TopicRecord | undefined): void {
    const last = this.#last.get(clientId);
    if (!last) return;
    const topics = last.topics.filter((topic) => topic.id !== id);
    if (record) topics.push({ id, ...record });
    this.#last.set(clientId, { ...last, topics });
  }
}

function statesIn(input: Input | undefined): readonly StoredState[] {
  if (input?.kind === "loaded") return input.state ? [input.state] : [];
  return input?.kind === "restored" ? (input.states ?? []) : [];
}

function inOrder(record: SessionRecord): SessionRecord {
  return { ...record, topics: [...record.topics].sort((a, b) => a.id - b.id) };
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isTable(a) || !isTable(b)) return false;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return sameBytes(a, b);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((each, i) => isSame(each, b[i]));
  for (const name in a) if (a[name] !== b[name] && !unread.has(name) && !isSame(a[name], b[name])) return false;
  for (const name in b) if (!(name in a) && !unread.has(name)) return false;
  return true;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
