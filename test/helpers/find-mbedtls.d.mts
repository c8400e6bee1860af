export interface Mbedtls {
  readonly version: string;
  /** Folder of its headers. */
  readonly include: string;
  /** Static, in the order for a linker. */
  readonly libraries: readonly string[];
}
/** `release`: another Debian than this one, by its name. */
export function findMbedtls(release?: string): Mbedtls | { readonly missing: string };
