/**
 * What orchestrators ask. /livez: shall this process be started again? /readyz: does it serve devices? /healthz: is all
 * well, each upstream by name? A gateway whose broker is away is alive and ready: it keeps what devices say.
 */
import { performance } from "node:perf_hooks";

/** If the event loop is late by so much, devices are not answered in time. */
const lateMsMax = 5_000;
/** A commit is not answered for so long: the disk hangs, and with it every device that needs it. */
const commitSecondsMax = 60;

export interface HealthSources {
  /** How long the oldest commit waits for the store, in seconds. */
  commitWaitsSeconds(): number;
  storeFails(): boolean;
  /** Transports are open, and the gateway does not end. */
  serves(): boolean;
}

interface Verdict {
  readonly ok: boolean;
  readonly [fact: string]: unknown;
}

/** undefined: it is no question of this kind. */
export async function probeHealth(
  path: string,
  sources: HealthSources,
  lateMs: () => Promise<number> = eventLoopLateMs,
): Promise<Verdict | undefined> {
  if (path === "/readyz") {
    const { serves, storeFails } = { serves: sources.serves(), storeFails: sources.storeFails() };
    return { ok: serves && !storeFails, serves, store: storeFails ? "failing" : "ok" };
  }
  if (path !== "/livez") return undefined;
  const late = await lateMs();
  const waits = sources.commitWaitsSeconds();
  return {
    ok: late <= lateMsMax && waits <= commitSecondsMax,
    eventLoopLateMs: Math.round(late),
    commitWaitsSeconds: Math.round(waits),
  };
}

/** How late a timer comes, that is due at once. */
function eventLoopLateMs(): Promise<number> {
  const from = performance.now();
  return new Promise((resolve) => setTimeout(() => resolve(performance.now() - from), 0));
}
