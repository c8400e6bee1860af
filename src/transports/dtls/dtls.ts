/**
 * MQTT-SN over DTLS 1.2, for devices with a key of their own. What DTLS is, is in `src/secure`; datagrams go by the UDP
 * transport. Here the two meet, with keys, the store and the clock.
 *
 * A peer is an identity, not an address: a device that slept, moved or was started anew is the same peer.
 */
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import type { Crypto } from "../../secure/crypto.ts";
import { SecureServer } from "../../secure/server.ts";
import { suites } from "../../secure/suites.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { SecureKeeper, SecureReport, Transport, TransportEvents, TransportStats } from "../transport.ts";
import { UdpTransport } from "../udp.ts";
import { udpOptions } from "../udp-options.ts";
import { BadKeyLog } from "./bad-keys.ts";
import { DtlsJoin, type JoinEdges } from "./join.ts";
import { type KeyRing, readKeys, withMade } from "./key-ring.ts";
import { nodeCrypto } from "./node-crypto.ts";
import type { DtlsOptions } from "./options.ts";
import { identityIn, peerOf } from "./peers.ts";

const dayMs = 86_400_000;
const storeTopEveryMs = 1_000;

export class DtlsTransport implements Transport {
  readonly name: string;
  readonly #options: DtlsOptions;
  readonly #timers: Timers;
  readonly #udp: Transport;
  readonly #server: SecureServer;
  readonly #join: DtlsJoin;
  readonly #badKeys = new BadKeyLog();
  #keys: KeyRing | undefined;
  #made: () => ReadonlyMap<string, Uint8Array> = () => new Map();
  #keeper: SecureKeeper = forgetful;
  #events: TransportEvents | undefined;
  #closed = false;

  constructor(options: DtlsOptions, timers: Timers = systemTimers, crypto: Crypto = nodeCrypto, udp?: Transport) {
    const { name, host, port, receiveBufferBytes, cidOctets, contextsMax } = options;
    this.name = name;
    this.#options = options;
    this.#timers = timers;
    this.#udp = udp ?? new UdpTransport(udpOptions.parse({ type: "udp", name, host, port, receiveBufferBytes }));
    const spoken = options.suites.map((suite) => suites[suite]);
    const setups = { setupsMax: options.handshakesMax, setupsPerHostMax: options.handshakesPerHostMax };
    const idleMs = options.idleDays * dayMs;
    const all = { suites: spoken, cidOctets, contextsMax, ...setups, idleMs, storeTopEveryMs };
    this.#server = new SecureServer(crypto, all, timers.now());
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
    return [...this.#udp.warnings, ...(this.#keys?.warnings ?? [])];
  }

  maxMessageBytes(_peer: PeerId): number {
    return this.#options.maxMessageBytes;
  }

  hostOf(peer: PeerId): string {
    return identityIn(peer) ?? peer;
  }

  identityOf(peer: PeerId): PeerIdentity {
    const name = this.hostOf(peer);
    return { name, by: "psk", verified: true, clients: this.#options.clients };
  }

  takeKeys(made: () => ReadonlyMap<string, Uint8Array>): void {
    this.#made = made;
  }

  keysChanged(): void {
    if (this.#keys) this.#putOut(this.#keys);
  }

  /** What a program knows is asked at handshakes only: it reserves nothing. */
  reserves(clientId: string): boolean {
    return this.#options.clients === "{identity}" && this.#keys?.all?.has(clientId) === true;
  }

  keepBy(keeper: SecureKeeper): void {
    this.#keeper = keeper;
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    this.#keys = withMade(readKeys(this.#options.keys), this.#made);
    this.#join.handle({ kind: "restored", records: await this.#keeper.kept() });
    this.#putOut(this.#keys);
    await this.#udp.start({
      datagram: (address, bytes) => this.#join.handle({ kind: "datagram", address, bytes }),
      ...(events.batch && { batch: (work) => events.batch?.(work) }),
      peerGone: () => {},
      failed: (error) => events.failed(error),
      notice: (level, say) => events.notice(level, say),
    });
  }

  /** The keys as they are now. @throws {GatewayError} ERR_TRANSPORT_OPEN; those of before are then still good. */
  reload(): void {
    const keys = withMade(readKeys(this.#options.keys), this.#made);
    this.#keys = keys;
    this.#putOut(keys);
  }

  send(to: PeerId, bytes: Uint8Array): void {
    const identity = identityIn(to);
    if (identity !== undefined && !this.#closed) this.#join.handle({ kind: "send", identity, bytes });
  }

  /** There is no key that all have. */
  broadcast(): void {}

  stats(): TransportStats {
    return this.#udp.stats();
  }

  secureReport(): SecureReport {
    return { contexts: this.#server.size, setups: this.#server.setups, counters: this.#server.counters };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#join.close();
    await this.#udp.close();
  }

  /** Whose key is gone, or is another. What a program knows is asked at the next handshake. */
  #putOut({ all }: KeyRing): void {
    if (!all) return;
    for (const identity of this.#server.strangers((of) => all.get(of))) this.#join.handle({ kind: "forget", identity });
  }

  #say(effect: Parameters<JoinEdges["say"]>[0]): void {
    const who = JSON.stringify(effect.identity);
    if (effect.kind === "opened") {
      const moves = effect.hasCid ? "" : ", without connection id";
      this.#notice("debug", `${who} at ${placeIn(effect.address)}: ${effect.suite}${moves}`);
    } else if (effect.kind === "closed") this.#notice("debug", `the encryption of ${who} ended: ${effect.reason}`);
    else {
      const { identity, address, isKnown } = effect;
      const line = this.#badKeys.line({ identity, place: placeIn(address), isKnown }, this.#timers.now());
      if (line !== undefined) this.#notice("info", line);
    }
  }

  #notice(level: "debug" | "info", say: string): void {
    this.#events?.notice(level, `${this.name}: ${say}`);
  }
}

/** The address without our name before it. */
function placeIn(address: string): string {
  return address.slice(address.indexOf("/") + 1);
}

/** Where nobody gave a store. */
const forgetful: SecureKeeper = { keep: (_changes, done) => done(true), kept: async () => [] };
