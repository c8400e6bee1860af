/**
 * The compiled part of UDP, native/udp-batch.c, as TypeScript sees it. It is optional: there is none if it could not be
 * compiled, or on other systems than Linux.
 */
import { createRequire } from "node:module";

/** The functions of the compiled part (native/udp-batch.c). */
export interface NativeBatch {
  open(host: string, port: number): number;
  locals(fd: number): number;
  duplicate(fd: number): number;
  host(words: Uint32Array, index: number): string;
  address(host: string, port: number, words: Uint32Array, index: number): number;
  receive(fd: number, arena: Uint8Array, words: Uint32Array, count: number, locals?: Uint32Array): number;
  send(fd: number, arena: Uint8Array, words: Uint32Array, count: number, locals?: Uint32Array): number;
  thin(fd: number, first: number, second: number): number;
  hops(fd: number, count: number): number;
  watch(fd: number, call: (what: number) => number, gatherMilliseconds: number): unknown;
  wake(watch: unknown, whenWritable: boolean): number;
  unwatch(watch: unknown): void;
}

/** The compiled part; undefined: it does not exist, or not for this system. */
export function loadNativeBatch(): NativeBatch | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const native = createRequire(import.meta.url)("../../native/build/udp-batch.node") as Partial<NativeBatch>;
    return native.thin === undefined ? undefined : (native as NativeBatch); // compiled from an earlier version
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}
