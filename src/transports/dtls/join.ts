/**
 * Carries out the effects of the DTLS server, and keeps its one timer. Nothing here waits, so the simulation can run
 * this file, too.
 */
import type { Begun, SecureEffect, SecureInput } from "../../secure/messages.ts";
import type { SecureServer } from "../../secure/server.ts";
import type { Timers } from "../timers.ts";
import type { SecureKeeper } from "../transport.ts";

export interface JoinEdges {
  transmit(address: string, bytes: Uint8Array): void;
  deliver(identity: string, bytes: Uint8Array, isNewest: boolean): void;
  /** Calls `done` with the key: immediately if it is known, otherwise when the program has answered. */
  ask(identity: string, done: (key: Uint8Array | undefined) => void): void;
  keep: SecureKeeper["keep"];
  /** Hands a handshake over to another gateway. Absent: the server continues all of them. */
  handOver?(identity: string, begun: Begun): void;
  /** Reports an effect that an operator may want to know. */
  say(effect: Extract<SecureEffect, { kind: "opened" | "closed" | "badKey" | "badCertificate" }>): void;
}

/** Node's timers fire immediately if the delay is more than some weeks, so a longer wait is done in parts. */
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

  /** Gives the state that is only in memory to the store. After that, no input is handled. */
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
        return this.#edges.deliver(effect.identity, effect.bytes, effect.isNewest);
      case "named":
        return this.#edges.handOver?.(effect.identity, effect.begun);
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
