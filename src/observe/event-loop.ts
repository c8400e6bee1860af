/**
 * Measures how late the event loop is. prom-client's own measurement wakes the process a hundred times a second, which
 * is most of the work of an idle gateway, and its values contain the pause between two looks. This measurement looks
 * ten times a second, and reports only the additional delay. A longer step is detected, except in the tenth of a second
 * after a scrape; a shorter one only if a look falls into it.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Gauge, type Registry } from "prom-client";

const lookEveryMs = 100;
/** Milliseconds that stand for "never", because prom-client requires a number. */
export const neverMs = 2_147_483_647;
const quantiles = [0.5, 0.99, 1] as const;

/**
 * Metrics that prom-client would derive from a measurement that this file does not make. `nodejs_eventloop_lag_seconds`
 * is measured at each scrape, and stays.
 */
const withoutMeaning = ["min", "max", "mean", "stddev", "p50", "p90", "p99"];

export function addEventLoopMetric(registry: Registry): void {
  for (const each of withoutMeaning) registry.removeSingleMetric(`nodejs_eventloop_lag_${each}_seconds`);
  const delays = monitorEventLoopDelay({ resolution: lookEveryMs });
  delays.enable();
  new Gauge({
    name: "mqttsn_event_loop_delay_seconds",
    help: "How late the event loop was since the last scrape; quantile 1 is the longest delay",
    labelNames: ["quantile"],
    registers: [registry],
    collect() {
      this.reset();
      for (const quantile of quantiles) this.set({ quantile }, secondsAbove(delays.percentile(100 * quantile)));
      delays.reset();
    },
  });
}

/** @param sinceLook nanoseconds since the last look; 0: this is the first look */
function secondsAbove(sinceLook: number): number {
  return Math.max(0, sinceLook - lookEveryMs * 1e6) / 1e9;
}
