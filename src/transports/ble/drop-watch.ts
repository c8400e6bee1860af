/**
 * Tells whether the kernel dropped packets of the adapter because this process did not read them in time. The kernel
 * counts the drops of each socket; this file also asks it for larger buffers. If the process stood still and no packet
 * was lost, no link needs to be ended.
 */
import { readdirSync } from "node:fs";
import type { HciNative } from "./hci-native.ts";

/** Enough for some thousands of notifications; the kernel allows less if its own limit (net.core.rmem_max) is lower. */
const receiveBytes = 4 * 2 ** 20;

export class DropWatch {
  readonly #native: HciNative | undefined;
  readonly #openFiles: () => readonly number[];
  /** The drops of each HCI socket at the last look. */
  readonly #sockets = new Map<number, number>();

  constructor(native: HciNative | undefined, openFiles: () => readonly number[] = ownFiles) {
    this.#native = native;
    this.#openFiles = openFiles;
  }

  /**
   * Looks for sockets of the adapter among the open files, and enlarges their receive buffers. Must be called now and
   * then.
   */
  find(): void {
    const native = this.#native;
    if (!native) return;
    const open = new Set(this.#openFiles().filter((fd) => native.isHci(fd) === 1));
    for (const fd of this.#sockets.keys()) if (!open.has(fd)) this.#sockets.delete(fd);
    for (const fd of open) {
      const drops = this.#sockets.has(fd) ? -1 : native.drops(fd);
      if (drops < 0) continue;
      native.receiveBuffer(fd, receiveBytes);
      this.#sockets.set(fd, drops);
    }
  }

  /** The number of packets that were dropped since the last call. Undefined: it is not known. */
  take(): number | undefined {
    let dropped = 0;
    for (const [fd, before] of this.#sockets) {
      const drops = this.#native?.drops(fd) ?? -1;
      if (drops < 0)
        this.#sockets.delete(fd); // closed meanwhile
      else {
        dropped += (drops - before) >>> 0; // the counter wraps
        this.#sockets.set(fd, drops);
      }
    }
    return this.#sockets.size === 0 ? undefined : dropped;
  }
}

function ownFiles(): readonly number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number);
  } catch {
    return []; // without /proc the sockets are not known
  }
}
