/** How long sleepers are awake: from their PINGREQ to PINGRESP, or until they are given up. [MQTT-SN 1.2 §6.14] */
import type { GatewayEvent } from "../core/event.ts";
import { Durations } from "../durations.ts";

export class Wakings {
  readonly durations = new Durations();
  /** Since when; clients that are awake now. */
  readonly #awake = new Map<string, number>();
  readonly #now: () => number;

  /** `now` in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  see(event: GatewayEvent): void {
    if (event.event === "session_ended") this.#awake.delete(event.clientId);
    if (event.event !== "client_state") return;
    const { clientId, state } = event;
    const since = this.#awake.get(clientId);
    if (state === "awake") this.#awake.set(clientId, since ?? this.#now());
    else if (since !== undefined) {
      this.#awake.delete(clientId);
      this.durations.add((this.#now() - since) / 1_000);
    }
  }
}
