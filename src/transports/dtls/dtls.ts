/**
 * MQTT-SN over DTLS 1.2, for devices with a key. `src/secure` implements DTLS, and the UDP transport carries the datagrams. This file
 * connects them with keys, the store and the clock.
 *
 * A peer is an identity, and not an address: a device that slept, moved or restarted is the same peer.
 */
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import { certificateRefusals } from "../../secure/credentials.ts";
import type { Crypto } from "../../secure/crypto.ts";
import { hostOf } from "../../secure/handshake.ts";
import { SecureServer } from "../../secure/server.ts";
import { certificateSuites, suites } from "../../secure/suites.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { SecureKeeper, SecureReport, Transport, TransportEvents, TransportStats } from "../transport.ts";
import { UdpTransport } from "../udp.ts";
import { udpOptions } from "../udp-options.ts";
import { BadKeyLog } from "./bad-keys.ts";
import { type CertificateRing, readCertificateRing } from "./certificates.ts";
import { type Hellos, HelloThinning } from "./hello-thinning.ts";
import { DtlsJoin, type JoinEdges } from "./join.ts";
import { type KeyRing, readKeys, withMade } from "./key-ring.ts";
import { loadNativeAead, withNativeAead } from "./native-crypto.ts";
import type { DtlsOptions } from "./options.ts";
import { identityIn, peerOf } from "./peers.ts";

const dayMs = 86_400_000;
const storeTopEveryMs = 1_000;
/** Milliseconds between two looks for a flood of ClientHellos, while some exceed the limit. */
const floodLookMs = 250;
const floodSaidEveryMs = 3_600_000;

/** Carries the datagrams. The project's own UDP socket has more functions than others. */
type Carrier = Transport & Partial<Pick<UdpTransport, "thinHellos">>;

export class DtlsTransport implements Transport {
  readonly name: string;
  readonly #options: DtlsOptions;
  readonly #timers: Timers;
  readonly #udp: Carrier;
  readonly #server: SecureServer;
  readonly #join: DtlsJoin;
  readonly #badKeys = new BadKeyLog();
  readonly #thinning: HelloThinning;
  /** The number of ClientHellos beyond the limit, at the last look. */
  #beyondBefore = 0;
  #endLooking: (() => void) | undefined;
  #floodSaidAt = Number.NEGATIVE_INFINITY;
  /** There is no compiled part, so node:crypto is used for everything. */
  readonly #isSlow: boolean;
  #keys: KeyRing | undefined;
  #certificates: CertificateRing | undefined;
  #made: () => ReadonlyMap<string, Uint8Array> = () => new Map();
  #keeper: SecureKeeper = forgetful;
  #events: TransportEvents | undefined;
  #closed = false;

  constructor(options: DtlsOptions, timers: Timers = systemTimers, crypto?: Crypto, udp?: Carrier) {
    const { name, host, port, receiveBufferBytes, cidOctets, contextsMax } = options;
    const native = loadNativeAead();
    this.#isSlow = !crypto && !native;
    this.name = name;
    this.#options = options;
    this.#timers = timers;
    this.#udp = udp ?? new UdpTransport(udpOptions.parse({ type: "udp", name, host, port, receiveBufferBytes }));
    const spoken = options.suites.flatMap((suite) => [suites[suite], certificateSuites[suite]]);
    const { handshakesMax, handshakesPerHostMax, hellosPerSecondMax } = options;
    this.#thinning = new HelloThinning(hellosPerSecondMax);
    const handshakes = { handshakesMax: handshakesMax, handshakesPerHostMax: handshakesPerHostMax, hellosPerSecondMax };
    const idleMs = options.idleDays * dayMs;
    const credentials = () => this.#certificates?.credentials;
    const all = { suites: spoken, credentials, cidOctets, contextsMax, ...handshakes, idleMs, storeTopEveryMs };
    this.#server = new SecureServer(crypto ?? withNativeAead(native), all, timers.now());
    this.#join = new DtlsJoin(this.#server, timers, {
      transmit: (address, bytes) => this.#udp.send(address as PeerId, bytes),
      deliver: (identity, bytes) => this.#events?.datagram(peerOf(this.name, identity), bytes),
      ask: (identity, done) => (this.#keys ? this.#keys.ask(identity, done) : done(undefined)),
      keep: (changes, done) => this.#keeper.keep(changes, done),
      say: (effect) => this.#say(effect),
    });
  }

  get place(): string {
    return this.#udp.place;
  }

  get warnings(): readonly string[] {
    return [...this.#udp.warnings, ...(this.#keys?.warnings ?? []), ...(this.#certificates?.warnings ?? [])];
  }

  maxMessageBytes(_peer: PeerId): number {
    return this.#options.maxMessageBytes;
  }

  hostOf(peer: PeerId): string {
    return identityIn(peer) ?? peer;
  }

  identityOf(peer: PeerId): PeerIdentity {
    const name = this.hostOf(peer);
    // A device without a context, for example after a restored backup, still has its identity.
    const by = this.#server.proofOf(name) ?? (this.#certificates?.pinned.has(name) ? "certificate" : "psk");
    return { name, by, verified: true, clients: this.#options.clients };
  }

  takeKeys(made: () => ReadonlyMap<string, Uint8Array>): void {
    this.#made = made;
  }

  keysChanged(): void {
    if (this.#keys) this.#putOut();
  }

  /**
   * A client id is reserved only if its key or certificate is known here. A program is asked at handshakes only, so its
   * identities are not reserved.
   */
  reserves(clientId: string): boolean {
    if (this.#options.clients !== "{identity}") return false;
    return this.#keys?.all?.has(clientId) === true || this.#certificates?.pinned.has(clientId) === true;
  }

  keepBy(keeper: SecureKeeper): void {
    this.#keeper = keeper;
  }

  sendsWhile(mayLeave: () => boolean): void {
    this.#udp.sendsWhile?.(mayLeave);
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    if (this.#isSlow)
      this.#notice("debug", "native/aead.c was not compiled: a record costs several times the CPU time");
    this.#read();
    this.#join.handle({ kind: "restored", records: await this.#keeper.kept() });
    this.#putOut();
    await this.#udp.start({
      datagram: (address, bytes) => {
        this.#join.handle({ kind: "datagram", address, bytes });
        if (!this.#endLooking && this.#server.counters.hellosBeyond > this.#beyondBefore) this.#lookForFlood();
      },
      ...(events.batch && { batch: (work) => events.batch?.(work) }),
      peerGone: () => {},
      failed: (error) => events.failed(error),
      notice: (level, say) => events.notice(level, say),
    });
  }

  /** Reads the keys again. @throws {GatewayError} ERR_TRANSPORT_OPEN; the earlier keys stay valid then. */
  reload(): void {
    this.#read();
    this.#putOut();
  }

  /** Reads keys and certificates, or changes nothing. */
  #read(): void {
    const keys = withMade(readKeys(this.#options.keys), this.#made);
    const { certificates } = this.#options;
    this.#certificates = certificates && readCertificateRing(certificates);
    this.#keys = keys;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    const identity = identityIn(to);
    if (identity !== undefined && !this.#closed) this.#join.handle({ kind: "send", identity, bytes });
  }

  /** Does nothing, because there is no key that all devices have. */
  broadcast(): void {}

  stats(): TransportStats {
    return this.#udp.stats();
  }

  secureReport(): SecureReport {
    const { size, handshakes, counters } = this.#server;
    const hellosBeyond = counters.hellosBeyond + this.#thinning.dropped;
    return { contexts: size, handshakes, counters: { ...counters, hellosBeyond } };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#endLooking?.();
    this.#join.close();
    await this.#udp.close();
  }

  /** Looks for a flood of ClientHellos repeatedly, until no ClientHello exceeds the limit any more. */
  #lookForFlood(): void {
    const { counters } = this.#server;
    if (this.#closed) return;
    let [before, at] = [this.#server.hellos, this.#timers.now()];
    this.#endLooking = this.#timers.every(floodLookMs, () => {
      const [hellos, now] = [this.#server.hellos, this.#timers.now()];
      const came = { first: hellos.first - before.first, second: hellos.second - before.second };
      const isOver = counters.hellosBeyond === this.#beyondBefore && !this.#thinning.isOn;
      this.#beyondBefore = counters.hellosBeyond;
      this.#thin(came, Math.max(1, now - at));
      [before, at] = [hellos, now];
      if (!isOver || this.#thinning.isOn) return;
      this.#endLooking?.();
      this.#endLooking = undefined;
    });
  }

  #thin(came: Hellos, ms: number): void {
    const wasOn = this.#thinning.isOn;
    const { first, second } = this.#thinning.judge(came, ms);
    if (!wasOn && !this.#thinning.isOn) return;
    if (this.#udp.thinHellos?.(first, second) !== true) return this.#thinning.cannot();
    const now = this.#timers.now();
    if (wasOn || now - this.#floodSaidAt < floodSaidEveryMs) return;
    this.#floodSaidAt = now;
    const perSecond = Math.round((1_000 * (came.first + came.second)) / ms);
    this.#notice("info", `a flood of ${perSecond} ClientHellos a second or more: the kernel drops most of them`);
  }

  /**
   * Ends the contexts of devices whose key was removed or replaced. Keys from a program are checked at the next
   * handshake.
   */
  #putOut(): void {
    const all = this.#keys?.all;
    const keysOf = (identity: string) => all && [all.get(identity)].flatMap((key) => key ?? []);
    const strangers = this.#server.strangers((identity, by) =>
      by === "psk" ? keysOf(identity) : (this.#certificates?.goodFor(identity) ?? []),
    );
    for (const identity of strangers) this.#join.handle({ kind: "forget", identity });
  }

  #say(effect: Parameters<JoinEdges["say"]>[0]): void {
    if (effect.kind === "badCertificate") {
      const place = placeIn(effect.address);
      const { say } = certificateRefusals[effect.refusal];
      this.#refuse(undefined, place, say);
      const line = this.#badKeys.once(
        `${hostOf(place)} ${effect.refusal}`,
        `a device at ${place}: ${say}`,
        this.#timers.now(),
      );
      if (line !== undefined) this.#notice("info", line);
      return;
    }
    const who = JSON.stringify(effect.identity);
    if (effect.kind === "opened") {
      const moves = effect.hasCid ? "" : ", without connection id";
      this.#notice("debug", `${who} at ${placeIn(effect.address)}: ${effect.suite}${moves}`);
    } else if (effect.kind === "closed") this.#notice("debug", `the encryption of ${who} ended: ${effect.reason}`);
    else {
      const { identity, address, isKnown } = effect;
      const why = isKnown ? "its key does not match" : "there is no key for this identity";
      this.#refuse(identity, placeIn(address), why, !isKnown);
      const line = this.#badKeys.line({ identity, place: placeIn(address), isKnown }, this.#timers.now());
      if (line !== undefined) this.#notice("info", line);
    }
  }

  #refuse(identity: string | undefined, place: string, why: string, isUnknown = false): void {
    this.#events?.turnedAway?.({ identity, from: `${this.name}/${place}`, why, isUnknown });
  }

  #notice(level: "debug" | "info", say: string): void {
    this.#events?.notice(level, `${this.name}: ${say}`);
  }
}

/** The address without the transport's name. */
function placeIn(address: string): string {
  return address.slice(address.indexOf("/") + 1);
}

/** Used without a store. */
const forgetful: SecureKeeper = { keep: (_changes, done) => done(true), kept: async () => [] };
