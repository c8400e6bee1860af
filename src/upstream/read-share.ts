/**
 * Divides the turns of the event loop between the brokers and everybody else. Node reads a socket up to 32 times in a
 * row, 64 KB each time, as long as there is more. A broker that sends without a pause would have some 16,000 messages
 * handled in one turn, and for half a second no device would be served. So a stream that has brought more than its share
 * in this turn is paused until the next one. Nothing is lost: the octets wait in the kernel, and the broker with them.
 */
import type { Duplex } from "node:stream";

/**
 * Octets of all brokers together that are handled in one turn. Every stream may bring one more chunk: at most 64 KB, or
 * one message of WebSocket.
 */
export const turnOctets = 65_536;

class ReadShare {
  #octets = 0;
  #isCounting = false;
  #paused: Duplex[] = [];
  readonly #next = (): void => {
    const paused = this.#paused;
    this.#octets = 0;
    this.#isCounting = false;
    if (paused.length === 0) return;
    this.#paused = [];
    for (const stream of paused) if (!stream.destroyed) stream.resume();
  };

  /** So many octets of this stream were handled in this turn. */
  note(octets: number, stream: Duplex): void {
    this.#octets += octets;
    if (!this.#isCounting) {
      this.#isCounting = true;
      setImmediate(this.#next);
    }
    if (this.#octets <= turnOctets || stream.isPaused() || stream.destroyed) return;
    stream.pause();
    this.#paused.push(stream);
  }
}

/** One for the process, because the process has one event loop. */
export const readShare = new ReadShare();
