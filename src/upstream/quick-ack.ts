/**
 * Makes the kernel acknowledge at once what a broker has sent, if nothing is about to be sent that carries the
 * acknowledgement. [tcp(7), TCP_QUICKACK]
 *
 * A broker that does not set TCP_NODELAY (mosquitto, unless it is configured) sends its next small packet only when the
 * last one is acknowledged, and the kernel waits up to 40 ms with an acknowledgement. Many devices share a connection, so
 * the answer to one device would wait for the publication of another.
 */

import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { loadNativeReads, type NativeReads } from "./tcp-reads-native.ts";
import { descriptorOf } from "./tcp-ring.ts";

export class QuickAck {
  readonly #native: NativeReads;

  private constructor(native: NativeReads) {
    this.#native = native;
  }

  /** Undefined: native/tcp-read.c is not compiled. */
  static open(native: NativeReads | undefined = loadNativeReads()): QuickAck | undefined {
    return native && new QuickAck(native);
  }

  /** For a connection that is closed, or not plain TCP, nothing happens. */
  acknowledge(stream: Duplex | undefined): void {
    const fd = stream instanceof Socket ? descriptorOf(stream) : undefined;
    if (fd !== undefined) this.#native.acknowledge(fd);
  }
}

/** Packets in a millisecond from which on the load is high. */
const highPerMs = 5;
/** Time over which packets are counted. */
const windowMs = 20;

/** How many packets are written to a connection. */
export class WriteLoad {
  #perMs = 0;
  #packets = 0;
  #since = 0;

  /** `now`: monotonic milliseconds. */
  noteWritten(packets: number, now: number): void {
    if (now - this.#since >= windowMs) {
      this.#perMs = this.#packets / (now - this.#since);
      this.#packets = 0;
      this.#since = now;
    }
    this.#packets += packets;
  }

  isHigh(now: number): boolean {
    return now - this.#since < 2 * windowMs && this.#perMs >= highPerMs;
  }
}
