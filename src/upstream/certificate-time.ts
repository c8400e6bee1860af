/** Explains TLS failures that the clock of this machine may cause: the problem, and what to type. */

/** The functions of the wall clock that are needed here. */
export interface WallTime {
  /** Milliseconds since 1970, right or wrong. */
  now(): number;
  /** Undefined: the clock cannot be trusted yet. */
  trusted(): number | undefined;
}

const remedy =
  'set it ("timedatectl set-ntp true", or "date -u -s" with the time); as soon as it is set, the gateway tries again';

/** The cause in words, for the log; undefined: it has nothing to do with the time. */
export function certificateTrouble(error: Error, clock: WallTime): string | undefined {
  const code = "code" in error ? error.code : undefined;
  if (code !== "CERT_NOT_YET_VALID" && code !== "CERT_HAS_EXPIRED") return undefined;
  const said = new Date(clock.now()).toISOString();
  const finding = `the broker's certificate ${code === "CERT_NOT_YET_VALID" ? "is not valid yet" : "has expired"}`;
  if (clock.trusted() === undefined)
    return `${finding}, but the clock of this machine cannot be trusted (it says ${said}, and was not set): ${remedy}`;
  return `${finding} by the clock of this machine, which says ${said}: if that is wrong, ${remedy}; if it is right, the broker needs another certificate`;
}
