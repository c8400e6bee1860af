/**
 * A device's end of DTLS in the simulation: the shipped `src/device/secure.ts` between a simulated device and a network whose addresses
 * change. It begins a handshake when it has something to send and no context. It gives a context up only when it lost power, or when no
 * copy of a CONNECT was answered.
 */
import type { PeerId } from "../../src/core/types.ts";
import { SecureDevice, type SecureDeviceOptions } from "../../src/device/secure.ts";
import type { Crypto } from "../../src/secure/crypto.ts";
import type { Hears } from "./network.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** A datagram of a device, as the judge knows it. */
export interface Sent {
  readonly end: SecureEnd;
  readonly bytes: Uint8Array;
  /** The device's side of DTLS that made it; it had a context then. */
  readonly by: SecureDevice;
  readonly isSealed: boolean;
  /** Of its records, counted in this context. */
  readonly count: number;
}

interface EndInit {
  readonly identity: string;
  readonly options: SecureDeviceOptions;
  readonly crypto: Crypto;
  readonly time: VirtualTime;
  readonly send: (sent: Sent) => void;
  readonly note: (what: string) => void;
  /** The gateway ended its context. */
  readonly ended: (why: string) => void;
}

export class SecureEnd {
  readonly identity: string;
  readonly hasCid: boolean;
  /** Where it is. */
  address: PeerId;
  hears: Hears = () => {};
  /** What took its context away without the gateway's fault; undefined: it has to be known. */
  excuse: string | undefined;
  handshakes = 0;
  readonly #init: EndInit;
  #dtls: SecureDevice | undefined;
  #count = 0;
  #timerAt: number | undefined;

  constructor(init: EndInit, address: PeerId) {
    this.#init = init;
    this.identity = init.identity;
    this.hasCid = init.options.cidOctets !== undefined;
    this.address = address;
  }

  /** Both sides have agreed. */
  get isOpen(): boolean {
    return this.#dtls?.isOpen === true;
  }

  /** Its present side of DTLS; undefined: it has none. */
  get dtls(): SecureDevice | undefined {
    return this.#dtls;
  }

  /** What is said before there is a context is lost: devices say it again. */
  send(bytes: Uint8Array): void {
    if (!this.#dtls) return this.#begin();
    if (!this.#dtls.isOpen) return;
    this.#dtls.send(bytes);
    this.#flush(this.#dtls);
  }

  receive(bytes: Uint8Array): void {
    const dtls = this.#dtls;
    if (!dtls) return;
    dtls.receive(bytes, this.#init.time.now());
    this.#flush(dtls);
  }

  forget(why: string): void {
    if (this.#dtls) this.#init.note(`${this.identity} forgets its context: ${why}`);
    this.#dtls = undefined;
    this.excuse = undefined;
  }

  #begin(): void {
    const { crypto, options, time, note } = this.#init;
    this.handshakes++;
    note(`${this.identity} shakes hands at ${this.address}`);
    const dtls = new SecureDevice(crypto, options);
    this.#dtls = dtls;
    this.#count = 0;
    this.excuse = undefined;
    dtls.start(time.now());
    this.#flush(dtls);
  }

  #flush(dtls: SecureDevice): void {
    for (const output of dtls.take()) {
      if (output.kind === "send") {
        const isSealed = dtls.isOpen;
        this.#init.send({ end: this, bytes: output.bytes, by: dtls, isSealed, count: isSealed ? ++this.#count : 0 });
      } else if (output.kind === "message") this.hears(output.bytes);
      else if (output.kind === "opened") this.#init.note(`${this.identity} has a context`);
      else {
        this.#init.note(`${this.identity}: ${output.why}`);
        const wasOpen = this.#count > 0;
        if (this.#dtls === dtls) this.#dtls = undefined;
        if (wasOpen) this.#init.ended(output.why);
      }
    }
    this.#arm(dtls);
  }

  #arm(dtls: SecureDevice): void {
    const at = dtls.nextDeadline();
    const { time } = this.#init;
    if (at === undefined || (this.#timerAt !== undefined && this.#timerAt <= at)) return;
    this.#timerAt = at;
    time.plan(at - time.now(), () => {
      this.#timerAt = undefined;
      const now = this.#dtls;
      now?.timeout(time.now());
      if (now) this.#flush(now);
    });
  }
}
