/**
 * The links of a hub: making and ending them, their messages and deadlines. hub.ts decides which device gets a link.
 */
import type { Instant } from "../../core/types.ts";
import { Reassembler } from "../framing.ts";
import type { Bonds } from "./bonds.ts";
import type { CentralEvent } from "./central.ts";
import type { Device, DeviceTable, Link, Pause } from "./device.ts";
import type { LinkParameters } from "./hci-packets.ts";
import { type HubVoice, printable } from "./hub-output.ts";
import { parametersInWords } from "./link-parameters.ts";
import { securingMsMax } from "./link-security.ts";
import type { BleOptions } from "./options.ts";
import { ordinal } from "./ordinal.ts";

/** Messages of a link that the central has at once. */
const writesAtOnce = 2;
/** After this time the central is treated as hung, also if its own deadlines are later. */
const answerMs = 15_000;
const firstPauseMs = 1_000;
/** Failures in a row that are logged for people; further ones are only in the debug log. */
const failuresTold = 2;
const longestPauseMs = 300_000;
/** A device that is connected and has never sent a message uses another protocol, and another program may need it. */
const strangerMs = 30_000;
const strangerPause: Pause = { firstMs: 60_000, longestMs: 3_600_000 };
const neverSpoke = "it has never sent an MQTT-SN message";
/** A device that refuses so many consecutive writes does not work: its firmware must be corrected. */
const refusalsMax = 3;
const refusingPause: Pause = { firstMs: 10_000, longestMs: 300_000 };
/** Different notices about one device. There is a limit, because the device chooses their content. */
const noticesMax = 8;
/** The pause for a device whose connection made the central hang: it grows up to an hour. */
const blockedPauseMs = 60_000;
const longestBlockedPauseMs = 3_600_000;
/**
 * Milliseconds after the Bluetooth process stood still. After them all waiting data have been read, and devices have
 * begun to repeat.
 */
const suspectMs = 1_000;

export class HubLinks {
  readonly #options: BleOptions;
  readonly #devices: DeviceTable;
  readonly #voice: HubVoice;
  readonly #bonds: Bonds;
  /** Until this time, octets may be missing in received data, because packets of the adapter were lost. */
  #suspectUntil: Instant = 0;
  #nextWriteId = 1;

  constructor(options: BleOptions, devices: DeviceTable, voice: HubVoice, bonds: Bonds) {
    this.#options = options;
    this.#bonds = bonds;
    this.#devices = devices;
    this.#voice = voice;
  }

  /** The central has connected to a device. True: scanning may continue. */
  onLinked(event: Extract<CentralEvent, { is: "linked" }>, now: Instant): boolean {
    const device = this.#devices.get(event.address);
    if (device?.phase !== "linking") {
      this.#voice.command({ do: "unlink", address: event.address });
      return false;
    }
    const { maxMessageBytes, resyncSeconds, supervisionSeconds } = this.#options;
    this.enter(device, "linked", now);
    device.link = {
      since: now,
      mtu: event.mtu,
      incoming: new Reassembler({
        maxMessageBytes,
        // Within the supervision time-out the radio may stop and then continue in the middle of a message, so data
        // after a shorter pause are no new message. A device may have asked for a longer time-out.
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
    this.#voice.counters.linksMade++;
    const writes = event.confirmed ? "confirmed writes" : "unconfirmed writes";
    const encryption = device.security ? this.#encryptionInWords(device) : "";
    const parameters = device.parameters === undefined ? "" : `, ${parametersInWords(device.parameters)}`;
    this.#voice.tell(
      "info",
      `${this.#voice.nameOf(device)}: connected, MTU ${event.mtu}, ${writes}, RSSI ${device.rssi} dBm${parameters}${encryption}`,
    );
    this.write(device, now);
    return true;
  }

  #encryptionInWords(device: Device): string {
    const bond = this.#bonds.of({ address: device.address, type: device.addressType });
    const how = bond?.authenticated ? "paired with a passkey" : "paired without a passkey";
    const whose = bond && bond.identity.address !== device.address ? `, known as ${bond.identity.address}` : "";
    return `, encrypted, ${how}${whose}`;
  }

  /** The device was paired, and its link is being set up. */
  onBonded({ address, bond }: Extract<CentralEvent, { is: "bonded" }>, now: Instant): void {
    const device = this.#devices.get(address);
    if (device?.phase !== "linking" || !device.security) return;
    this.#bonds.tried(device.security, true);
    if (this.#bonds.add(bond, printable(device.name ?? ""))) {
      this.#voice.counters.bonded++;
      const kind = bond.secureConnections ? "LE Secure Connections" : "legacy pairing";
      const how = bond.authenticated ? "with its passkey" : "without a passkey (just works)";
      this.#voice.tell("info", `${this.#voice.nameOf(device)}: paired ${how}, by ${kind}; its bond is kept`);
      return;
    }
    // The link is set up nevertheless, and then ended, because `onLinked` finds no waiting device.
    const why = `it identifies itself as ${bond.identity.address}, which has a bond; if the device has lost its bond, remove the bond here too (mqtt-sn-gateway ble unbond ${bond.identity.address})`;
    this.onLinkFailed({ is: "linkFailed", address, why, fault: "bond-lost" }, now);
  }

  /** True: scanning may continue. */
  onLinkFailed({ address, why, fault }: Extract<CentralEvent, { is: "linkFailed" }>, now: Instant): boolean {
    const device = this.#devices.get(address);
    if (device?.phase !== "linking") return false;
    if (fault !== undefined) {
      this.#voice.counters.insecure[fault]++;
      if (fault === "passkey" && device.security) this.#bonds.tried(device.security, false);
    }
    this.enter(device, "idle", now);
    this.#voice.counters.linksFailed++;
    const pause = fault === undefined ? { firstMs: firstPauseMs, longestMs: longestPauseMs } : refusingPause;
    this.#failed(device, why, now, pause);
    return true;
  }

  /** The device may connect, but not with its present security. No attempt is made. */
  refuseDevice(device: Device, why: string, now: Instant): void {
    this.#voice.counters.insecure.refused++;
    this.enter(device, "idle", now);
    this.#failed(device, why, now, refusingPause);
  }

  /** Counts one more consecutive failure: the pause doubles. */
  #failed(device: Device, why: string, now: Instant, pause: Pause): void {
    const pauseMs = Math.min(pause.firstMs * 2 ** device.failures, pause.longestMs);
    device.failures++;
    device.notBefore = now + pauseMs;
    device.lastFailure = why;
    const again = device.failures === 1 ? "" : ` (the ${ordinal(device.failures)} time)`;
    const say = `${this.#voice.nameOf(device)}: ${why}${again}; next try in ${Math.round(pauseMs / 1_000)} s`;
    this.#voice.tell(device.failures <= failuresTold ? "info" : "debug", say);
  }

  /** True: scanning may continue. */
  onUnlinked(address: string, why: string, now: Instant): boolean {
    const device = this.#devices.get(address);
    if (!device || device.phase === "idle") return false;
    if (device.phase === "linking") return this.onLinkFailed({ is: "linkFailed", address, why }, now);
    const { leaving, penalty } = device;
    this.#endLink(device, leaving ?? why, now);
    if (leaving !== undefined && penalty) this.#failed(device, leaving, now, penalty);
    else if (leaving === undefined) {
      this.#voice.counters.linksLost++;
      device.lastFailure = why;
    }
    return false;
  }

  #endLink(device: Device, why: string, now: Instant): void {
    const { link } = device;
    this.enter(device, "idle", now);
    const { penalty } = device;
    device.link = undefined;
    device.leaving = undefined;
    device.penalty = undefined;
    device.parameters = undefined;
    if (!link) return;
    this.#voice.counters.noiseBytes += link.incoming.pendingBytes;
    this.#voice.counters.sendErrors += link.writing.size;
    if (device.spoke && !penalty) device.failures = 0;
    this.#voice.tell(
      "info",
      `${this.#voice.nameOf(device)}: connection ended after ${seconds(now - link.since)} s: ${why}`,
    );
    this.#voice.push({ kind: "gone", address: device.address, why });
  }

  loseAll(why: string, now: Instant, hung = false): void {
    for (const device of this.#devices.all()) {
      if (device.phase === "linking") {
        this.enter(device, "idle", now);
        this.#voice.counters.linksFailed++;
        const pause = hung
          ? { firstMs: blockedPauseMs, longestMs: longestBlockedPauseMs }
          : { firstMs: firstPauseMs, longestMs: longestPauseMs };
        this.#failed(device, hung ? `connecting to it blocked the adapter: ${why}` : why, now, pause);
      } else if (device.phase !== "idle") this.#endLink(device, why, now);
    }
  }

  onData(address: string, bytes: Uint8Array, now: Instant): void {
    const device = this.#devices.get(address);
    const link = device?.link;
    if (!link) return;
    if (link.isTorn) {
      this.#voice.counters.noiseBytes += bytes.byteLength;
      return;
    }
    const noiseBefore = link.incoming.discardedBytes;
    const messages = link.incoming.take(bytes, now);
    const isWhole = link.incoming.pendingBytes === 0 && link.incoming.discardedBytes === noiseBefore;
    if (now < this.#suspectUntil && !isWhole) {
      for (const { byteLength } of messages) this.#voice.counters.noiseBytes += byteLength;
      this.#voice.counters.noiseBytes += link.incoming.discardedBytes - noiseBefore;
      return this.#tear(device, link, now);
    }
    for (const message of messages) {
      link.lastTraffic = now;
      link.releaseAt = undefined;
      device.spoke = true;
      this.#voice.pass(address, message);
    }
    const noise = link.incoming.discardedBytes - noiseBefore;
    if (noise === 0) return;
    this.#voice.counters.noiseBytes += noise;
    this.#voice.tell("debug", `${this.#voice.nameOf(device)}: ${noise} octets are not a message`);
  }

  /** Parameters before `linked` are reported together with it. */
  onParameters(address: string, parameters: LinkParameters): void {
    const device = this.#devices.get(address);
    if (!device || device.phase === "idle") return;
    device.parameters = parameters;
    if (device.phase === "linked") {
      this.#voice.tell("info", `${this.#voice.nameOf(device)}: the link has ${parametersInWords(parameters)} now`);
    }
  }

  onNoticed(address: string, say: string): void {
    const device = this.#devices.get(address);
    if (!device || device.noticed.has(say)) return;
    const isFull = device.noticed.size >= noticesMax;
    if (!isFull) device.noticed.add(say);
    this.#voice.tell(isFull ? "debug" : "info", `${this.#voice.nameOf(device)}: ${say}`);
  }

  /** A message that the device refuses is lost; at QoS 1 and 2 it is sent again. */
  onRefused(address: string, why: string, now: Instant): void {
    const device = this.#devices.get(address);
    const link = device?.link;
    if (!link || device.phase !== "linked") return;
    link.refusals++;
    if (link.refusals === 1) this.onNoticed(address, why);
    if (link.refusals >= refusalsMax) this.unlink(device, why, now, refusingPause);
  }

  /**
   * The kernel keeps some packets for the process that uses the adapter; further ones are lost. If octets in the middle of a message were
   * lost, the octets of the next message would fill the gap, and the result would be accepted. So a device in the middle of a message gets
   * a new link, unless the kernel says that nothing is missing. Messages that are whole in one notification are accepted.
   */
  onStalled({ ms, dropped }: Extract<CentralEvent, { is: "stalled" }>, now: Instant): void {
    const stood = `${this.#voice.name}: the Bluetooth process stood still for ${seconds(ms)} s`;
    if (dropped === 0) return this.#voice.tell("info", `${stood}; the kernel kept all packets`);
    this.#suspectUntil = now + suspectMs;
    if (dropped === undefined) this.#voice.tell("warn", `${stood}; packets of the adapter may be missing`);
    else
      this.#voice.tell(
        "warn",
        `${this.#voice.name}: the kernel dropped ${dropped} packets of the adapter: this machine is too busy`,
      );
    for (const device of this.#devices.all()) {
      const { link } = device;
      if (link && link.incoming.pendingBytes > 0) this.#tear(device, link, now);
    }
  }

  #tear(device: Device, link: Link, now: Instant): void {
    link.isTorn = true;
    this.#voice.counters.linksLost++;
    device.lastFailure = "octets of a message may be missing";
    if (device.phase === "linked") this.unlink(device, device.lastFailure, now);
  }

  write(device: Device, now: Instant): void {
    const { link } = device;
    if (!link || device.phase !== "linked") return;
    while (link.writing.size < writesAtOnce) {
      const next = device.outbox.shift();
      if (!next) return;
      device.outboxBytes -= next.bytes.byteLength;
      const id = this.#nextWriteId++;
      link.writing.set(id, now);
      link.lastTraffic = now;
      this.#voice.counters.messagesOut++;
      this.#voice.counters.bytesOut += next.bytes.byteLength;
      this.#voice.command({ do: "write", address: device.address, id, bytes: next.bytes });
    }
  }

  onWritten(event: Extract<CentralEvent, { is: "written" }>, now: Instant): void {
    const device = this.#devices.get(event.address);
    if (!device?.link?.writing.delete(event.id)) return;
    if (event.failed !== undefined) {
      this.#voice.counters.sendErrors++;
      this.#voice.tell("debug", `${this.#voice.nameOf(device)}: not written: ${event.failed}`);
    } else device.link.refusals = 0;
    this.write(device, now);
  }

  onTime(device: Device, now: Instant): void {
    switch (device.phase) {
      case "idle":
        while (device.outbox[0] && device.outbox[0].until <= now) {
          device.outboxBytes -= device.outbox.shift()?.bytes.byteLength ?? 0;
          this.#voice.counters.sendErrors++;
        }
        return;
      case "linking": {
        const { connectSeconds, setUpSeconds } = this.#options;
        const limitMs = (connectSeconds + setUpSeconds) * 1_000 + (device.security ? securingMsMax : 0) + answerMs;
        if (now - device.phaseSince < limitMs) return;
        this.#voice.push({ kind: "restart", why: `connecting to ${device.address} did not finish` });
        return this.enter(device, "linking", now);
      }
      case "unlinking":
        if (now - device.phaseSince < answerMs) return;
        this.#voice.push({ kind: "restart", why: `disconnecting from ${device.address} did not finish` });
        return this.enter(device, "unlinking", now);
      case "linked":
        return this.#onLinkTime(device, now);
    }
  }

  #onLinkTime(device: Device, now: Instant): void {
    const { link } = device;
    if (!link) return;
    const oldestWrite = link.writing.values().next();
    if (!oldestWrite.done && now - oldestWrite.value >= answerMs) return this.unlink(device, "it takes no writes", now);
    if (!device.spoke && now - link.since >= strangerMs) return this.unlink(device, neverSpoke, now, strangerPause);
    const isIdle = device.outbox.length === 0 && link.writing.size === 0;
    if (link.releaseAt !== undefined && now >= link.releaseAt && isIdle) {
      this.unlink(device, "its client needs no connection now", now);
    }
  }

  /** `penalty`: the pause, if the device caused the end. */
  unlink(device: Device, why: string, now: Instant, penalty?: Pause): void {
    device.leaving = why;
    device.penalty = penalty;
    this.enter(device, "unlinking", now);
    this.#voice.command({ do: "unlink", address: device.address });
  }

  linking(): boolean {
    for (const device of this.#devices.all()) if (device.phase === "linking") return true;
    return false;
  }

  enter(device: Device, phase: Device["phase"], now: Instant): void {
    device.phase = phase;
    if (phase === "linking") device.parameters = undefined;
    if (phase === "idle") device.security = undefined;
    device.asksSince = undefined;
    device.phaseSince = now;
  }
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
