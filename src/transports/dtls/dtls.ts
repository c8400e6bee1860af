/**
 * MQTT-SN over DTLS 1.2, for devices with a key of their own. What DTLS is, is in `src/secure`; datagrams go by the UDP
 * transport. Here the two meet, with keys, the store and the clock.
 *
 * A peer is an identity, not an address: a device that slept, moved or was started anew is the same peer.
 */
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import type { Crypto } from "../../secure/crypto.ts";
import type { SecureEffect, SecureInput } from "../../secure/messages.ts";
import { SecureServer } from "../../secure/server.ts";
import { suites } from "../../secure/suites.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { SecureKeeper, SecureReport, Transport, TransportEvents, TransportStats } from "../transport.ts";
import { UdpTransport } from "../udp.ts";
import { udpOptions } from "../udp-options.ts";
import { BadKeyLog } from "./bad-keys.ts";
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
  readonly #badKeys = new BadKeyLog();
  #keys: KeyRing | undefined;
  #made: () => ReadonlyMap<string, Uint8Array> = () => new Map();
  #keeper: SecureKeeper = forgetful;
  #events: TransportEvents | undefined;
  #armed: { readonly at: number; readonly cancel: () => void } | undefined;
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
    this.#handle({ kind: "restored", records: await this.#keeper.kept() });
    this.#putOut(this.#keys);
    await this.#udp.start({
      datagram: (address, bytes) => this.#handle({ kind: "datagram", address, bytes }),
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
    if (identity !== undefined && !this.#closed) this.#handle({ kind: "send", identity, bytes });
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
    this.#handle({ kind: "stop" });
    this.#closed = true;
    this.#armed?.cancel();
    await this.#udp.close();
  }

  /** Whose key is gone, or is another. What a program knows is asked at the next handshake. */
  #putOut({ all }: KeyRing): void {
    if (!all) return;
    for (const identity of this.#server.strangers((of) => all.get(of))) this.#handle({ kind: "forget", identity });
  }

  #handle(input: SecureInput): void {
    if (this.#closed) return;
    for (const effect of this.#server.handle(input, this.#timers.now())) this.#perform(effect);
    this.#arm();
  }

  #perform(effect: SecureEffect): void {
    switch (effect.kind) {
      case "transmit":
        this.#udp.send(effect.address as PeerId, effect.bytes);
        return;
      case "deliver":
        this.#events?.datagram(peerOf(this.name, effect.identity), effect.bytes);
        return;
      case "askKey": {
        const { token } = effect;
        const answer = (key: Uint8Array | undefined) => this.#handle({ kind: "key", token, key });
        if (this.#keys) this.#keys.ask(effect.identity, answer);
        else answer(undefined);
        return;
      }
      case "persist": {
        const { token } = effect;
        this.#keeper.keep(effect.changes, (ok) => this.#handle({ kind: "persisted", token, ok }));
        return;
      }
      case "opened": {
        const moves = effect.hasCid ? "" : ", without connection id";
        this.#notice(
          "debug",
          `${JSON.stringify(effect.identity)} at ${placeIn(effect.address)}: ${effect.suite}${moves}`,
        );
        return;
      }
      case "closed":
        this.#notice("debug", `the encryption of ${JSON.stringify(effect.identity)} ended: ${effect.reason}`);
        return;
      case "badKey": {
        const { identity, address, isKnown } = effect;
        const line = this.#badKeys.line({ identity, place: placeIn(address), isKnown }, this.#timers.now());
        if (line !== undefined) this.#notice("info", line);
        return;
      }
    }
  }

  #notice(level: "debug" | "info", say: string): void {
    this.#events?.notice(level, `${this.name}: ${say}`);
  }

  #arm(): void {
    const at = this.#server.nextDeadline();
    if (at === undefined || (this.#armed && this.#armed.at <= at)) return;
    this.#armed?.cancel();
    const wait = Math.min(Math.max(0, at - this.#timers.now()), dayMs);
    const cancel = this.#timers.after(wait, () => {
      this.#armed = undefined;
      this.#handle({ kind: "timeout" });
    });
    this.#armed = { at, cancel };
  }
}

/** The address without our name before it. */
function placeIn(address: string): string {
  return address.slice(address.indexOf("/") + 1);
}

/** Where nobody gave a store. */
const forgetful: SecureKeeper = { keep: (_changes, done) => done(true), kept: async () => [] };
