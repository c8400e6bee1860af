/**
 * The compiled part for writing to many connections at once, native/tcp-ring.c, as TypeScript sees it. It is optional.
 */
import { createRequire } from "node:module";

/** The functions of the compiled part (native/tcp-ring.c). */
export interface NativeRing {
  /** A ring, or -errno. */
  open(sends: number): unknown;
  add(ring: unknown, fd: number): number;
  remove(ring: unknown, slot: number, generation: number): void;
  send(ring: unknown, arena: Uint8Array, words: Uint32Array, count: number): number;
  close(ring: unknown): void;
}

/** The compiled part; undefined: it does not exist, or not for this system. */
export function loadNativeRing(): NativeRing | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return createRequire(import.meta.url)("../../native/build/tcp-ring.node") as NativeRing;
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}
