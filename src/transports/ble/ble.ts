/**
 * MQTT-SN over Bluetooth LE. The hub decides, the supervisor's child has the adapter; this joins them and the gateway.
 * Without an adapter, without rights or without noble the transport runs all the same: it says what is missing, once,
 * and goes on trying.
 */
import type { PeerId, PeerIdentity } from "../../core/types.ts";
import { GatewayError } from "../../errors.ts";
import { systemTimers, type Timers } from "../timers.ts";
import type { LinkReport, Transport, TransportEvents, TransportStats } from "../transport.ts";
import { BroadcastReceiver } from "./broadcast.ts";
import { BthomeReceiver } from "./bthome.ts";
import { addressOfPeer } from "./bthome-peer.ts";
import type { Central } from "./central.ts";
import { CountersFile } from "./counters-file.ts";
import { BleHub, tickMs } from "./hub.ts";
import { type HubCounters, type HubOutput, printable } from "./hub-output.ts";
import { readBindKeys, readKeys } from "./keys.ts";
import type { BleOptions } from "./options.ts";
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
    this.#hub = new BleHub(
      options,
      new BroadcastReceiver(broadcast, readKeys(keys), counters),
      new BthomeReceiver(broadcast, readBindKeys(bthome.keys), counters),
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
    return { name: this.hostOf(peer), by: "address", verified: false };
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    const { broadcast } = this.#options;
    const keys = { ...broadcast.keys, ...broadcast.bthome.keys };
    if (Object.keys(keys).length > 0 && broadcast.countersFile === undefined) {
      this.warnings.push(
        `${this.name}: keys of sensors without broadcast.countersFile: after a restart an old message of an authenticated sensor may be taken for new`,
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

  /** There is nobody to hear it: who is connected has found the gateway. */
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
        rssi: device.rssi === 127 ? undefined : device.rssi,
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

function flat(hub: HubCounters, central: Central["counters"]): Record<string, number> {
  const { broadcastDrops, noiseBytes, linksMade, linksFailed, linksLost, broadcasts } = hub;
  const { restarts, advertisements, rssBytes } = central;
  const counters: Record<string, number> = { noiseBytes, linksMade, linksFailed, linksLost, broadcasts };
  for (const [reason, count] of Object.entries(broadcastDrops)) counters[`broadcast:${reason}`] = count;
  return { ...counters, restarts, advertisements, rssBytes };
}
