/**
 * The Bluetooth transport's decisions, without a radio and without a clock: events of the central, messages for
 * devices and the time go in, commands for the central and what the gateway is to hear come out.
 *
 * Devices advertise when they have something to say. One attempt to connect at a time; who failed waits longer each
 * time; where more devices want a link than there are, silent ones, then the longest connected, give up theirs.
 */
import type { Instant } from "../../core/types.ts";
import { Reassembler } from "../framing.ts";
import { createAdmission } from "./admission.ts";
import type { Advertisement } from "./advertisement.ts";
import { type BroadcastDrop, type BroadcastReceiver, broadcastPayload } from "./broadcast.ts";
import { type BthomeReceiver, bthomeCounterName, bthomeData } from "./bthome.ts";
import { bthomePeer } from "./bthome-peer.ts";
import type { CentralCommand, CentralEvent } from "./central.ts";
import { type Device, DeviceTable, type Link, type Pause } from "./device.ts";
import type { LinkParameters } from "./hci-packets.ts";
import { type HubCounters, type HubOutput, newCounters, printable } from "./hub-output.ts";
import { parametersInWords } from "./link-parameters.ts";
import type { BleOptions } from "./options.ts";
import { ordinal } from "./ordinal.ts";
import { nextToLink, toGiveUp } from "./schedule.ts";

/** How often `tick` is to be called, in milliseconds. */
export const tickMs = 100;
/** Messages per device that wait or are being written. Beyond, a message counts as a lost datagram. */
const outboxMessagesMax = 64;
const outboxBytesMax = 65_536;
/** Messages of a link that the central has at once. */
const writesAtOnce = 2;
/** Beyond this the central does not answer any more, whatever its own deadlines are. */
const answerMs = 15_000;
/** Who was not seen for so long asks anew, and is last in the row. */
const forgottenMs = 30_000;
/** Between two attempts advertisements are listened to at least so long. */
const breathMs = 300;
const firstPauseMs = 1_000;
/** Failures in a row that a person sees; the rest is for whoever looks closer. */
const failuresTold = 2;
const longestPauseMs = 300_000;
/** A device that is connected and has never sent a message speaks something else, and somebody else may want it. */
const strangerMs = 30_000;
const strangerPause: Pause = { firstMs: 60_000, longestMs: 3_600_000 };
const neverSpoke = "it has never sent an MQTT-SN message";
/** A device that refuses so many writes in a row is no use: whoever has its firmware has to do something. */
const refusalsMax = 3;
const refusingPause: Pause = { firstMs: 10_000, longestMs: 300_000 };
/** Different things that a person is told of one device: it makes them up. */
const noticesMax = 8;
/** A device whose connecting made the central hang: an hour at most. */
const blockedPauseMs = 60_000;
const longestBlockedPauseMs = 3_600_000;
/** After the Bluetooth process stood still: what had gathered has been read by then, and repetitions are under way. */
const suspectMs = 1_000;

export class BleHub {
  readonly #options: BleOptions;
  readonly #name: string;
  readonly #admit: ReturnType<typeof createAdmission>;
  readonly #broadcasts: BroadcastReceiver;
  readonly #bthome: BthomeReceiver | undefined;
  readonly #devices: DeviceTable;
  #out: HubOutput[] = [];
  #condition: { readonly ready: boolean; readonly say: string } = { ready: false, say: "starting" };
  #scanning = false;
  /** When scanning changes over. */
  #scanUntil: Instant = 0;
  /** Until then octets may be missing in what comes. */
  #suspectUntil: Instant = 0;
  /** Scanning since; an attempt needs some of it. */
  #scanSince: Instant = 0;
  #nextWriteId = 1;
  readonly counters: HubCounters = newCounters();

  constructor(options: BleOptions, broadcasts: BroadcastReceiver, bthome?: BthomeReceiver) {
    this.#options = options;
    this.#name = options.name;
    this.#admit = createAdmission(options);
    this.#broadcasts = broadcasts;
    this.#bthome = bthome;
    this.#devices = new DeviceTable(options.devicesMax);
  }

  get condition(): { readonly ready: boolean; readonly say: string } {
    return this.#condition;
  }

  devices(): IterableIterator<Device> {
    return this.#devices.all();
  }

  get links(): number {
    let links = 0;
    for (const device of this.#devices.all()) if (device.phase === "linked") links++;
    return links;
  }

  onCentral(event: CentralEvent, now: Instant): void {
    switch (event.is) {
      case "ready":
        this.#loseAll("the Bluetooth process started anew", now);
        this.#condition = { ready: true, say: `${event.adapter} by ${event.driver}` };
        this.#scanning = false;
        this.#tell("info", `${this.#name}: ready, ${this.#condition.say}`);
        this.#scan(true, now);
        break;
      case "unavailable":
        this.#loseAll(event.why, now, event.hung);
        if (this.#condition.ready || this.#condition.say !== event.why) {
          this.#tell("warn", `${this.#name}: ${event.why}. The gateway runs on and tries again`);
        }
        this.#condition = { ready: false, say: event.why };
        this.#scanning = false;
        break;
      case "seen":
        this.#onSeen(event, now);
        break;
      case "linked":
        this.#onLinked(event, now);
        break;
      case "linkFailed":
        this.#onLinkFailed(event, now);
        break;
      case "unlinked":
        this.#onUnlinked(event.address, event.why, now);
        break;
      case "data":
        this.#onData(event.address, event.bytes, now);
        break;
      case "written":
        this.#onWritten(event, now);
        break;
      case "parameters":
        this.#onParameters(event.address, event.parameters);
        break;
      case "noticed":
        this.#onNoticed(event.address, event.say);
        break;
      case "refused":
        this.#onRefused(event.address, event.why, now);
        break;
      case "stalled":
        this.#onStalled(event, now);
        break;
    }
    this.#schedule(now);
  }

  /** One message to a device. Held for a while if it is not connected. */
  send(address: string, bytes: Uint8Array, now: Instant): void {
    const device = this.#devices.get(address);
    const fits =
      device &&
      device.refusal === undefined &&
      device.outbox.length < outboxMessagesMax &&
      device.outboxBytes + bytes.byteLength <= outboxBytesMax;
    if (!fits) {
      this.counters.sendErrors++;
      return;
    }
    device.outbox.push({ bytes, until: now + this.#options.holdSeconds * 1_000 });
    device.outboxBytes += bytes.byteLength;
    this.#write(device, now);
    this.#schedule(now);
  }

  /** The client there needs its link no longer: it sleeps, or said goodbye. */
  releaseLink(address: string, now: Instant): void {
    const link = this.#devices.get(address)?.link;
    if (link) link.releaseAt = now + this.#options.lingerSeconds * 1_000;
  }

  /** A sensor that broadcasts counts anew. false: no counter of it was known. */
  forgetCounter(address: string): boolean {
    const wasOfBthome = this.#bthome?.forget(address) ?? false;
    return this.#broadcasts.forget(address) || wasOfBthome;
  }

  /** To be called every `tickMs`. */
  tick(now: Instant): void {
    for (const device of this.#devices.all()) this.#onTime(device, now);
    if (this.#condition.ready && now >= this.#scanUntil && !this.#linking()) this.#scan(!this.#scanning, now);
    this.#schedule(now);
  }

  take(): readonly HubOutput[] {
    const out = this.#out;
    if (out.length > 0) this.#out = [];
    return out;
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
    this.counters.broadcasts++;
    if (outcome.authenticated) this.#out.push({ kind: "counter", address, counter: outcome.counter });
    this.#pass(address, outcome.message);
  }

  #onBthome(seen: Advertisement, serviceData: Uint8Array, now: Instant): void {
    const { address } = seen;
    const outcome = this.#bthome?.receive(seen, serviceData, now) ?? { dropped: "no-rule" };
    if ("dropped" in outcome) return this.#dropBroadcast(address, outcome.dropped);
    this.counters.broadcasts++;
    const { messages, counter } = outcome;
    if (counter !== undefined) this.#out.push({ kind: "counter", address: bthomeCounterName(address), counter });
    for (const message of messages) this.#pass(bthomePeer(address), message);
  }

  #dropBroadcast(address: string, why: BroadcastDrop): void {
    this.counters.broadcastDrops[why]++;
    if (why !== "duplicate") this.#tell("debug", `${this.#name}/${address}: broadcast dropped: ${why}`);
  }

  #onLinked(event: Extract<CentralEvent, { is: "linked" }>, now: Instant): void {
    const device = this.#devices.get(event.address);
    if (device?.phase !== "linking") return this.#command({ do: "unlink", address: event.address });
    const { maxMessageBytes, resyncSeconds, supervisionSeconds } = this.#options;
    this.#enter(device, "linked", now);
    device.link = {
      since: now,
      mtu: event.mtu,
      incoming: new Reassembler({
        maxMessageBytes,
        // Within the supervision time-out the radio may stand still and go on where it was: what comes then is no new
        // message. A device may have asked for a longer one.
        get resyncMs() {
          const supervisionMs = Math.max(supervisionSeconds * 1_000, device.parameters?.supervisionMs ?? 0);
          return Math.max(resyncSeconds * 1_000, supervisionMs + 1_000);
        },
      }),
      lastTraffic: now,
      writing: new Map(),
      releaseAt: undefined,
      refusals: 0,
      isTorn: false,
    };
    this.counters.linksMade++;
    const writes = event.confirmed ? "confirmed writes" : "unconfirmed writes";
    const parameters = device.parameters === undefined ? "" : `, ${parametersInWords(device.parameters)}`;
    this.#tell(
      "info",
      `${this.#nameOf(device)}: connected, MTU ${event.mtu}, ${writes}, RSSI ${device.rssi} dBm${parameters}`,
    );
    this.#write(device, now);
    this.#scan(true, now);
  }

  #onLinkFailed(event: Extract<CentralEvent, { is: "linkFailed" }>, now: Instant): void {
    const device = this.#devices.get(event.address);
    if (device?.phase !== "linking") return;
    this.#enter(device, "idle", now);
    this.counters.linksFailed++;
    this.#failed(device, event.why, now, { firstMs: firstPauseMs, longestMs: longestPauseMs });
    this.#scan(true, now);
  }

  /** One more failure in a row: it waits twice as long as the last time. */
  #failed(device: Device, why: string, now: Instant, pause: Pause): void {
    const pauseMs = Math.min(pause.firstMs * 2 ** device.failures, pause.longestMs);
    device.failures++;
    device.notBefore = now + pauseMs;
    device.lastFailure = why;
    const again = device.failures === 1 ? "" : ` (the ${ordinal(device.failures)} time)`;
    const say = `${this.#nameOf(device)}: ${why}${again}; next try in ${Math.round(pauseMs / 1_000)} s`;
    this.#tell(device.failures <= failuresTold ? "info" : "debug", say);
  }

  #onUnlinked(address: string, why: string, now: Instant): void {
    const device = this.#devices.get(address);
    if (!device || device.phase === "idle") return;
    if (device.phase === "linking") return this.#onLinkFailed({ is: "linkFailed", address, why }, now);
    const { leaving, penalty } = device;
    this.#endLink(device, leaving ?? why, now);
    if (leaving !== undefined && penalty) this.#failed(device, leaving, now, penalty);
    else if (leaving === undefined) {
      this.counters.linksLost++;
      device.lastFailure = why;
    }
  }

  #endLink(device: Device, why: string, now: Instant): void {
    const { link } = device;
    this.#enter(device, "idle", now);
    const { penalty } = device;
    device.link = undefined;
    device.leaving = undefined;
    device.penalty = undefined;
    device.parameters = undefined;
    if (!link) return;
    this.counters.noiseBytes += link.incoming.pendingBytes;
    this.counters.sendErrors += link.writing.size;
    if (device.spoke && !penalty) device.failures = 0;
    this.#tell("info", `${this.#nameOf(device)}: connection ended after ${seconds(now - link.since)} s: ${why}`);
    this.#out.push({ kind: "gone", address: device.address, why });
  }

  #loseAll(why: string, now: Instant, hung = false): void {
    for (const device of this.#devices.all()) {
      if (device.phase === "linking") {
        this.#enter(device, "idle", now);
        this.counters.linksFailed++;
        const pause = hung
          ? { firstMs: blockedPauseMs, longestMs: longestBlockedPauseMs }
          : { firstMs: firstPauseMs, longestMs: longestPauseMs };
        this.#failed(device, hung ? `connecting to it blocked the adapter: ${why}` : why, now, pause);
      } else if (device.phase !== "idle") this.#endLink(device, why, now);
    }
  }

  #onData(address: string, bytes: Uint8Array, now: Instant): void {
    const device = this.#devices.get(address);
    const link = device?.link;
    if (!link) return;
    if (link.isTorn) {
      this.counters.noiseBytes += bytes.byteLength;
      return;
    }
    const noiseBefore = link.incoming.discardedBytes;
    const messages = link.incoming.take(bytes, now);
    const isWhole = link.incoming.pendingBytes === 0 && link.incoming.discardedBytes === noiseBefore;
    if (now < this.#suspectUntil && !isWhole) {
      for (const { byteLength } of messages) this.counters.noiseBytes += byteLength;
      this.counters.noiseBytes += link.incoming.discardedBytes - noiseBefore;
      return this.#tear(device, link, now);
    }
    for (const message of messages) {
      link.lastTraffic = now;
      link.releaseAt = undefined;
      device.spoke = true;
      this.#pass(address, message);
    }
    const noise = link.incoming.discardedBytes - noiseBefore;
    if (noise === 0) return;
    this.counters.noiseBytes += noise;
    this.#tell("debug", `${this.#nameOf(device)}: ${noise} octets are no message`);
  }

  /** Before `linked` they are part of what is said then. */
  #onParameters(address: string, parameters: LinkParameters): void {
    const device = this.#devices.get(address);
    if (!device || device.phase === "idle") return;
    device.parameters = parameters;
    if (device.phase === "linked") {
      this.#tell("info", `${this.#nameOf(device)}: the link has ${parametersInWords(parameters)} now`);
    }
  }

  #onNoticed(address: string, say: string): void {
    const device = this.#devices.get(address);
    if (!device || device.noticed.has(say)) return;
    const isFull = device.noticed.size >= noticesMax;
    if (!isFull) device.noticed.add(say);
    this.#tell(isFull ? "debug" : "info", `${this.#nameOf(device)}: ${say}`);
  }

  /** What it refuses is lost; at QoS 1 and 2 it comes again. */
  #onRefused(address: string, why: string, now: Instant): void {
    const device = this.#devices.get(address);
    const link = device?.link;
    if (!link || device.phase !== "linked") return;
    link.refusals++;
    if (link.refusals === 1) this.#onNoticed(address, why);
    if (link.refusals >= refusalsMax) this.#unlink(device, why, now, refusingPause);
  }

  /**
   * The kernel holds some packets for the process that has the adapter; what comes beyond is gone. A message that lacks
   * octets in its middle would be filled up by the next one and believed, so whoever was in the middle of one begins anew
   * with a new link, unless the kernel says that nothing is missing. Messages that are whole in one notification are taken.
   */
  #onStalled({ ms, dropped }: Extract<CentralEvent, { is: "stalled" }>, now: Instant): void {
    const stood = `${this.#name}: the Bluetooth process stood still for ${seconds(ms)} s`;
    if (dropped === 0) return this.#tell("info", `${stood}; the kernel kept everything`);
    this.#suspectUntil = now + suspectMs;
    if (dropped === undefined) this.#tell("warn", `${stood}; packets of the adapter may be missing`);
    else
      this.#tell(
        "warn",
        `${this.#name}: the kernel dropped ${dropped} packets of the adapter: this machine is too busy`,
      );
    for (const device of this.#devices.all()) {
      const { link } = device;
      if (link && link.incoming.pendingBytes > 0) this.#tear(device, link, now);
    }
  }

  #tear(device: Device, link: Link, now: Instant): void {
    link.isTorn = true;
    this.counters.linksLost++;
    device.lastFailure = "octets of a message may be missing";
    if (device.phase === "linked") this.#unlink(device, device.lastFailure, now);
  }

  #pass(address: string, bytes: Uint8Array): void {
    this.counters.messagesIn++;
    this.counters.bytesIn += bytes.byteLength;
    this.#out.push({ kind: "message", address, bytes });
  }

  #write(device: Device, now: Instant): void {
    const { link } = device;
    if (!link || device.phase !== "linked") return;
    while (link.writing.size < writesAtOnce) {
      const next = device.outbox.shift();
      if (!next) return;
      device.outboxBytes -= next.bytes.byteLength;
      const id = this.#nextWriteId++;
      link.writing.set(id, now);
      link.lastTraffic = now;
      this.counters.messagesOut++;
      this.counters.bytesOut += next.bytes.byteLength;
      this.#command({ do: "write", address: device.address, id, bytes: next.bytes });
    }
  }

  #onWritten(event: Extract<CentralEvent, { is: "written" }>, now: Instant): void {
    const device = this.#devices.get(event.address);
    if (!device?.link?.writing.delete(event.id)) return;
    if (event.failed !== undefined) {
      this.counters.sendErrors++;
      this.#tell("debug", `${this.#nameOf(device)}: not written: ${event.failed}`);
    } else device.link.refusals = 0;
    this.#write(device, now);
  }

  #onTime(device: Device, now: Instant): void {
    switch (device.phase) {
      case "idle":
        while (device.outbox[0] && device.outbox[0].until <= now) {
          device.outboxBytes -= device.outbox.shift()?.bytes.byteLength ?? 0;
          this.counters.sendErrors++;
        }
        return;
      case "linking": {
        const { connectSeconds, setUpSeconds } = this.#options;
        if (now - device.phaseSince < (connectSeconds + setUpSeconds) * 1_000 + answerMs) return;
        this.#out.push({ kind: "restart", why: `connecting to ${device.address} did not come to an end` });
        return this.#enter(device, "linking", now);
      }
      case "unlinking":
        if (now - device.phaseSince < answerMs) return;
        this.#out.push({ kind: "restart", why: `disconnecting from ${device.address} did not come to an end` });
        return this.#enter(device, "unlinking", now);
      case "linked":
        return this.#onLinkTime(device, now);
    }
  }

  #onLinkTime(device: Device, now: Instant): void {
    const { link } = device;
    if (!link) return;
    const oldestWrite = link.writing.values().next();
    if (!oldestWrite.done && now - oldestWrite.value >= answerMs)
      return this.#unlink(device, "it takes no writes", now);
    if (!device.spoke && now - link.since >= strangerMs) return this.#unlink(device, neverSpoke, now, strangerPause);
    const isIdle = device.outbox.length === 0 && link.writing.size === 0;
    if (link.releaseAt !== undefined && now >= link.releaseAt && isIdle) {
      this.#unlink(device, "its client needs no connection now", now);
    }
  }

  /** `penalty`: it is the device's fault. */
  #unlink(device: Device, why: string, now: Instant, penalty?: Pause): void {
    device.leaving = why;
    device.penalty = penalty;
    this.#enter(device, "unlinking", now);
    this.#command({ do: "unlink", address: device.address });
  }

  /** Connects to the next device, or makes room for it. */
  #schedule(now: Instant): void {
    if (!this.#condition.ready || !this.#scanning || now - this.#scanSince < breathMs || this.#linking()) return;
    const next = nextToLink(this.#devices.all(), { now, seenSince: this.#scanSince });
    if (!next) return;
    let taken = 0;
    for (const { phase } of this.#devices.all()) if (phase !== "idle") taken++;
    if (taken < this.#options.linksMax) {
      this.#scan(false, now);
      this.#enter(next, "linking", now);
      return this.#command({ do: "link", address: next.address });
    }
    const silentMs = this.#options.turnSeconds * 1_000;
    const longestMs = this.#options.turnSecondsMax * 1_000;
    const victim = toGiveUp(this.#devices.all(), { now, silentMs, longestMs });
    if (victim) this.#unlink(victim, `${this.#nameOf(next)} waits for a connection`, now);
  }

  #linking(): boolean {
    for (const device of this.#devices.all()) if (device.phase === "linking") return true;
    return false;
  }

  /** Starts or pauses scanning; both phases last as configured. */
  #scan(on: boolean, now: Instant): void {
    const { onSeconds, offSeconds } = this.#options.scan;
    this.#scanUntil = now + (on ? onSeconds : offSeconds) * 1_000;
    if (on !== this.#scanning) this.#command({ do: "scan", on });
    this.#scanning = on;
    if (on) this.#scanSince = now;
  }

  #enter(device: Device, phase: Device["phase"], now: Instant): void {
    device.phase = phase;
    if (phase === "linking") device.parameters = undefined;
    device.asksSince = undefined;
    device.phaseSince = now;
  }

  #command(command: CentralCommand): void {
    this.#out.push({ kind: "command", command });
  }

  #tell(level: "debug" | "info" | "warn", say: string): void {
    this.#out.push({ kind: "told", level, say });
  }

  #nameOf(device: Device): string {
    return `${this.#name}/${device.address}${device.name === undefined ? "" : ` (${printable(device.name)})`}`;
  }
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
