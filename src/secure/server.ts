/**
 * A DTLS 1.2 server for pre-shared keys and certificates, without socket, clock, random numbers or files: inputs go in,
 * effects come out. [RFC 6347, RFC 4279, RFC 6655, RFC 7627, RFC 9146]
 *
 * A device is known by its identity. Its address is that of its last authentic record. With a connection id it keeps
 * its context at any address, during any sleep, and over restarts of the gateway.
 */
import { Continued } from "./begun.ts";
import { keyMark, onFragment } from "./client-flight.ts";
import { Common, type SecureOptions } from "./common.ts";
import { SecureContext } from "./context.ts";
import { Contexts } from "./contexts.ts";
import { CookieMaker } from "./cookie.ts";
import type { Crypto } from "./crypto.ts";
import { beginHandshake, continueHandshake, hostOf, noteBadKey, onSealed, sendFlight } from "./handshake.ts";
import { encodeMessage, type Fragment, messageTypes, readFragments } from "./handshake-messages.ts";
import { Handshake } from "./handshake-state.ts";
import { encodeHelloVerifyRequest, hasCookie, readClientHello } from "./hello.ts";
import { HelloBudget } from "./hello-budget.ts";
import {
  type Begun,
  type ClosedReason,
  type Instant,
  newCounters,
  type SecureCounters,
  type SecureEffect,
  type SecureInput,
} from "./messages.ts";
import { isEqual } from "./octets.ts";
import { contentTypes, openRecord, plainRecord, type RecordIn, readRecord } from "./record.ts";
import { stateOf } from "./record-of.ts";
import { changeOf, repeatLastFlight, sendContent } from "./sending.ts";
import type { ProofKind } from "./suites.ts";

const fatal = 2;
const alertBytes = {
  closeNotify: Uint8Array.of(1, 0),
  noRenegotiation: Uint8Array.of(1, 100),
  accessDenied: Uint8Array.of(fatal, 49),
  internalError: Uint8Array.of(fatal, 80),
} as const;
/** Contexts that are stored with one commit. */
const storedAtOnce = 500;
const helloVersion = 0xfeff;

export class SecureServer {
  readonly counters: SecureCounters = newCounters();
  readonly #common: Common;
  readonly #contexts = new Contexts();
  readonly #cookies: CookieMaker;
  readonly #firstHellos: HelloBudget;
  readonly #secondHellos: HelloBudget;
  /** Contexts with records that were received since they were stored. */
  readonly #dirty = new Set<SecureContext>();
  /** Handshakes of other gateways. */
  readonly #continued: Continued;
  #storeTopsAt: Instant | undefined;
  /** The next time at which an open handshake needs an action. */
  #handshakesAt: Instant = Number.POSITIVE_INFINITY;

  constructor(crypto: Crypto, options: SecureOptions, now: Instant) {
    this.#common = new Common(crypto, options, this.#contexts, this.counters);
    this.#cookies = new CookieMaker(crypto, now);
    this.#continued = new Continued(now);
    this.#firstHellos = new HelloBudget(options.hellosPerSecondMax, now);
    this.#secondHellos = new HelloBudget(options.hellosPerSecondMax, now);
  }

  /** Devices with a context. */
  get size(): number {
    return this.#contexts.size;
  }

  /** Open handshakes. */
  get handshakes(): number {
    return this.#contexts.handshakes.size;
  }

  /** The random octets of the open handshake with a client at this address; undefined: none is open. */
  openAt(address: string): Uint8Array | undefined {
    return this.#contexts.handshakeAt(address)?.agreed.serverRandom;
  }

  /** The last address of this device; undefined: it has no context. */
  addressOf(identity: string): string | undefined {
    return this.#contexts.of(identity)?.address;
  }

  /** The kind of proof that this device used; undefined: it has no context. */
  proofOf(identity: string): ProofKind | undefined {
    return this.#contexts.of(identity)?.suite.by;
  }

  /**
   * Identities whose context was made with a key or certificate that is not valid any more. `goodFor`: the keys, or the
   * public keys that make a certificate valid; undefined: not known.
   */
  strangers(goodFor: (identity: string, by: ProofKind) => readonly Uint8Array[] | undefined): readonly string[] {
    const strangers: string[] = [];
    for (const { identity, suite, keyMark: mark } of this.#contexts.all()) {
      const good = goodFor(identity, suite.by);
      if (good && !good.some((each) => isEqual(keyMark(this.#common, each), mark))) strangers.push(identity);
    }
    return strangers;
  }

  handle(input: SecureInput, now: Instant): readonly SecureEffect[] {
    switch (input.kind) {
      case "datagram":
        this.#datagram(input.address, input.bytes, now);
        break;
      case "send":
        this.#send(input.identity, input.bytes);
        break;
      case "key":
        this.#common.keyCame(input.token, input.key);
        this.#openEarly(now);
        break;
      case "persisted":
        this.#common.persisted(input.token, input.ok);
        break;
      case "restored":
        this.#restored(input.records, now);
        break;
      case "adopt":
        this.#adopt(input, now);
        break;
      case "forget":
        this.#forget(input.identity);
        break;
      case "timeout":
        this.#timeout(now);
        break;
      case "stop":
        this.#storeTops();
        break;
    }
    return this.#common.take();
  }

  /** ClientHellos since the start: without a cookie, and with one. */
  get hellos(): { readonly first: number; readonly second: number } {
    return { first: this.#firstHellos.asked, second: this.#secondHellos.asked };
  }

  /** The next time to call `timeout`; an earlier call has no effect. */
  nextDeadline(): Instant | undefined {
    if (this.size > this.#common.options.contextsMax) return 0;
    const quietest = this.#contexts.quietest();
    const idleAt = quietest ? quietest.heardAt + this.#common.options.idleMs : Number.POSITIVE_INFINITY;
    const at = Math.min(this.#handshakesAt, this.#storeTopsAt ?? Number.POSITIVE_INFINITY, idleAt);
    return at === Number.POSITIVE_INFINITY ? undefined : at;
  }

  #datagram(address: string, bytes: Uint8Array, now: Instant): void {
    for (let at = 0; at < bytes.length; ) {
      const record = readRecord(bytes, at, this.#common.options.cidOctets);
      if (!record) {
        this.counters.badRecords++;
        return;
      }
      at = record.end;
      if (record.epoch === 0 && !record.cid) this.#plain(address, record, now);
      else if (this.#common.options.handsOver && !this.openAt(address))
        return; // it is for another gateway
      else if (record.epoch !== 1) this.counters.badRecords++;
      else if (record.cid) this.#withCid(address, record, record.cid, now);
      else this.#bare(address, record, now);
    }
  }

  /**
   * Alerts without encryption are ignored, because any sender can forge them. ChangeCipherSpec contains nothing new.
   */
  #plain(address: string, record: RecordIn, now: Instant): void {
    if (record.type !== contentTypes.handshake) return;
    const fragments = readFragments(record.body);
    if (!fragments) this.counters.badRecords++;
    for (const fragment of fragments ?? []) {
      const handshake = this.#contexts.handshakeAt(address);
      const isHello = fragment.type === messageTypes.clientHello;
      if (isHello && !this.#common.options.beginsNone) this.#hello(address, record, fragment, now);
      else if (isHello) this.counters.badRecords++;
      else if (handshake) this.#fragment(handshake, fragment, now);
    }
  }

  #fragment(handshake: Handshake, fragment: Fragment, now: Instant): void {
    const { secrets } = handshake;
    onFragment(this.#common, handshake, fragment, now);
    if (handshake.secrets !== secrets) this.#openEarly(now);
    this.#handshakesAt = Math.min(this.#handshakesAt, handshake.dueAt);
  }

  /** Nothing is stored before the cookie is returned, so a ClientHello in fragments is refused. */
  #hello(address: string, record: RecordIn, fragment: Fragment, now: Instant): void {
    const { body, total, type, seq } = fragment;
    if (!(hasCookie(body) ? this.#secondHellos : this.#firstHellos).take(now)) {
      this.counters.hellosBeyond++;
      return;
    }
    const hello = body.length === total ? readClientHello(body) : undefined;
    if (!hello) {
      this.counters.badRecords++;
      return;
    }
    const { withoutCookie, cookie } = hello;
    if (!this.#cookies.isValid(cookie, address, withoutCookie, now)) {
      this.counters.cookies++;
      const verify = encodeHelloVerifyRequest(this.#cookies.make(address, withoutCookie, now));
      const message = encodeMessage({ type: messageTypes.helloVerifyRequest, seq: 0, body: verify });
      const bytes = plainRecord(contentTypes.handshake, record.seq, message, helloVersion);
      this.#common.say({ kind: "transmit", address, bytes });
      return;
    }
    if (this.#isRepeated(address, hello.random)) return;
    const before = this.#contexts.handshakeAt(address);
    if (!this.#hasRoomFor(address, before)) {
      this.counters.handshakesRefused++;
      return;
    }
    const at = { address, hello, message: { type, seq, body }, recordSeq: record.seq };
    const handshake = beginHandshake(this.#common, at, now);
    if (typeof handshake === "number") {
      this.counters.handshakesUnsuitable++;
      const bytes = plainRecord(contentTypes.alert, record.seq, Uint8Array.of(fatal, handshake));
      this.#common.say({ kind: "transmit", address, bytes });
      return;
    }
    if (before) this.#contexts.removeHandshake(before);
    this.#contexts.addHandshake(handshake);
    sendFlight(this.#common, handshake);
    this.#handshakesAt = Math.min(this.#handshakesAt, handshake.dueAt);
  }

  #adopt({ identity, begun }: { readonly identity: string; readonly begun: Begun }, now: Instant): void {
    const { address, clientRandom, cid } = begun;
    if (this.#isRepeated(address, clientRandom) || this.#continued.has(begun)) return;
    const before = this.#contexts.handshakeAt(address);
    const isFree = !cid || this.#contexts.ofCid(cid) === undefined;
    const mayContinue = isFree && this.#hasRoomFor(address, before) && this.#continued.take(begun, now);
    const handshake = mayContinue ? continueHandshake(this.#common, begun, identity, now) : undefined;
    if (!handshake) {
      if (mayContinue) this.counters.handshakesUnsuitable++;
      else this.counters.handshakesRefused++;
      // Otherwise the device would repeat its flight for a minute.
      const bytes = plainRecord(contentTypes.alert, begun.plainNext, alertBytes.internalError);
      this.#common.say({ kind: "transmit", address, bytes });
      return;
    }
    if (before) this.#contexts.removeHandshake(before);
    this.#contexts.addHandshake(handshake);
    this.#handshakesAt = Math.min(this.#handshakesAt, handshake.dueAt);
  }

  /** A copy or a late datagram: its own handshake continues, or has ended. Each side repeats by its own timer. */
  #isRepeated(address: string, random: Uint8Array): boolean {
    const known = [
      this.#contexts.handshakeAt(address)?.agreed.clientRandom,
      this.#contexts.at(address)?.lastFlight?.clientRandom,
    ];
    return known.some((each) => each !== undefined && isEqual(each, random));
  }

  #hasRoomFor(address: string, before: Handshake | undefined): boolean {
    if (before) return true;
    const { handshakesMax, handshakesPerHostMax } = this.#common.options;
    return this.handshakes < handshakesMax && this.#contexts.handshakesOf(hostOf(address)) < handshakesPerHostMax;
  }

  #withCid(address: string, record: RecordIn, cid: Uint8Array, now: Instant): void {
    const known = this.#contexts.ofCid(cid);
    if (known instanceof Handshake) {
      if (!onSealed(this.#common, known, record, now)) noteBadKey(this.#common, known);
    } else if (!known || !this.#ofContext(known, address, record, now)) this.counters.badRecords++;
  }

  /**
   * A record without a connection id is assigned by its address. An open handshake at this address may exist beside the
   * old context.
   */
  #bare(address: string, record: RecordIn, now: Instant): void {
    const at = this.#contexts.handshakeAt(address);
    const handshake = at && !at.cid ? at : undefined;
    if (handshake?.secrets && onSealed(this.#common, handshake, record, now)) return;
    const context = this.#contexts.at(address);
    // A client with a connection id must use it. [RFC 9146 3]
    if (context && !context.cid && this.#ofContext(context, address, record, now)) return;
    if (!handshake) this.counters.badRecords++;
    else if (handshake.secrets) noteBadKey(this.#common, handshake);
    else onSealed(this.#common, handshake, record, now);
  }

  /** Decrypts records that arrived before the key was known. */
  #openEarly(now: Instant): void {
    for (const handshake of this.#contexts.handshakes.values()) {
      if (!handshake.secrets) continue;
      for (const record of handshake.takeEarly())
        if (!onSealed(this.#common, handshake, record, now)) noteBadKey(this.#common, handshake);
    }
  }

  /** True if the record is authentic for this context. */
  #ofContext(context: SecureContext, address: string, record: RecordIn, now: Instant): boolean {
    if (!context.window.isFresh(record.seq)) {
      this.counters.replays++;
      return context.cid !== undefined;
    }
    const opened = openRecord(context.read, record);
    if (!opened) return false;
    const isNewest = context.window.take(record.seq);
    context.heardAt = now;
    this.#contexts.touch(context, now);
    this.#dirty.add(context);
    this.#storeTopsAt ??= now + this.#common.options.storeTopEveryMs;
    // An old record that an attacker delayed must not redirect answers. [RFC 9146 6]
    if (isNewest && context.cid && address !== context.address) {
      this.counters.moved++;
      this.#contexts.move(context, address);
    }
    const { type, content } = opened;
    if (type === contentTypes.applicationData) {
      context.lastFlight = undefined;
      this.#common.say({ kind: "deliver", identity: context.identity, bytes: content, isNewest });
    } else if (type === contentTypes.alert) this.#alert(context, content);
    else if (type === contentTypes.handshake) this.#lateHandshake(context, content, now);
    return true;
  }

  #alert(context: SecureContext, [level, description]: Uint8Array): void {
    if (level === fatal || description === 0) this.#close(context, "the device ended it", alertBytes.closeNotify);
  }

  #lateHandshake(context: SecureContext, content: Uint8Array, now: Instant): void {
    const [first] = readFragments(content) ?? [];
    if (first?.type === messageTypes.finished) repeatLastFlight(this.#common, context, now);
    else if (first?.type === messageTypes.clientHello)
      sendContent(this.#common, context, contentTypes.alert, alertBytes.noRenegotiation);
  }

  #send(identity: string, bytes: Uint8Array): void {
    const context = this.#contexts.of(identity);
    if (!context) this.counters.unsent++;
    else if (context.isUsedUp) this.#close(context, "its numbers are used up");
    else sendContent(this.#common, context, contentTypes.applicationData, bytes);
  }

  #restored(records: readonly Uint8Array[], now: Instant): void {
    for (const record of records) {
      const state = stateOf(record);
      const fits = state && (state.cid === undefined || state.cid.length === this.#common.options.cidOctets);
      // The context was made with another length of connection ids than is used now. Its device makes a new handshake.
      const context = fits ? SecureContext.takenOver(this.#common.crypto, state, now) : undefined;
      if (context) this.#contexts.add(context);
    }
  }

  #forget(identity: string): void {
    for (const handshake of [...this.#contexts.handshakes.values()])
      if (handshake.identity === identity) this.#contexts.removeHandshake(handshake);
    const context = this.#contexts.of(identity);
    if (context) this.#close(context, "its key was removed", alertBytes.accessDenied);
    if (!context || this.#common.isStoring(identity)) this.#delete(identity);
  }

  #close(context: SecureContext, reason: ClosedReason, alert?: Uint8Array): void {
    if (alert) sendContent(this.#common, context, contentTypes.alert, alert);
    this.#contexts.remove(context);
    this.#dirty.delete(context);
    // If the device makes a new handshake, the stored context already is the new one.
    if (!this.#common.isStoring(context.identity)) this.#delete(context.identity);
    this.#common.say({ kind: "closed", identity: context.identity, reason });
  }

  #delete(identity: string): void {
    this.#common.persist([{ identity, record: undefined }], () => {});
  }

  #timeout(now: Instant): void {
    if (now >= this.#handshakesAt) this.#handshakesDue(now);
    if (this.#storeTopsAt !== undefined && now >= this.#storeTopsAt) this.#storeTops();
    const { idleMs, contextsMax } = this.#common.options;
    for (let quietest = this.#contexts.quietest(); quietest; quietest = this.#contexts.quietest()) {
      if (this.size > contextsMax) this.#close(quietest, "too many");
      else if (now - quietest.heardAt >= idleMs) this.#close(quietest, "it was idle");
      else break;
    }
  }

  #handshakesDue(now: Instant): void {
    this.#handshakesAt = Number.POSITIVE_INFINITY;
    for (const handshake of [...this.#contexts.handshakes.values()]) {
      if (now >= handshake.endsAt) {
        this.counters.handshakesExpired++;
        this.#contexts.removeHandshake(handshake);
        continue;
      }
      if (handshake.takeRepeat(now)) sendFlight(this.#common, handshake);
      this.#handshakesAt = Math.min(this.#handshakesAt, handshake.dueAt);
    }
  }

  #storeTops(): void {
    this.#storeTopsAt = undefined;
    const changed = [...this.#dirty].filter(
      ({ isGone, window, storedTop, identity }) =>
        !isGone && window.top !== storedTop && !this.#common.isStoring(identity),
    );
    this.#dirty.clear();
    for (let at = 0; at < changed.length; at += storedAtOnce)
      this.#common.persist(changed.slice(at, at + storedAtOnce).map(changeOf), () => {});
  }
}
