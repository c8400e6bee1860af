/**
 * Does what the DTLS server asks for, and keeps its one timer. Nothing here waits: so the simulation runs this file, too.
 */
import type { SecureEffect, SecureInput } from "../../secure/messages.ts";
import type { SecureServer } from "../../secure/server.ts";
import type { Timers } from "../timers.ts";
import type { SecureKeeper } from "../transport.ts";

export interface JoinEdges {
  transmit(address: string, bytes: Uint8Array): void;
  deliver(identity: string, bytes: Uint8Array): void;
  /** Calls back, at once where the keys are at hand. */
  ask(identity: string, done: (key: Uint8Array | undefined) => void): void;
  keep: SecureKeeper["keep"];
  /** What an operator may want to know. */
  say(effect: Extract<SecureEffect, { kind: "opened" | "closed" | "badKey" | "badCertificate" }>): void;
}

/** A timer of more than some weeks would be due at once. */
const waitMaxMs = 86_400_000;

export class DtlsJoin {
  readonly #server: SecureServer;
  readonly #timers: Pick<Timers, "now" | "after">;
  readonly #edges: JoinEdges;
  #armed: { readonly at: number; readonly cancel: () => void } | undefined;
  #closed = false;

  constructor(server: SecureServer, timers: Pick<Timers, "now" | "after">, edges: JoinEdges) {
    this.#server = server;
    this.#timers = timers;
    this.#edges = edges;
  }

  handle(input: SecureInput): void {
    if (this.#closed) return;
    for (const effect of this.#server.handle(input, this.#timers.now())) this.#perform(effect);
    this.#arm();
  }

  /** What is only in memory is given to the store; nothing is handled any more. */
  close(): void {
    this.handle({ kind: "stop" });
    this.#closed = true;
    this.#armed?.cancel();
  }

  #perform(effect: SecureEffect): void {
    switch (effect.kind) {
      case "transmit":
        return this.#edges.transmit(effect.address, effect.bytes);
      case "deliver":
        return this.#edges.deliver(effect.identity, effect.bytes);
      case "askKey": {
        const { token } = effect;
        return this.#edges.ask(effect.identity, (key) => this.handle({ kind: "key", token, key }));
      }
      case "persist": {
        const { token } = effect;
        return this.#edges.keep(effect.changes, (ok) => this.handle({ kind: "persisted", token, ok }));
      }
      default:
        return this.#edges.say(effect);
    }
  }

  #arm(): void {
    const at = this.#server.nextDeadline();
    if (at === undefined || (this.#armed && this.#armed.at <= at)) return;
    this.#armed?.cancel();
    const wait = Math.min(Math.max(0, at - this.#timers.now()), waitMaxMs);
    const cancel = this.#timers.after(wait, () => {
      this.#armed = undefined;
      this.handle({ kind: "timeout" });
    });
    this.#armed = { at, cancel };
  }
}
