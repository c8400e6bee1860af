/**
 * The compiled part for reading many connections at once, native/tcp-read.c, as TypeScript sees it. It is optional.
 */
import { createRequire } from "node:module";

/** The functions of the compiled part (native/tcp-read.c). */
export interface NativeReads {
  /** The descriptor of an empty set of connections, or -errno. `unwatch` closes it. */
  open(): number;
  /** 0, or -errno. */
  add(set: number, fd: number, connection: number): number;
  remove(set: number, fd: number): number;
  /** How many reads were made, or -errno. */
  read(set: number, arena: Uint8Array, words: Uint32Array): number;
  /** The kernel acknowledges now what has come. 0, or -errno. */
  acknowledge(fd: number): number;
  /** Calls when there is something to read. A watch, or -errno. */
  watch(set: number, call: (what: number) => number, gatherMilliseconds: number): unknown;
  unwatch(watch: unknown): void;
}

/** The compiled part; undefined: it does not exist, or not for this system. */
export function loadNativeReads(): NativeReads | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return createRequire(import.meta.url)("../../native/build/tcp-read.node") as NativeReads;
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}
