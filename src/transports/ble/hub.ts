/**
 * The decisions of the Bluetooth transport, without a radio and without a clock. Events of the central, messages for devices and the time
 * go in; commands for the central and messages for the gateway come out.
 *
 * Devices advertise when they have something to send. There is one attempt to connect at a time. After each failure a device waits longer.
 * If more devices want a link than there are links, silent devices give up theirs first, then those that are connected for the longest
 * time.
 */
import type { Instant } from "../../core/types.ts";
import { createAdmission } from "./admission.ts";
import type { Advertisement } from "./advertisement.ts";
import { Bonds } from "./bonds.ts";
import { type BroadcastDrop, type BroadcastReceiver, broadcastPayload } from "./broadcast.ts";
import { type BthomeReceiver, bthomeCounterName, bthomeData } from "./bthome.ts";
import { bthomePeer } from "./bthome-peer.ts";
import type { CentralEvent } from "./central.ts";
import { type Device, DeviceTable } from "./device.ts";
import { HubLinks } from "./hub-links.ts";
import { type HubCounters, type HubOutput, HubVoice } from "./hub-output.ts";
import type { BleOptions } from "./options.ts";
import { pairingCrypto } from "./pairing-crypto.ts";
import { nextToLink, toGiveUp } from "./schedule.ts";

/** The interval in milliseconds at which `tick` must be called. */
export const tickMs = 100;
/** Messages per device that wait or are being written. Beyond, a message counts as a lost datagram. */
const outboxMessagesMax = 64;
const outboxBytesMax = 65_536;
/** A device that was not seen for this time is treated as a new one, and is the last in the order. */
const forgottenMs = 30_000;
/** Milliseconds between two attempts to connect, at least, during which the adapter listens to advertisements. */
const breathMs = 300;

export class BleHub {
  readonly #options: BleOptions;
  readonly #voice: HubVoice;
  readonly #links: HubLinks;
  readonly #admit: ReturnType<typeof createAdmission>;
  readonly #broadcasts: BroadcastReceiver;
  readonly #bthome: BthomeReceiver | undefined;
  readonly #devices: DeviceTable;
  readonly #bonds: Bonds;
  #condition: { readonly ready: boolean; readonly say: string } = { ready: false, say: "starting" };
  #scanning = false;
  /** The time when scanning ends. */
  #scanUntil: Instant = 0;
  /** The time when scanning began. An attempt to connect needs some scanning before it. */
  #scanSince: Instant = 0;

  constructor(
    options: BleOptions,
    broadcasts: BroadcastReceiver,
    bthome?: BthomeReceiver,
    bonds: Bonds = withoutBonds(options),
  ) {
    this.#options = options;
    this.#admit = createAdmission(options);
    this.#broadcasts = broadcasts;
    this.#bthome = bthome;
    this.#devices = new DeviceTable(options.devicesMax);
    this.#voice = new HubVoice(options.name);
    this.#bonds = bonds;
    this.#links = new HubLinks(options, this.#devices, this.#voice, bonds);
  }

  get condition(): { readonly ready: boolean; readonly say: string } {
    return this.#condition;
  }

  get counters(): HubCounters {
    return this.#voice.counters;
  }

  devices(): IterableIterator<Device> {
    return this.#devices.all();
  }

  /** Undefined: the device was not seen, or was forgotten. */
  device(address: string): Device | undefined {
    return this.#devices.get(address);
  }

  get links(): number {
    let links = 0;
    for (const device of this.#devices.all()) if (device.phase === "linked") links++;
    return links;
  }

  onCentral(event: CentralEvent, now: Instant): void {
    switch (event.is) {
      case "ready":
        this.#links.loseAll("the Bluetooth process was started again", now);
        this.#condition = { ready: true, say: `${event.adapter} by ${event.driver}` };
        this.#scanning = false;
        this.#voice.tell("info", `${this.#voice.name}: ready, ${this.#condition.say}`);
        this.#scan(true, now);
        break;
      case "unavailable":
        this.#links.loseAll(event.why, now, event.hung);
        if (this.#condition.ready || this.#condition.say !== event.why) {
          this.#voice.tell("warn", `${this.#voice.name}: ${event.why}. The gateway continues and tries again`);
        }
        this.#condition = { ready: false, say: event.why };
        this.#scanning = false;
        break;
      case "seen":
        this.#onSeen(event, now);
        break;
      case "linked":
        if (this.#links.onLinked(event, now)) this.#scan(true, now);
        break;
      case "bonded":
        this.#links.onBonded(event, now);
        break;
      case "linkFailed":
        if (this.#links.onLinkFailed(event, now)) this.#scan(true, now);
        break;
      case "unlinked":
        if (this.#links.onUnlinked(event.address, event.why, now)) this.#scan(true, now);
        break;
      case "data":
        this.#links.onData(event.address, event.bytes, now);
        break;
      case "written":
        this.#links.onWritten(event, now);
        break;
      case "parameters":
        this.#links.onParameters(event.address, event.parameters);
        break;
      case "noticed":
        this.#links.onNoticed(event.address, event.say);
        break;
      case "refused":
        this.#links.onRefused(event.address, event.why, now);
        break;
      case "stalled":
        this.#links.onStalled(event, now);
        break;
    }
    this.#schedule(now);
  }

  /** Sends one message to a device. The message is held for a while if the device is not connected. */
  send(address: string, bytes: Uint8Array, now: Instant): void {
    const device = this.#devices.get(address);
    const fits =
      device &&
      device.refusal === undefined &&
      device.outbox.length < outboxMessagesMax &&
      device.outboxBytes + bytes.byteLength <= outboxBytesMax;
    if (!fits) {
      this.#voice.counters.sendErrors++;
      return;
    }
    device.outbox.push({ bytes, until: now + this.#options.holdSeconds * 1_000 });
    device.outboxBytes += bytes.byteLength;
    this.#links.write(device, now);
    this.#schedule(now);
  }

  /** The client does not need its link any more, because it sleeps or has disconnected. */
  releaseLink(address: string, now: Instant): void {
    const link = this.#devices.get(address)?.link;
    if (link) link.releaseAt = now + this.#options.lingerSeconds * 1_000;
  }

  /** A broadcast sensor has begun to count from the beginning. False: no counter of it was known. */
  forgetCounter(address: string): boolean {
    const wasOfBthome = this.#bthome?.forget(address) ?? false;
    return this.#broadcasts.forget(address) || wasOfBthome;
  }

  /** Removes the bond. The device is unknown from now on, and its link ends. */
  removeBond(identity: string, now: Instant): boolean {
    const devices = [...this.#devices.all()].filter(({ address, addressType: type }) => {
      return this.#bonds.of({ address, type })?.identity.address === identity;
    });
    if (!this.#bonds.remove(identity)) return false;
    for (const device of devices) {
      if (device.phase === "linked") this.#links.unlink(device, "its bond was removed", now);
      else device.notBefore = now; // the device need not wait because of the bond
    }
    return true;
  }

  /** To be called every `tickMs`. */
  tick(now: Instant): void {
    for (const device of this.#devices.all()) this.#links.onTime(device, now);
    if (this.#condition.ready && now >= this.#scanUntil && !this.#links.linking()) this.#scan(!this.#scanning, now);
    this.#schedule(now);
  }

  take(): readonly HubOutput[] {
    return this.#voice.take();
  }

  #onSeen(seen: Advertisement, now: Instant): void {
    const payload = broadcastPayload(seen, this.#options.broadcast);
    if (payload) this.#onBroadcast(seen.address, payload, now);
    const known = this.#devices.get(seen.address);
    const name = seen.name ?? known?.name;
    const services = seen.services.length > 0 ? seen.services : (known?.services ?? []);
    const reading = bthomeData(seen, this.#bthome?.isWanted ?? false);
    if (reading) this.#onBthome({ ...seen, name, services }, reading, now);
    const refusal = this.#admit({ address: seen.address, name, services, rssi: seen.rssi });
    if (refusal !== undefined && !known && !payload && !reading) return;
    const device = this.#devices.seen(seen.address, now);
    device.addressType = seen.addressType;
    device.name = name;
    device.services = services;
    device.rssi = seen.rssi;
    device.connectable = seen.connectable;
    device.refusal = refusal;
    if (!device.connectable || now - device.lastSeen > forgottenMs) device.asksSince = undefined;
    if (device.connectable && device.phase === "idle") device.asksSince ??= now;
    device.lastSeen = now;
  }

  #onBroadcast(address: string, payload: Uint8Array, now: Instant): void {
    const outcome = this.#broadcasts.receive(address, payload, now);
    if ("dropped" in outcome) return this.#dropBroadcast(address, outcome.dropped);
    // A device with a bond is identified by the bond. Anybody can broadcast under its address.
    if (!outcome.authenticated && this.#bonds.ofAddress(address))
      return this.#dropBroadcast(address, "not-authenticated");
    this.#voice.counters.broadcasts++;
    if (outcome.authenticated) this.#voice.push({ kind: "counter", address, counter: outcome.counter });
    this.#voice.pass(address, outcome.message);
  }

  #onBthome(seen: Advertisement, serviceData: Uint8Array, now: Instant): void {
    const { address } = seen;
    const outcome = this.#bthome?.receive(seen, serviceData, now) ?? { dropped: "no-rule" };
    if ("dropped" in outcome) return this.#dropBroadcast(address, outcome.dropped);
    this.#voice.counters.broadcasts++;
    const { messages, counter } = outcome;
    if (counter !== undefined) this.#voice.push({ kind: "counter", address: bthomeCounterName(address), counter });
    for (const message of messages) this.#voice.pass(bthomePeer(address), message);
  }

  #dropBroadcast(address: string, why: BroadcastDrop): void {
    this.#voice.counters.broadcastDrops[why]++;
    if (why !== "duplicate") this.#voice.tell("debug", `${this.#voice.name}/${address}: broadcast dropped: ${why}`);
  }

  /** Connects to the next device, or ends another link for it. */
  #schedule(now: Instant): void {
    if (!this.#condition.ready || !this.#scanning || now - this.#scanSince < breathMs || this.#links.linking()) return;
    const next = nextToLink(this.#devices.all(), { now, seenSince: this.#scanSince });
    if (!next) return;
    let taken = 0;
    for (const { phase } of this.#devices.all()) if (phase !== "idle") taken++;
    if (taken < this.#options.linksMax) return this.#link(next, now);
    const silentMs = this.#options.turnSeconds * 1_000;
    const longestMs = this.#options.turnSecondsMax * 1_000;
    const victim = toGiveUp(this.#devices.all(), { now, silentMs, longestMs });
    if (victim) this.#links.unlink(victim, `${this.#voice.nameOf(next)} waits for a connection`, now);
  }

  #link(device: Device, now: Instant): void {
    const verdict = this.#bonds.verdict(device);
    if ("refusal" in verdict) return this.#links.refuseDevice(device, verdict.refusal, now);
    const { security } = verdict;
    this.#scan(false, now);
    this.#links.enter(device, "linking", now);
    device.security = security;
    this.#voice.command({ do: "link", address: device.address, ...(security && { security }) });
  }

  /** Starts or pauses scanning; both phases last as configured. */
  #scan(on: boolean, now: Instant): void {
    const { onSeconds, offSeconds } = this.#options.scan;
    this.#scanUntil = now + (on ? onSeconds : offSeconds) * 1_000;
    if (on !== this.#scanning) this.#voice.command({ do: "scan", on });
    this.#scanning = on;
    if (on) this.#scanSince = now;
  }
}

/** The bonds of a hub that keeps none. */
function withoutBonds(options: BleOptions): Bonds {
  return new Bonds(options, {
    aes: pairingCrypto.aes,
    readPasskey: () => {
      throw new Error("there is no passkey");
    },
    today: () => "",
    changed: () => {},
  });
}
