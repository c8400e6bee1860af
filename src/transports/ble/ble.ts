/**
 * MQTT-SN over Bluetooth LE. The hub decides, and the supervisor's child uses the adapter. This class connects both with the gateway.
 * Without an adapter, rights or noble the transport still starts: it reports once what is missing, and tries again.
 */
import { join } from "node:path";
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import { GatewayError } from "../../errors.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { BondReport, LinkReport, Transport, TransportEvents, TransportStats } from "../transport.ts";
import { Bonds } from "./bonds.ts";
import { BondsFile } from "./bonds-file.ts";
import { BroadcastReceiver } from "./broadcast.ts";
import { BthomeReceiver } from "./bthome.ts";
import { addressOfPeer } from "./bthome-peer.ts";
import type { Central } from "./central.ts";
import { CountersFile } from "./counters-file.ts";
import type { Device } from "./device.ts";
import { BleHub, tickMs } from "./hub.ts";
import { type HubCounters, type HubOutput, printable } from "./hub-output.ts";
import { readBindKeys, readKeys, readPasskey } from "./keys.ts";
import type { BleOptions } from "./options.ts";
import { pairingCrypto } from "./pairing-crypto.ts";
import { Supervisor } from "./supervisor.ts";
import { supervisorOptions } from "./supervisor-options.ts";

export class BleTransport implements Transport {
  readonly name: string;
  readonly warnings: string[] = [];
  readonly #options: BleOptions;
  readonly #timers: Timers;
  readonly #central: Central;
  readonly #counters: CountersFile | undefined;
  readonly #hub: BleHub;
  readonly #bonds: Bonds;
  #bondsFile: BondsFile | undefined;
  #events: TransportEvents | undefined;
  #stopTicking: (() => void) | undefined;
  #closed = false;

  /** @throws {GatewayError} ERR_TRANSPORT_OPEN when a key cannot be read. */
  constructor(options: BleOptions, timers: Timers = systemTimers, central?: Central) {
    this.name = options.name;
    this.#options = options;
    this.#timers = timers;
    this.#central = central ?? new Supervisor(supervisorOptions(options), timers);
    const { broadcast } = options;
    const { keys, countersFile, bthome } = broadcast;
    this.#counters =
      countersFile === undefined ? undefined : new CountersFile(countersFile, timers, (say) => this.#tell("warn", say));
    const counters = this.#counters?.read();
    this.#bonds = new Bonds(options, {
      aes: pairingCrypto.aes,
      readPasskey,
      today: () => new Date().toISOString(),
      changed: (bonds) => this.#bondsFile?.write(bonds),
    });
    this.#hub = new BleHub(
      options,
      new BroadcastReceiver(broadcast, readKeys(keys), counters),
      new BthomeReceiver(broadcast, readBindKeys(bthome.keys), counters),
      this.#bonds,
    );
  }

  get place(): string {
    return this.#hub.condition.say;
  }

  maxMessageBytes(_peer: PeerId): number {
    return this.#options.maxMessageBytes;
  }

  hostOf(peer: PeerId): string {
    return addressOfPeer(this.#addressOf(peer) ?? peer);
  }

  identityOf(peer: PeerId): PeerIdentity {
    // A device with a bond sends over an encrypted link. Broadcasts in its name are not accepted, so its identity is
    // verified.
    const bond = this.#bonds.ofAddress(this.#addressOf(peer) ?? "");
    const { clients } = this.#options.bonding;
    if (bond) return { name: bond.identity.address, by: "bond", verified: true, clients };
    return { name: this.hostOf(peer), by: "address", verified: false };
  }

  /** The signal of the device's last advertisement. A connected device may send none. */
  rssiOf(peer: PeerId): number | undefined {
    return rssiIn(this.#hub.device(addressOfPeer(this.#addressOf(peer) ?? "")));
  }

  keepBondsIn(folder: string): void {
    this.#bondsFile = new BondsFile(join(folder, `bonds-${this.name}.json`), (say) => this.#tell("warn", say));
  }

  /** The bonds without their keys. */
  bonds(): readonly BondReport[] {
    return this.#bonds.all().map(({ identity, name, since, authenticated, secureConnections }) => {
      return { identity, name, since, authenticated, secureConnections };
    });
  }

  removeBond(identity: string): boolean {
    const wasThere = this.#hub.removeBond(identity, this.#timers.now());
    this.#carryOut();
    return wasThere;
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    this.#bonds.restore(this.#bondsFile?.read() ?? []);
    const { broadcast, pairing, bonding } = this.#options;
    const pairs = pairing !== "none" || bonding.devices.some((rule) => rule.pairing !== "none");
    if (pairs && !this.#bondsFile) {
      this.warnings.push(
        `${this.name}: bonds are not kept with this store (store.kind): after a restart the gateway has no bonds, and a device that keeps its bond must be reset`,
      );
    }
    const keys = { ...broadcast.keys, ...broadcast.bthome.keys };
    if (Object.keys(keys).length > 0 && broadcast.countersFile === undefined) {
      this.warnings.push(
        `${this.name}: there are keys of sensors, but no broadcast.countersFile: after a restart an old message of an authenticated sensor may be accepted as new`,
      );
    }
    for (const problem of this.#counters?.problems ?? []) this.warnings.push(`${this.name}: ${problem}`);
    this.#central.start((event) => {
      this.#hub.onCentral(event, this.#timers.now());
      this.#carryOut();
    });
    this.#stopTicking = this.#timers.every(tickMs, () => {
      this.#hub.tick(this.#timers.now());
      this.#carryOut();
    });
  }

  send(to: PeerId, bytes: Uint8Array): void {
    this.#hub.send(this.#closed ? "" : (this.#addressOf(to) ?? ""), bytes, this.#timers.now());
    this.#carryOut();
  }

  releaseLink(peer: PeerId): void {
    this.#hub.releaseLink(this.#addressOf(peer) ?? "", this.#timers.now());
  }

  /** Bluetooth has no receivers of broadcasts, because a connected device has already found the gateway. */
  broadcast(): void {}

  forgetCounter(address: string): boolean {
    const wasStored = this.#counters?.forget(address) ?? false;
    return this.#hub.forgetCounter(address) || wasStored;
  }

  stats(): TransportStats {
    const { messagesIn, messagesOut, bytesIn, bytesOut, sendErrors } = this.#hub.counters;
    return { datagramsIn: messagesIn, datagramsOut: messagesOut, bytesIn, bytesOut, sendErrors };
  }

  links(): LinkReport {
    const now = this.#timers.now();
    return {
      up: this.#hub.condition.ready,
      condition: this.#hub.condition.say,
      counters: flat(this.#hub.counters, this.#central.counters),
      devices: [...this.#hub.devices()].map((device) => ({
        peer: `${this.name}/${device.address}`,
        name: printable(device.name ?? ""),
        linked: device.phase === "linked",
        rssi: rssiIn(device),
        secondsSinceSeen: Math.max(0, (now - device.lastSeen) / 1_000),
        failures: device.failures,
        lastFailure: device.lastFailure,
      })),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTicking?.();
    await this.#central.close();
    await this.#counters?.close();
    await this.#bondsFile?.close();
  }

  #carryOut(): void {
    for (const output of this.#hub.take()) if (!this.#closed) this.#carry(output);
  }

  #carry(output: HubOutput): void {
    switch (output.kind) {
      case "command":
        return this.#central.command(output.command);
      case "restart":
        return this.#central.restart(output.why);
      case "message":
        return this.#events?.datagram(this.#peerOf(output.address), output.bytes);
      case "gone":
        return this.#events?.peerGone(this.#peerOf(output.address), output.why);
      case "counter":
        return this.#counters?.note(output.address, output.counter);
      case "told":
        return this.#tell(output.level, output.say);
    }
  }

  #tell(level: "debug" | "info" | "warn", say: string): void {
    if (level === "warn") {
      this.#events?.failed(new GatewayError("ERR_TRANSPORT_FAILED", { transport: this.name }, { say }));
    } else this.#events?.notice(level, say);
  }

  #peerOf(address: string): PeerId {
    return `${this.name}/${address}`;
  }

  #addressOf(peer: PeerId): string | undefined {
    const start = this.name.length + 1;
    return peer.length > start ? peer.slice(start) : undefined;
  }
}

/** The value 127 means that the controller does not know it. [Core 7.7.65.2] */
function rssiIn(device: Device | undefined): number | undefined {
  return device === undefined || device.rssi === 127 ? undefined : device.rssi;
}

function flat(hub: HubCounters, central: Central["counters"]): Record<string, number> {
  const { broadcastDrops, insecure, bonded, noiseBytes, linksMade, linksFailed, linksLost, broadcasts } = hub;
  const { restarts, advertisements, rssBytes } = central;
  const counters: Record<string, number> = { noiseBytes, linksMade, linksFailed, linksLost, broadcasts, bonded };
  for (const [reason, count] of Object.entries(broadcastDrops)) counters[`broadcast:${reason}`] = count;
  for (const [fault, count] of Object.entries(insecure)) counters[`pairing:${fault}`] = count;
  return { ...counters, restarts, advertisements, rssBytes };
}
