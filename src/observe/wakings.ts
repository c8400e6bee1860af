/**
 * Measures how long sleeping clients are awake: from their PINGREQ to PINGRESP, or until they are given up.
 * [MQTT-SN 1.2 §6.14]
 */
import type { GatewayEvent } from "../core/event.ts";
import { Durations } from "../durations.ts";

/**
 * Limits: wake-ups that are remembered for a client, and clients with remembered wake-ups. Beyond the second, the
 * client with the oldest wake-up is forgotten.
 */
const recentMax = 24;
const clientsMax = 5_000;

interface Waking {
  /** The time when the waking ended. */
  readonly at: number;
  readonly awakeSeconds: number;
}

export class Wakings {
  readonly durations = new Durations();
  /** The clients that are awake now, and since when. */
  readonly #awake = new Map<string, number>();
  readonly #recent = new Map<string, Waking[]>();
  readonly #now: () => number;

  /** `now` in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The wake-ups of this client, the newest last. */
  of(clientId: string): readonly { readonly secondsAgo: number; readonly awakeSeconds: number }[] {
    const now = this.#now();
    const wakings = this.#recent.get(clientId) ?? [];
    return wakings.map(({ at, awakeSeconds }) => ({ secondsAgo: (now - at) / 1_000, awakeSeconds }));
  }

  see(event: GatewayEvent): void {
    if (event.event === "session_ended") {
      this.#awake.delete(event.clientId);
      this.#recent.delete(event.clientId);
    }
    if (event.event !== "client_state") return;
    const { clientId, state } = event;
    const since = this.#awake.get(clientId);
    if (state === "awake") this.#awake.set(clientId, since ?? this.#now());
    else if (since !== undefined) {
      this.#awake.delete(clientId);
      const awakeSeconds = (this.#now() - since) / 1_000;
      this.durations.add(awakeSeconds);
      this.#remember(clientId, { at: this.#now(), awakeSeconds });
    }
  }

  #remember(clientId: string, waking: Waking): void {
    const wakings = this.#recent.get(clientId) ?? [];
    wakings.push(waking);
    if (wakings.length > recentMax) wakings.shift();
    this.#recent.delete(clientId);
    this.#recent.set(clientId, wakings);
    const oldest = this.#recent.keys().next();
    if (this.#recent.size > clientsMax && !oldest.done) this.#recent.delete(oldest.value);
  }
}
