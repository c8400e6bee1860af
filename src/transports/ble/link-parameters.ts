/** Chooses the parameters of a link: from the options, and from requests of the device within their limits. */
import type { ConnectionOptions } from "./connection-options.ts";
import type { LinkParameters, WantedParameters } from "./hci-packets.ts";

/** Connection intervals are multiples of this. */
const stepMs = 1.25;

export interface ParameterRules {
  readonly connection: ConnectionOptions;
  readonly supervisionMs: number;
}

/**
 * The parameters of each new link. The supervision timeout must be longer than twice the time that the device may skip.
 * [4.E.7.8.18]
 */
export function configuredParameters({ connection, supervisionMs }: ParameterRules): WantedParameters {
  const { intervalMsMin, intervalMsMax, latency } = connection;
  return { intervalMsMin, intervalMsMax, latency, supervisionMs: atLeast(supervisionMs, latency, intervalMsMax) };
}

/** The parameters that a device gets if it asks for these; undefined: they are beyond the options. */
export function grantedParameters(asked: WantedParameters, rules: ParameterRules): WantedParameters | undefined {
  const { connection, supervisionMs } = rules;
  const { requests } = connection;
  const intervalMsMin = Math.max(asked.intervalMsMin, connection.intervalMsMin);
  const intervalMsMax = Math.min(asked.intervalMsMax, Math.max(requests.intervalMsMax, connection.intervalMsMax));
  const timeOutMsMax = Math.max(requests.supervisionSecondsMax * 1_000, supervisionMs);
  if (intervalMsMin > intervalMsMax || asked.latency > Math.max(requests.latencyMax, connection.latency)) {
    return undefined;
  }
  const granted = atLeast(Math.max(asked.supervisionMs, supervisionMs), asked.latency, intervalMsMax);
  if (granted > timeOutMsMax) return undefined;
  return { intervalMsMin, intervalMsMax, latency: asked.latency, supervisionMs: granted };
}

export function areAsWanted(have: LinkParameters, wanted: WantedParameters): boolean {
  return (
    have.intervalMs >= wanted.intervalMsMin - stepMs &&
    have.intervalMs <= wanted.intervalMsMax + stepMs &&
    have.latency === wanted.latency &&
    have.supervisionMs === wanted.supervisionMs
  );
}

export function parametersInWords({ intervalMs, latency, supervisionMs }: LinkParameters): string {
  return `interval ${intervalMs} ms, latency ${latency}, lost after ${supervisionMs / 1_000} s of silence`;
}

export function wantedInWords(wanted: WantedParameters): string {
  const { intervalMsMin, intervalMsMax, latency, supervisionMs } = wanted;
  return `interval ${intervalMsMin} to ${intervalMsMax} ms, latency ${latency}, lost after ${supervisionMs / 1_000} s of silence`;
}

function atLeast(supervisionMs: number, latency: number, intervalMs: number): number {
  const least = Math.floor((2 * (1 + latency) * intervalMs) / 10) * 10 + 10;
  return Math.max(Math.ceil(supervisionMs / 10) * 10, least);
}
