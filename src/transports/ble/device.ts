/** What is known of one device, and the table of them. */
import type { Instant } from "../../core/types.ts";
import type { Reassembler } from "../framing.ts";
import type { Advertisement } from "./advertisement.ts";
import type { LinkParameters } from "./hci-packets.ts";
import type { WantedSecurity } from "./link-security.ts";

/** The pause after a failure; doubles with each one in a row. */
export interface Pause {
  readonly firstMs: number;
  readonly longestMs: number;
}

export interface Waiting {
  readonly bytes: Uint8Array;
  /** When it counts as lost, while the device is not connected. */
  readonly until: Instant;
}

export interface Link {
  readonly since: Instant;
  readonly mtu: number;
  readonly incoming: Reassembler;
  /** Last message, either way. */
  lastTraffic: Instant;
  /** Writes that the central has: id, and since when. */
  readonly writing: Map<number, Instant>;
  /** Writes in a row that it refused. */
  refusals: number;
  /** Octets of what comes may be missing: it is not listened to any more. */
  isTorn: boolean;
  /** The client sleeps or has disconnected: the link may end at this time. */
  releaseAt: Instant | undefined;
}

export interface Device {
  readonly address: string;
  addressType: Advertisement["addressType"];
  name: string | undefined;
  services: readonly string[];
  rssi: number;
  connectable: boolean;
  /** Why it may not connect; undefined = it may. */
  refusal: string | undefined;
  lastSeen: Instant;
  phase: "idle" | "linking" | "linked" | "unlinking";
  /** When the phase began. */
  phaseSince: Instant;
  link: Link | undefined;
  /** Messages for it, also while it is not connected. */
  readonly outbox: Waiting[];
  outboxBytes: number;
  /** Failed attempts in a row. */
  failures: number;
  /** No attempt before. */
  notBefore: Instant;
  /** Advertises since, without having been connected to or failed; undefined = it does not ask. */
  asksSince: Instant | undefined;
  lastFailure: string;
  /** Why we are ending the link, if we are. */
  leaving: string | undefined;
  /** The link is ended for a fault of the device: how long it is left alone then. */
  penalty: Pause | undefined;
  /** What its link was asked to be; undefined: not encrypted, or there is none. */
  security: WantedSecurity | undefined;
  /** Its link's parameters, before and while it stands. */
  parameters: LinkParameters | undefined;
  /** What was reported of it to the operator. Each thing is reported once. */
  readonly noticed: Set<string>;
  /** It has sent an MQTT-SN message at some time. */
  spoke: boolean;
}

/** Devices by address, ordered by when they were seen last. Limited; connected devices are not forgotten. */
export class DeviceTable {
  readonly #devices = new Map<string, Device>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#devices.size;
  }

  all(): IterableIterator<Device> {
    return this.#devices.values();
  }

  get(address: string): Device | undefined {
    return this.#devices.get(address);
  }

  /** The device, known or new, as the one seen last. */
  seen(address: string, now: Instant): Device {
    const device = this.#devices.get(address) ?? newDevice(address, now);
    this.#devices.delete(address);
    this.#devices.set(address, device);
    if (this.#devices.size > this.#max) this.#forgetOne();
    return device;
  }

  #forgetOne(): void {
    for (const [address, device] of this.#devices) {
      if (device.phase !== "idle") continue;
      this.#devices.delete(address);
      return;
    }
  }
}

function newDevice(address: string, now: Instant): Device {
  return {
    address,
    addressType: "public",
    name: undefined,
    services: [],
    rssi: 127,
    connectable: false,
    refusal: "not seen yet",
    lastSeen: now,
    phase: "idle",
    phaseSince: now,
    link: undefined,
    outbox: [],
    outboxBytes: 0,
    failures: 0,
    notBefore: 0,
    asksSince: undefined,
    lastFailure: "",
    leaving: undefined,
    penalty: undefined,
    security: undefined,
    parameters: undefined,
    noticed: new Set(),
    spoke: false,
  };
}
