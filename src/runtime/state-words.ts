/**
 * The state of a client in a few words, with its cause: "asleep, due in 4 min", "lost: keep alive ran out, 3 h ago". A pure function
 * without imports, so that the console's page can use the same words and update them while time passes.
 */

export interface StateFacts {
  readonly state: "active" | "asleep" | "awake" | "disconnected" | "lost";
  readonly why: string;
  /** Seconds in this state; undefined: since an earlier run of the gateway. */
  readonly stateSeconds?: number | undefined;
  readonly secondsSilent: number;
  /** 0: the client need not send anything. */
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
}

export interface StateWords {
  readonly says: string;
  /** The client is overdue: it should have sent something by now. */
  readonly isLate: boolean;
  /** Seconds until the client must send something; negative: it is overdue; undefined: no message is expected. */
  readonly dueSeconds: number | undefined;
}

export function stateInWords(facts: StateFacts): StateWords {
  const dueSeconds = secondsUntilDue(facts);
  const isLate = dueSeconds !== undefined && dueSeconds < 0;
  return { says: sentence(facts, dueSeconds), isLate, dueSeconds };
}

/** "12 s", "4 min", "3 h", "2 d": the largest unit that is still precise enough. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return `${whole} s`;
  if (whole < 100 * 60) return `${Math.round(whole / 60)} min`;
  if (whole < 48 * 3_600) return `${Math.round(whole / 3_600)} h`;
  return `${Math.round(whole / 86_400)} d`;
}

export interface TrafficOfADay {
  readonly date: string;
  readonly in: number;
  readonly out: number;
}

/** To and from a broker on the last two days on which there was anything: "2026-11-29: 12345 octets out, 678 in; 2026-11-28: …". */
export function trafficWords(days: readonly TrafficOfADay[]): string {
  return days
    .slice(0, 2)
    .map((day) => `${day.date}: ${day.out} octets out, ${day.in} in`)
    .join("; ");
}

function secondsUntilDue({ state, secondsSilent, keepAliveSeconds, sleepSeconds }: StateFacts): number | undefined {
  switch (state) {
    case "active":
      return keepAliveSeconds > 0 ? keepAliveSeconds - secondsSilent : undefined;
    case "asleep":
      return sleepSeconds - secondsSilent;
    default:
      return undefined;
  }
}

function sentence(facts: StateFacts, dueSeconds: number | undefined): string {
  const { state, why, stateSeconds, secondsSilent } = facts;
  const since = stateSeconds === undefined ? "since before the gateway started" : `${duration(stateSeconds)} ago`;
  const cause = why === "" ? "" : `: ${why}`;
  if (dueSeconds !== undefined && dueSeconds < 0) {
    const what = state === "asleep" ? "should have woken" : "should have spoken";
    return `late by ${duration(-dueSeconds)}: it ${what}`;
  }
  switch (state) {
    case "active":
      return `active, heard ${duration(secondsSilent)} ago`;
    case "asleep":
      return `asleep, due in ${duration(dueSeconds ?? 0)}`;
    case "awake":
      return "awake, fetching its messages";
    case "disconnected":
      return why === "DISCONNECT" ? `disconnected, ${since}` : `disconnected${cause}, ${since}`;
    case "lost":
      return `lost${cause}, ${since}`;
  }
}

export interface HandoverFacts {
  /** "" = none. */
  readonly owner: string;
  readonly epoch: number;
  readonly handover?:
    | { readonly from: string; readonly cause: keyof typeof causeWords; readonly secondsAgo: number }
    | undefined;
}

/** Describes how the lease passed to its holder. */
export function handoverWords({ owner, epoch, handover }: HandoverFacts): string {
  const who = owner === "" ? "" : ` to ${owner}`;
  if (!handover) return `epoch ${epoch}; how it came${who} is not known`;
  const { from, cause, secondsAgo } = handover;
  const whence = from === "" ? "" : ` from ${from}`;
  return `epoch ${epoch}, ${duration(Math.floor(secondsAgo))} ago${whence}${who}: ${causeWords[cause]}`;
}

const causeWords = {
  first: "no gateway was active before",
  drained: "it was drained",
  ended: "it ended in order",
  silent: "it did not renew the lease",
} as const;
