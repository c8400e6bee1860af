/** Collects the effects of one turn. */
import type { Counters } from "./counters.ts";
import type { Effect } from "./effect.ts";
import type { GatewayEvent } from "./event.ts";
import { forwardedNodeOf } from "./peer-id.ts";
import type { Speech } from "./speech.ts";
import type { CommitToken, PeerId } from "./types.ts";
import type { ToClient } from "./words.ts";

export class Effects {
  #list: Effect[] = [];
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  send(dialect: Speech, to: PeerId, message: ToClient, after?: CommitToken): void {
    this.#counters.countSent(message.type);
    this.#list.push(
      after === undefined ? { kind: "send", dialect, to, message } : { kind: "send", dialect, to, message, after },
    );
  }

  /**
   * Called after the last message to a client that sleeps or has left. A forwarder's link stays, because it serves
   * others too.
   */
  releaseLink(peer: PeerId): void {
    if (!forwardedNodeOf(peer)) this.#list.push({ kind: "releaseLink", peer });
  }

  report(event: GatewayEvent): void {
    this.#list.push({ kind: "report", event });
  }

  add(effect: Effect): void {
    this.#list.push(effect);
  }

  /** Returns the effects and empties the list. `behind`: the commit for which the answers wait. */
  take(behind: CommitToken | undefined): readonly Effect[] {
    const list = this.#list;
    if (list.length === 0) return list;
    this.#list = [];
    if (behind !== undefined) for (const effect of list) bind(effect, behind);
    return list;
  }
}

function bind(effect: Effect, behind: CommitToken): void {
  switch (effect.kind) {
    case "send":
    case "publish":
    case "release":
    case "ackBroker":
      // The property is set on the effect itself. A copy with one more property would need its own hidden class in V8.
      if (effect.after === undefined) effect.behind = behind;
  }
}
