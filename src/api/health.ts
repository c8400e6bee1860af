/**
 * Answers for orchestrators. /livez: must the process be restarted? /readyz: does it serve devices? /healthz: does
 * everything work, each upstream by name? A gateway without its broker is alive and ready, because it stores the
 * messages of devices.
 */
import { performance } from "node:perf_hooks";

/** If the event loop is late by more than this, devices are not answered in time. */
const lateMsMax = 5_000;
/** If a commit takes longer than this, the disk hangs, and no device that needs it is served. */
const commitSecondsMax = 60;

export interface HealthSources {
  /** How long the oldest commit waits for the store, in seconds. */
  commitWaitsSeconds(): number;
  storeFails(): boolean;
  /** True if the transports are open, and the gateway does not end. */
  serves(): boolean;
}

interface Verdict {
  readonly ok: boolean;
  readonly [fact: string]: unknown;
}

/** Undefined: the path is not a health probe. */
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

/** Milliseconds by which an immediate timer is late. */
function eventLoopLateMs(): Promise<number> {
  const from = performance.now();
  return new Promise((resolve) => setTimeout(() => resolve(performance.now() - from), 0));
}
