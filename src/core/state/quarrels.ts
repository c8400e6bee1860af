/**
 * Two devices use one client id: each CONNECT takes the session from the other device, many times a second, and neither
 * device is served.
 *
 * A device that comes back from another address (another port after its reset, another network) does so once, or a few
 * times in a bad network. So some takeovers a minute are allowed. After that the device that has the session keeps it,
 * and CONNECTs from elsewhere get "congestion". At the end of the pause the gateway looks whether the device with the
 * session has sent anything meanwhile. If it has not, it is gone, and the new device is accepted. If it has, both
 * devices are there, and the pause doubles.
 */
import type { Instant } from "../types.ts";

const takeoversMax = 3;
const windowMs = 60_000;
const firstPauseMs = 2_000;
const pauseMaxMs = 300_000;
/** Limit of client ids that are remembered. Beyond it the oldest is forgotten. */
const rememberedMax = 1_000;

interface Quarrel {
  /** Takeovers since `since`. */
  takeovers: number;
  since: Instant;
  /** 0 = no CONNECT is refused. */
  pauseMs: number;
  until: Instant;
}

export type Verdict = "let in" | "put off" | "put off, and that is news";

export class Quarrels {
  readonly #byClientId = new Map<string, Quarrel>();

  /** Decides about a CONNECT from another address as this client, which is active and was last heard at `lastHeard`. */
  judge(clientId: string, { lastHeard, now }: { lastHeard: Instant; now: Instant }): Verdict {
    const quarrel = this.#of(clientId, now);
    if (quarrel.pauseMs > 0) {
      if (now < quarrel.until) return "put off";
      if (lastHeard >= quarrel.until - quarrel.pauseMs) return this.#putOff(quarrel, now, 2 * quarrel.pauseMs);
      this.#byClientId.delete(clientId); // the device that had the session has gone
      return "let in";
    }
    if (quarrel.takeovers >= takeoversMax) return this.#putOff(quarrel, now, firstPauseMs);
    quarrel.takeovers++;
    return "let in";
  }

  #of(clientId: string, now: Instant): Quarrel {
    const known = this.#byClientId.get(clientId);
    const isOver = known && now >= Math.max(known.since + windowMs, known.until + windowMs);
    if (known && !isOver) return known;
    const quarrel: Quarrel = { takeovers: 0, since: now, pauseMs: 0, until: Number.NEGATIVE_INFINITY };
    this.#byClientId.delete(clientId);
    this.#byClientId.set(clientId, quarrel);
    if (this.#byClientId.size > rememberedMax) {
      const oldest = this.#byClientId.keys().next();
      if (!oldest.done) this.#byClientId.delete(oldest.value);
    }
    return quarrel;
  }

  #putOff(quarrel: Quarrel, now: Instant, pauseMs: number): Verdict {
    quarrel.pauseMs = Math.min(pauseMs, pauseMaxMs);
    quarrel.until = now + quarrel.pauseMs;
    return "put off, and that is news";
  }
}
