/**
 * MQTT-SN over DTLS 1.2, for devices with a key. `src/secure` implements DTLS, and the UDP transport carries the datagrams. This file
 * connects them with keys, the store and the clock.
 *
 * A peer is an identity, and not an address: a device that slept, moved or restarted is the same peer.
 */
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import type { SecureOptions } from "../../secure/common.ts";
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
import type { HandedOver } from "./hand-over.ts";
import { HelloFlood } from "./hello-flood.ts";
import { DtlsJoin, type JoinEdges } from "./join.ts";
import { KnownDevices } from "./known-devices.ts";
import { loadNativeAead, withNativeAead } from "./native-crypto.ts";
import type { DtlsOptions } from "./options.ts";
import { identityIn, peerOf } from "./peers.ts";

const dayMs = 86_400_000;
const storeTopEveryMs = 1_000;

/** Carries the datagrams. The project's own UDP socket has more functions than others. */
export type Carrier = Transport &
  Partial<Pick<UdpTransport, "thinHellos">> & {
    /** Called while a datagram is handled: the device sent it, and nobody has repeated or delayed it. */
    proved?(): void;
  };

/** What the transport of a shard gets from its fleet. */
export interface DtlsOfShard {
  /** Read before, and again by the fleet. */
  readonly devices: KnownDevices;
  /** Reads a handshake that the gateway began to which the device wrote; undefined: the octets are none. */
  readonly handedOver: (bytes: Uint8Array) => HandedOver | undefined;
}

export class DtlsTransport implements Transport {
  readonly name: string;
  readonly #options: DtlsOptions;
  readonly #timers: Timers;
  readonly #udp: Carrier;
  readonly #server: SecureServer;
  readonly #join: DtlsJoin;
  readonly #badKeys = new BadKeyLog();
  readonly #flood: HelloFlood;
  readonly #devices: KnownDevices;
  readonly #shard: DtlsOfShard | undefined;
  /** There is no compiled part, so node:crypto is used for everything. */
  readonly #isSlow: boolean;
  #keeper: SecureKeeper = forgetful;
  #events: TransportEvents | undefined;
  #closed = false;

  constructor(
    options: DtlsOptions,
    timers: Timers = systemTimers,
    crypto?: Crypto,
    udp?: Carrier,
    shard?: DtlsOfShard,
  ) {
    const { name } = options;
    const native = loadNativeAead();
    this.#isSlow = !crypto && !native;
    this.name = name;
    this.#options = options;
    this.#timers = timers;
    this.#udp = udp ?? dtlsCarrier(options);
    this.#shard = shard;
    this.#devices = shard?.devices ?? new KnownDevices(options);
    const credentials = () => this.#devices.certificates?.credentials;
    // A datagram for a context may also contain a ClientHello. Its handshake would be in the wrong shard.
    const all = { ...secureOptions(options, credentials), beginsNone: shard !== undefined };
    this.#server = new SecureServer(crypto ?? withNativeAead(native), all, timers.now());
    this.#flood = new HelloFlood({
      perSecondMax: options.hellosPerSecondMax,
      timers,
      server: this.#server,
      thin: (first, second) => this.#udp.thinHellos?.(first, second) === true,
      said: (say) => this.#notice("info", say),
    });
    this.#join = new DtlsJoin(this.#server, timers, {
      transmit: (address, bytes) => this.#udp.send(address as PeerId, bytes),
      deliver: (identity, bytes, isNewest) => {
        if (isNewest) this.#udp.proved?.();
        this.#events?.datagram(peerOf(this.name, identity), bytes);
      },
      ask: (identity, done) => (this.#devices.keys ? this.#devices.keys.ask(identity, done) : done(undefined)),
      keep: (changes, done) => this.#keeper.keep(changes, done),
      say: (effect) => this.#say(effect),
    });
  }

  get place(): string {
    return this.#udp.place;
  }

  get warnings(): readonly string[] {
    return this.#shard ? [] : [...this.#udp.warnings, ...this.#devices.warnings];
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
    const by = this.#server.proofOf(name) ?? (this.#devices.certificates?.pinned.has(name) ? "certificate" : "psk");
    return { name, by, verified: true, clients: this.#options.clients };
  }

  takeKeys(made: () => ReadonlyMap<string, Uint8Array>): void {
    if (!this.#shard) this.#devices.takeMade(made);
  }

  keysChanged(): void {
    if (this.#devices.keys) this.#putOut();
  }

  /**
   * A client id is reserved only if its key or certificate is known here. A program is asked at handshakes only, so its
   * identities are not reserved.
   */
  reserves(clientId: string): boolean {
    if (this.#options.clients !== "{identity}") return false;
    return this.#devices.keys?.all?.has(clientId) === true || this.#devices.certificates?.pinned.has(clientId) === true;
  }

  keepBy(keeper: SecureKeeper): void {
    this.#keeper = keeper;
  }

  sendsWhile(mayLeave: () => boolean): void {
    this.#udp.sendsWhile?.(mayLeave);
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    if (this.#isSlow && !this.#shard)
      this.#notice("debug", "native/aead.c was not compiled: a record costs several times the CPU time");
    if (!this.#shard) this.#devices.read();
    this.#join.handle({ kind: "restored", records: await this.#keeper.kept() });
    this.#putOut();
    await this.#udp.start({
      datagram: (address, bytes) => {
        this.#heard(address, bytes);
        this.#flood.look();
      },
      ...(events.batch && { batch: (work) => events.batch?.(work) }),
      peerGone: () => {},
      failed: (error) => events.failed(error),
      notice: (level, say) => events.notice(level, say),
    });
  }

  /** Reads the keys again. @throws {GatewayError} ERR_TRANSPORT_OPEN; the earlier keys stay valid then. */
  reload(): void {
    if (!this.#shard) this.#devices.read();
    this.#putOut();
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
    return { contexts: size, handshakes, counters: { ...counters, hellosBeyond: this.#flood.beyond } };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flood.close();
    this.#join.close();
    await this.#udp.close();
  }

  #heard(address: string, bytes: Uint8Array): void {
    const handed = this.#shard?.handedOver(bytes);
    if (!handed) return this.#join.handle({ kind: "datagram", address, bytes });
    // The seal covers the address, too, so the handshake is that of this sender.
    if (handed.begun.address !== address) return;
    this.#join.handle({ kind: "adopt", identity: handed.identity, begun: handed.begun });
    for (const each of handed.datagrams) this.#join.handle({ kind: "datagram", address, bytes: each });
  }

  /**
   * Ends the contexts of devices whose key was removed or replaced. Keys from a program are checked at the next
   * handshake.
   */
  #putOut(): void {
    const all = this.#devices.keys?.all;
    const keysOf = (identity: string) => all && [all.get(identity)].flatMap((key) => key ?? []);
    const strangers = this.#server.strangers((identity, by) =>
      by === "psk" ? keysOf(identity) : (this.#devices.certificates?.goodFor(identity) ?? []),
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

/** The socket of a DTLS transport. */
export function dtlsCarrier({ name, host, port, receiveBufferBytes }: DtlsOptions): UdpTransport {
  return new UdpTransport(udpOptions.parse({ type: "udp", name, host, port, receiveBufferBytes }));
}

export function secureOptions(
  options: DtlsOptions,
  credentials: NonNullable<SecureOptions["credentials"]>,
): SecureOptions {
  const { cidOctets, contextsMax, handshakesMax, handshakesPerHostMax, hellosPerSecondMax } = options;
  return {
    suites: options.suites.flatMap((suite) => [suites[suite], certificateSuites[suite]]),
    credentials,
    ...{ cidOctets, contextsMax, handshakesMax, handshakesPerHostMax, hellosPerSecondMax, storeTopEveryMs },
    idleMs: options.idleDays * dayMs,
  };
}

/** The address without the transport's name. */
function placeIn(address: string): string {
  return address.slice(address.indexOf("/") + 1);
}

/** Used without a store. */
const forgetful: SecureKeeper = { keep: (_changes, done) => done(true), kept: async () => [] };
