/**
 * Limits the log lines about clients that come and go. The first few in a minute have a line each; one line a minute
 * tells the number of all others. So a gateway with two thousand devices that sleep, wake and move does not fill the
 * journal with normal events. At the level debug each client has a line.
 */
import type { GatewayEvent } from "../core/event.ts";

const minuteMs = 60_000;
/** The number of lines in a minute; further events are only counted. */
export const namedMax = 20;

const words = {
  active: "connected",
  disconnected: "left",
  lost: "were lost",
  moved: "came back from another address",
} as const;
type Kind = keyof typeof words;

/** Calls once after so many milliseconds, without keeping the process alive. */
export type After = (ms: number, call: () => void) => void;

export class ComingsAndGoings {
  readonly #say: (say: string, counts: Readonly<Record<string, number>>) => void;
  readonly #after: After;
  #named = 0;
  #isCounting = false;
  #counts = new Map<Kind, number>();

  constructor(say: (say: string, counts: Readonly<Record<string, number>>) => void, after: After = unrefTimeout) {
    this.#say = say;
    this.#after = after;
  }

  /** False: the event is counted, and gets no log line. */
  hasLine(event: GatewayEvent): boolean {
    const kind = kindOf(event);
    if (kind === undefined) return true;
    if (!this.#isCounting) {
      this.#isCounting = true;
      this.#after(minuteMs, () => this.#endMinute());
    }
    if (this.#named < namedMax) {
      this.#named++;
      return true;
    }
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    return false;
  }

  #endMinute(): void {
    const counts = this.#counts;
    this.#counts = new Map();
    this.#named = 0;
    this.#isCounting = false;
    if (counts.size === 0) return;
    const what = [...counts].map(([kind, count]) => `${count} ${words[kind]}`).join(", ");
    const say = `clients in the last minute, besides the ${namedMax} above: ${what} (log.level "debug" names each)`;
    this.#say(say, Object.fromEntries(counts));
  }
}

function kindOf(event: GatewayEvent): Kind | undefined {
  if (event.event === "client_moved") return "moved";
  if (event.event !== "client_state") return undefined;
  const { state } = event;
  return state === "active" || state === "disconnected" || state === "lost" ? state : undefined;
}

function unrefTimeout(ms: number, call: () => void): void {
  setTimeout(call, ms).unref();
}
