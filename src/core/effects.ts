/** Collects what one turn of the core asks for. */
import type { Message } from "../wire/v12/messages.ts";
import type { Counters } from "./counters.ts";
import type { Effect } from "./effect.ts";
import type { GatewayEvent } from "./event.ts";
import type { CommitToken, PeerId } from "./types.ts";

export class Effects {
  #list: Effect[] = [];
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  send(to: PeerId, message: Message, after?: CommitToken): void {
    this.#counters.countSent(message.type);
    this.#list.push(after === undefined ? { kind: "send", to, message } : { kind: "send", to, message, after });
  }

  /** After the last word to a client that sleeps or left. A forwarder's link serves others too. */
  letGo(peer: PeerId): void {
    if (!peer.includes("#")) this.#list.push({ kind: "letGo", peer });
  }

  report(event: GatewayEvent): void {
    this.#list.push({ kind: "report", event });
  }

  add(effect: Effect): void {
    this.#list.push(effect);
  }

  /** What was collected; starts anew. `behind`: what it says waits for this commit. */
  take(behind: CommitToken | undefined): readonly Effect[] {
    const list = this.#list;
    if (list.length === 0) return list;
    this.#list = [];
    return behind === undefined ? list : list.map((effect) => bound(effect, behind));
  }
}

function bound(effect: Effect, behind: CommitToken): Effect {
  switch (effect.kind) {
    case "send":
    case "publish":
    case "release":
    case "ackBroker":
      return effect.after === undefined ? { ...effect, behind } : effect;
    default:
      return effect;
  }
}
