/**
 * Is what a restart would read of a session what it is now? What changed must be marked in the turn that changed it, and
 * a mark that is forgotten costs nothing until the power fails.
 */
import type { Found } from "../assert.ts";
import type { Effect } from "../effect.ts";
import type { Input } from "../input.ts";
import { sameBytes } from "../octets.ts";
import type { SessionRecord } from "../record.ts";
import type { Session } from "./session.ts";
import type { SessionTable } from "./session-table.ts";

/** A restart reads neither: it tells each client its topic ids again, and asks for the will of the session. */
const unread: ReadonlySet<string> = new Set(["known", "brokerWill", "shown"]);

export class WrittenRecords {
  /** By client id, what was asked to be stored last. */
  readonly #last = new Map<string, SessionRecord>();

  /** What this turn asked to be stored, or read. */
  note(
    sessions: SessionTable,
    { input, effects }: { readonly input: Input | undefined; readonly effects: readonly Effect[] },
    recordOf: (session: Session) => SessionRecord,
  ): void {
    for (const effect of effects) if (effect.kind === "persist") this.#note(effect);
    if (input?.kind !== "restored") return;
    for (const session of sessions.all())
      if (!this.#last.has(session.clientId)) this.#last.set(session.clientId, recordOf(session));
  }

  compare(session: Session, recordOf: (session: Session) => SessionRecord, found: Found): void {
    if (session.setup) return; // its CONNECT is not answered: it may come to nothing
    const { clientId } = session;
    const last = this.#last.get(clientId);
    if (!last) return found(`client ${clientId}: its session is not stored`);
    const now = recordOf(session);
    if (isSame(last, now)) return;
    const names = Object.keys({ ...last, ...now }) as (keyof SessionRecord)[];
    for (const name of names.filter((name) => !unread.has(name) && !isSame(last[name], now[name])))
      found(`client ${clientId}: "${name}" of its session changed, and it was not marked to be stored`);
  }

  #note({ changes }: Extract<Effect, { kind: "persist" }>): void {
    for (const change of changes) {
      if (change.of !== "session") continue;
      if (change.record) this.#last.set(change.clientId, change.record);
      else this.#last.delete(change.clientId);
    }
  }
}

function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isTable(a) || !isTable(b)) return false;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return sameBytes(a, b);
  for (const name in a) if (a[name] !== b[name] && !unread.has(name) && !isSame(a[name], b[name])) return false;
  for (const name in b) if (!(name in a) && !unread.has(name)) return false;
  return true;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
