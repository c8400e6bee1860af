/**
 * DTLS at the front of a fleet. A device's context belongs to the gateway of its shard, and the shard is that of its
 * identity. A datagram with a connection id, or from a known address, goes there as it is. Only the beginning of a
 * handshake is done here, because the device says who it is after the gateway's first flight. [RFC 4279 2, RFC 5246
 * 7.3] The rest of the handshake is done where the context belongs; see `secure/begun.ts`.
 *
 * A connection id is given in this first flight [RFC 9146 3], so it cannot contain the shard. The front looks it up
 * once, as it does with an address, and then remembers it.
 */
import type { PeerId } from "../../core/types.ts";
import { lifeLeftOf } from "../../secure/begun.ts";
import { certificateRefusals } from "../../secure/credentials.ts";
import type { Crypto } from "../../secure/crypto.ts";
import { hostOf } from "../../secure/handshake.ts";
import type { Begun } from "../../secure/messages.ts";
import { hex, isEqual } from "../../secure/octets.ts";
import { SecureServer } from "../../secure/server.ts";
import type { Door, DoorEdges } from "../door.ts";
import { RecentMap } from "../recent-map.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { SecureReport, TurnedAway } from "../transport.ts";
import type { UdpTransport } from "../udp.ts";
import { BadKeyLog } from "./bad-keys.ts";
import { secureOptions } from "./dtls.ts";
import { type HandOverSeal, isHandOver, readHandedOverTo } from "./hand-over.ts";
import { HelloFlood } from "./hello-flood.ts";
import { DtlsJoin } from "./join.ts";
import type { KnownDevices } from "./known-devices.ts";
import { loadNativeAead, withNativeAead } from "./native-crypto.ts";
import type { DtlsOptions } from "./options.ts";
import { firstCid, isRecordType, recordsIn } from "./records-in.ts";

/** Limits for what a device sends before it has said who it is, in each open handshake. */
const earlyMax = 12;
const earlyOctetsMax = 16_384;
/** Handshakes that were handed over, in each of two generations; about 1 KB each, with certificates a few. */
const handedMax = 1_000;
/**
 * How often one handshake is handed over. A device repeats a flight of some datagrams six times; anybody else could make
 * a gateway encrypt and send much more than he sends.
 */
const handOversMax = 100;
const daySeconds = 86_400;

export interface DoorParts {
  readonly devices: Pick<KnownDevices, "certificates">;
  readonly seal: Pick<HandOverSeal, "sealed">;
  /** The socket. */
  readonly carrier: Partial<Pick<UdpTransport, "thinHellos">>;
  /** Called when a device has shown a certificate that is not accepted; it has no shard. */
  readonly turnedAway?: (refusal: TurnedAway) => void;
  readonly timers?: Timers;
  readonly crypto?: Crypto;
}

interface Early {
  readonly datagrams: Uint8Array[];
  octets: number;
}

interface Handed {
  readonly identity: string;
  readonly begun: Begun;
  /** The time at which it was handed over first. */
  readonly at: number;
  /** How often it was handed over. */
  times: number;
}

export class DtlsDoor implements Door {
  readonly contextSeconds: number;
  readonly #options: DtlsOptions;
  readonly #parts: DoorParts;
  readonly #timers: Timers;
  readonly #server: SecureServer;
  readonly #join: DtlsJoin;
  readonly #flood: HelloFlood;
  readonly #badKeys = new BadKeyLog();
  readonly #early = new Map<string, Early>();
  readonly #handed = new RecentMap<string, Handed | "over">(handedMax);
  #edges: DoorEdges | undefined;
  #beside = 0;

  constructor(options: DtlsOptions, parts: DoorParts) {
    this.#options = options;
    // An entry of the address book is written again after a day at most.
    this.contextSeconds = Math.ceil((options.idleDays + 1) * daySeconds);
    this.#parts = parts;
    const { timers = systemTimers, crypto = withNativeAead(loadNativeAead()), devices, carrier } = parts;
    this.#timers = timers;
    const all = { ...secureOptions(options, () => devices.certificates?.credentials), handsOver: true };
    this.#server = new SecureServer(crypto, all, timers.now());
    this.#flood = new HelloFlood({
      perSecondMax: options.hellosPerSecondMax,
      timers,
      server: this.#server,
      thin: (first, second) => carrier.thinHellos?.(first, second) === true,
      said: (say) => this.#told("info", say),
    });
    this.#join = new DtlsJoin(this.#server, timers, {
      transmit: (address, bytes) => this.#edges?.send(address as PeerId, bytes),
      handOver: (identity, begun) => this.#named(identity, begun),
      // A handshake ends here when the device has said who it is. So there is no key, and no context.
      deliver: () => {},
      ask: (_identity, done) => done(undefined),
      keep: (_changes, done) => done(false),
      say: (effect) => {
        if (effect.kind !== "badCertificate") return;
        const place = effect.address.slice(effect.address.indexOf("/") + 1);
        const { say } = certificateRefusals[effect.refusal];
        const from: PeerId = `${options.name}/${place}`;
        parts.turnedAway?.({ identity: undefined, from, why: say, isUnknown: false });
        const key = `${hostOf(place)} ${effect.refusal}`;
        const line = this.#badKeys.once(key, `a device at ${place}: ${say}`, timers.now());
        if (line !== undefined) this.#told("info", line);
      },
    });
  }

  start(edges: DoorEdges): void {
    this.#edges = edges;
  }

  close(): void {
    this.#edges = undefined;
    this.#flood.close();
    this.#join.close();
  }

  report(): SecureReport {
    const { handshakes, counters } = this.#server;
    const badRecords = counters.badRecords + this.#beside;
    return { contexts: 0, handshakes, counters: { ...counters, badRecords, hellosBeyond: this.#flood.beyond } };
  }

  /** Handles a datagram that a device sent to this gateway. */
  heard(from: PeerId, bytes: Uint8Array): void {
    const { cidOctets } = this.#options;
    if (!isRecordType(bytes[0])) {
      this.#beside++;
      return;
    }
    if (firstCid(bytes, cidOctets) && !this.#server.openAt(from)) return this.#pass(from, bytes);
    const { hasHandshake, hasSealed, helloRandom } = recordsIn(bytes, cidOctets);
    const handed = this.#handedAt(from);
    if (hasHandshake && handed) {
      if (!helloRandom) return this.#handOver(from, handed, [bytes]);
      // A late copy: the device has answered the gateway's first flight already.
      if (isEqual(helloRandom, handed.begun.clientRandom)) return;
    }
    if (!hasHandshake && !hasSealed) {
      // ChangeCipherSpec alone has no content; the rest is no DTLS.
      this.#beside++;
      return;
    }
    const open = this.#server.openAt(from);
    if (open && !helloRandom) this.#keepEarly(from, bytes);
    if (hasHandshake) this.#handshake(from, bytes, open);
    // It may belong to an older context of this device.
    if (hasSealed && (!hasHandshake || !open)) this.#pass(from, bytes);
  }

  /** The shard of the sender depends on this name: the connection id, or else the address. */
  nodeOf(from: PeerId, bytes: Uint8Array): PeerId {
    const { cidOctets } = this.#options;
    const cid = isHandOver(bytes)
      ? readHandedOverTo(bytes)?.cid
      : (firstCid(bytes, cidOctets) ?? recordsIn(bytes, cidOctets).cid);
    return cid ? `${this.#options.name}/cid:${hex(cid)}` : from;
  }

  /** The identity, which is the client id, of a handshake that is handed over; undefined for all other datagrams. */
  clientIn(bytes: Uint8Array): string | undefined {
    return isHandOver(bytes) ? readHandedOverTo(bytes)?.identity : undefined;
  }

  #handshake(from: PeerId, bytes: Uint8Array, before: Uint8Array | undefined): void {
    this.#join.handle({ kind: "datagram", address: from, bytes });
    this.#flood.look();
    const open = this.#server.openAt(from);
    if (!open || open === before) return;
    // A new handshake, perhaps in place of one that the device has given up.
    this.#handed.set(from, "over");
    this.#early.delete(from);
  }

  #named(identity: string, begun: Begun): void {
    const { address } = begun;
    const early = this.#early.get(address)?.datagrams ?? [];
    this.#early.delete(address);
    const handed = { identity, begun, at: this.#timers.now(), times: 0 };
    this.#handed.set(address, handed);
    this.#handOver(address as PeerId, handed, early);
  }

  #handOver(from: PeerId, handed: Handed, datagrams: readonly Uint8Array[]): void {
    if (handed.times >= handOversMax) {
      this.#beside++;
      return;
    }
    handed.times++;
    const { identity, begun, at } = handed;
    const ageMs = begun.ageMs + Math.ceil(this.#timers.now() - at);
    this.#pass(from, this.#parts.seal.sealed({ identity, begun: { ...begun, ageMs }, datagrams }));
  }

  #handedAt(from: PeerId): Handed | undefined {
    const handed = this.#handed.get(from);
    if (!handed || handed === "over") return undefined;
    if (lifeLeftOf(handed.begun) > this.#timers.now() - handed.at) return handed;
    this.#handed.set(from, "over");
    return undefined;
  }

  /** The gateway that continues the handshake needs everything that the device has sent for it. */
  #keepEarly(from: PeerId, bytes: Uint8Array): void {
    if (this.#early.size >= this.#options.handshakesMax) this.#forgetClosed();
    const early = this.#early.get(from) ?? { datagrams: [], octets: 0 };
    if (early.datagrams.length >= earlyMax || early.octets + bytes.length > earlyOctetsMax) return;
    early.datagrams.push(bytes.slice());
    early.octets += bytes.length;
    this.#early.set(from, early);
  }

  #forgetClosed(): void {
    for (const from of [...this.#early.keys()]) if (!this.#server.openAt(from)) this.#early.delete(from);
  }

  #pass(from: PeerId, bytes: Uint8Array): void {
    this.#edges?.pass(from, bytes);
  }

  #told(level: "debug" | "info", say: string): void {
    this.#edges?.told(level, `${this.#options.name}: ${say}`);
  }
}
