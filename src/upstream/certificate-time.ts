/** TLS failures that may be the fault of this machine's clock: what is wrong, and what to type. */

/** The wall clock as the edge needs it. */
export interface WallTime {
  /** Milliseconds since 1970, right or wrong. */
  now(): number;
  /** undefined: it cannot be trusted yet. */
  trusted(): number | undefined;
}

const remedy = 'set it ("timedatectl set-ntp true", or "date -u -s" with the time); the moment it is set, we try again';

/** In words, for the log; undefined: time has nothing to do with it. */
export function certificateTrouble(error: Error, clock: WallTime): string | undefined {
  const code = "code" in error ? error.code : undefined;
  if (code !== "CERT_NOT_YET_VALID" && code !== "CERT_HAS_EXPIRED") return undefined;
  const said = new Date(clock.now()).toISOString();
  const finding = `the broker's certificate ${code === "CERT_NOT_YET_VALID" ? "is not valid yet" : "has expired"}`;
  if (clock.trusted() === undefined)
    return `${finding}, but the clock of this machine is not to be trusted (it says ${said}, and nobody has set it): ${remedy}`;
  return `${finding} by the clock of this machine, which says ${said}: if that is wrong, ${remedy}; if it is right, the broker needs another certificate`;
}
