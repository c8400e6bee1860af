/** An open handshake with a client that has shown that it receives datagrams at its address. */
import type { Accepted, Credentials } from "./credentials.ts";
import type { KeyAgreement } from "./crypto.ts";
import { Assembly } from "./handshake-messages.ts";
import type { TrafficKeys } from "./key-schedule.ts";
import type { Instant } from "./messages.ts";
import type { Direction, RecordIn } from "./record.ts";
import type { Suite } from "./suites.ts";
import { ReplayWindow } from "./window.ts";

/** Limits that are sufficient for an identity of any length in RFC 4279, and for some certificates. */
const messageOctetsMax = { psk: 4_096, certificate: 16_384 } as const;
/** The time until the first repetition. [RFC 6347 4.2.4.1] */
const firstPeriodMs = 1_000;
const repeats = 5;
/** The time for all repetitions: 1 + 2 + 4 + 8 + 16 + 32 s. */
export const lifeMs = 63_000;
/** Limit of encrypted records that arrive before the key is known. */
const earlyMax = 4;

/** The result of the hellos of both sides. */
export interface Agreement {
  readonly address: string;
  /** The address without the part that differs between programs of one host. */
  readonly host: string;
  readonly suite: Suite;
  readonly clientRandom: Uint8Array;
  readonly serverRandom: Uint8Array;
  /** The extended master secret is used. [RFC 7627] */
  readonly isExtended: boolean;
  /** The credentials for suites with certificates. */
  readonly credentials: Credentials | undefined;
  /** The connection id that the gateway gave, by which the client names this connection. */
  readonly cid: Uint8Array | undefined;
  readonly peerCid: Uint8Array | undefined;
}

export interface Secrets {
  readonly master: Uint8Array;
  readonly keys: TrafficKeys;
  readonly read: Direction;
  readonly keyMark: Uint8Array;
  /** True if the identity exists. */
  readonly isKnown: boolean;
}

/** The expected event: a message of the client, the key, Finished, or the answer of the store. */
export type Stage = "certificate" | "keyExchange" | "verify" | "key" | "finished" | "stored";

export class Handshake {
  readonly address: string;
  readonly host: string;
  readonly agreed: Agreement;
  /** The number of the handshake. Of two handshakes of one device, the later one counts. */
  readonly begun: number;
  readonly cid: Uint8Array | undefined;
  readonly transcript: Uint8Array[] = [];
  readonly assembly: Assembly;
  readonly window = new ReplayWindow();
  /** Messages of the present flight, which the client must answer. */
  readonly flight: Uint8Array[] = [];
  readonly endsAt: Instant;
  stage: Stage;
  /**
   * For suites with certificates: the gateway's part of the key exchange, the client's certificate, and the keys that
   * wait for its proof.
   */
  agreement: KeyAgreement | undefined;
  accepted: Accepted | undefined;
  unproved: Secrets | undefined;
  identity = "";
  secrets: Secrets | undefined;
  /** Numbers of the next message that the gateway sends, and of the next plain record. */
  messageNext: number;
  plainNext: number;
  isBadKeyTold = false;
  /** Another gateway of the fleet began it, and found this identity. Undefined: it began here. */
  adoptedFor: string | undefined;
  readonly #firstStage: Stage;
  #early: RecordIn[] = [];
  #sentAt: Instant;
  #periodMs = firstPeriodMs;
  #repeatsLeft = repeats;

  /**
   * `messageSeq`, `recordSeq`: the numbers of the ClientHello; the server's numbers continue from there.
   * [RFC 6347 4.2.1, 4.2.2]
   */
  constructor(
    agreed: Agreement,
    { messageSeq, recordSeq, begun }: { messageSeq: number; recordSeq: number; begun: number },
    now: Instant,
  ) {
    this.begun = begun;
    this.agreed = agreed;
    this.address = agreed.address;
    this.host = agreed.host;
    this.cid = agreed.cid;
    this.assembly = new Assembly(messageSeq + 1, messageOctetsMax[agreed.suite.by]);
    this.#firstStage = agreed.suite.by === "psk" ? "keyExchange" : "certificate";
    this.stage = this.#firstStage;
    this.messageNext = messageSeq;
    this.plainNext = recordSeq;
    this.#sentAt = now;
    this.endsAt = now + lifeMs;
  }

  /** The time of the next action, if nothing is received before. */
  get dueAt(): Instant {
    return this.#mayRepeat ? Math.min(this.#sentAt + this.#periodMs, this.endsAt) : this.endsAt;
  }

  /** True if the flight must be sent again now. After a part of the client's answer only the client repeats. */
  takeRepeat(now: Instant): boolean {
    if (!this.#mayRepeat || now < this.#sentAt + this.#periodMs) return false;
    this.#repeatsLeft--;
    this.#periodMs *= 2;
    this.#sentAt = now;
    return true;
  }

  get #mayRepeat(): boolean {
    return this.stage === this.#firstStage && this.#repeatsLeft > 0;
  }

  keepEarly(record: RecordIn): void {
    if (this.#early.length >= earlyMax) return;
    const { cid, seqBytes, body } = record;
    this.#early.push({ ...record, cid: cid?.slice(), seqBytes: seqBytes.slice(), body: body.slice() });
  }

  takeEarly(): readonly RecordIn[] {
    const early = this.#early;
    this.#early = [];
    return early;
  }
}
