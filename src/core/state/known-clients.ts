/**
 * Clients that the broker has accepted, in this run or an earlier one, the oldest first. They may connect while the
 * broker is away.
 */
import type { Journal } from "../journal.ts";

/** Limit. Beyond it the oldest client is forgotten. */
const knownMax = 100_000;

export class KnownClients {
  readonly #clientIds = new Set<string>();
  readonly #journal: Journal;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  has(clientId: string): boolean {
    return this.#clientIds.has(clientId);
  }

  /** Notes that the broker has accepted this client. Without a durable store nothing is noted. */
  note(clientId: string): void {
    if (!this.#journal.enabled || this.#clientIds.has(clientId)) return;
    this.#clientIds.add(clientId);
    this.#journal.remember({ of: "known", clientId, id: 0, record: {} });
    const oldest = this.#clientIds.size > knownMax ? this.#clientIds.values().next() : undefined;
    if (oldest && !oldest.done) this.forget(oldest.value);
  }

  /** The broker does not accept this client any more. */
  forget(clientId: string): void {
    if (this.#clientIds.delete(clientId)) this.#journal.remove({ of: "known", clientId, id: 0, record: undefined });
  }

  /** Restores a client of an earlier run. */
  restore(clientId: string): void {
    this.#clientIds.add(clientId);
  }
}
