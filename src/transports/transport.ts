/**
 * Carries whole MQTT-SN messages between the gateway and one kind of network.
 *
 * A transport moves bytes and nothing else: it never decodes, retries, or keeps sessions.
 * Delivery is best effort; `send` may lose, repeat, or reorder messages, as datagrams do.
 */
import type { PeerId, PeerIdentity } from "../core/types.ts";
import type { GatewayError } from "../errors.ts";
import type { SecureCounters } from "../secure/messages.ts";

export interface TransportEvents {
  /** A message was received. The receiver may keep the bytes; `from` begins with the transport's name and a slash. */
  datagram(from: PeerId, bytes: Uint8Array): void;
  /**
   * Calls `work` immediately; several datagrams are delivered while it runs. Resulting messages may be sent together
   * after it. A transport that delivers one datagram at a time never calls it.
   */
  batch?(work: () => void): void;
  /** The link to this peer has ended (Bluetooth). A transport without links never calls it. */
  peerGone(peer: PeerId, reason: string): void;
  /** The transport cannot continue. It may recover by itself; the details of the error say so. */
  failed(error: GatewayError): void;
  /** Something that the operator may want to read in the log. */
  notice(level: "debug" | "info", say: string): void;
  /** A device could not prove its identity. Recorded for the operator, with a limit. A transport without authentication never calls it. */
  turnedAway?(refusal: TurnedAway): void;
}

export interface TurnedAway {
  /** The identity that the device sent; undefined: the handshake ended before. */
  readonly identity: string | undefined;
  readonly from: PeerId;
  readonly why: string;
  /** The gateway has no key under this identity. */
  readonly isUnknown: boolean;
}

/** Numbers since start, read on scrape. Absent = this network has no such thing. */
export interface TransportStats {
  readonly datagramsIn: number;
  readonly datagramsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly sendErrors: number;
  /** Datagrams that the kernel dropped because the receive buffer was full. */
  readonly kernelDrops?: number;
}

/** The state of a network whose devices have links, read on scrape. */
export interface LinkReport {
  /** True if the adapter works; `condition` describes this in words, or what is missing. */
  readonly up: boolean;
  readonly condition: string;
  readonly counters: Readonly<Record<string, number>>;
  readonly devices: readonly {
    readonly peer: PeerId;
    readonly name: string;
    readonly linked: boolean;
    /** dBm; undefined = not known. */
    readonly rssi: number | undefined;
    readonly secondsSinceSeen: number;
    /** Failed attempts in a row. */
    readonly failures: number;
    /** The last failure in plain words; "" = there was none. */
    readonly lastFailure: string;
    /** The parameters that the link has, in plain words; absent = the device is not linked, or they are not known. */
    readonly parameters?: string;
  }[];
}

/** A device that was paired, without its keys. */
export interface BondReport {
  /** The address by which the device is known. */
  readonly identity: { readonly address: string; readonly type: string };
  /** The name that the device had when it was paired. */
  readonly name: string;
  /** The day of the pairing, for people. */
  readonly since: string;
  /** True: the pairing used a passkey, so no attacker was between the two sides. */
  readonly authenticated: boolean;
  readonly secureConnections: boolean;
}

/** Keeps the state of encrypted devices over a restart, in a store that the transport does not know. */
export interface SecureKeeper {
  /**
   * Stores all changes or none, in the order of the calls. Tells `done` whether they are stored as durably as
   * configured.
   */
  keep(
    changes: readonly { readonly identity: string; readonly record: Uint8Array | undefined }[],
    done: (ok: boolean) => void,
  ): void;
  /** The records that an earlier run kept. */
  kept(): Promise<readonly Uint8Array[]>;
}

/** Counters and gauges of encryption, read when metrics are collected. */
export interface SecureReport {
  /** Devices that have completed a handshake. */
  readonly contexts: number;
  readonly handshakes: number;
  readonly counters: Readonly<SecureCounters>;
}

export interface Transport {
  /** Unique among the running transports; first part of every peer id. No slash, no '#'. */
  readonly name: string;
  /** The address that the transport listens at, in words for the log: `0.0.0.0:1883`. Valid after `start`. */
  readonly place: string;
  /** Advice for the operator although the transport runs, in plain sentences. Valid after `start`. */
  readonly warnings: readonly string[];
  /** Largest message that this peer's network takes, in bytes (a BLE link may change it). */
  maxMessageBytes(peer: PeerId): number;
  /** The address that all peers of one host share: the IP address, the Bluetooth address. */
  hostOf(peer: PeerId): string;
  /** The identity of this peer, as far as this network can prove one; otherwise its address. */
  identityOf(peer: PeerId): PeerIdentity;
  /** Signal strength of the last message of this peer, in dBm. Absent if the network does not report it. */
  rssiOf?(peer: PeerId): number | undefined;
  /** Opens the network. @throws {GatewayError} ERR_TRANSPORT_OPEN when it cannot. */
  start(events: TransportEvents): Promise<void>;
  /** Sends one message. Never throws: a failed send counts as a lost datagram. */
  send(to: PeerId, bytes: Uint8Array): void;
  /** Sends to every node within `radius` hops; 0 means all. Does nothing where the network has no broadcast. [§5.3.9] */
  broadcast(bytes: Uint8Array, radius: number): void;
  /** The client at this peer sleeps or has disconnected: the link to it may end. Absent if there are no links. */
  releaseLink?(peer: PeerId): void;
  /** Absent where there are no links. */
  links?(): LinkReport;
  /**
   * The next message of the device at this address is new, although its counter may be low. false: no counter of this device was known.
   * Absent if there are no such counters.
   */
  forgetCounter?(address: string): boolean;
  /** Called before `start`: where bonds are stored; not called if nothing is stored. Absent if devices are not paired. */
  keepBondsIn?(folder: string): void;
  bonds?(): readonly BondReport[];
  /** Removes the bond of this identity, so that the device is unknown from now on. False: there was none. */
  removeBond?(identity: string): boolean;
  /**
   * Called before `start` with the keys that the gateway itself made for devices, by identity. Absent if there are no
   * keys.
   */
  takeKeys?(made: () => ReadonlyMap<string, Uint8Array>): void;
  /** The keys have changed: devices whose key was removed or replaced are disconnected. */
  keysChanged?(): void;
  /** True if this client id belongs to a device with a key, so that no other device may use it. */
  reserves?(clientId: string): boolean;
  /** Called before `start` with the store for state that survives a restart. Absent if there is none. */
  keepBy?(keeper: SecureKeeper): void;
  /**
   * Called before `start`. Nothing is sent after `mayLeave` has returned false; it is called for each send. Absent if
   * only one machine uses the network.
   */
  sendsWhile?(mayLeave: () => boolean): void;
  /** Reads the files again. @throws {GatewayError} if it cannot; then nothing changes. */
  reload?(): void;
  /** Absent where nothing is encrypted here. */
  secureReport?(): SecureReport;
  stats(): TransportStats;
  /** Stops; idempotent. */
  close(): Promise<void>;
}
