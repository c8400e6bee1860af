/** The state of one device, and the table of all devices. */
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
  /** The time after which the message counts as lost, if the device is not connected. */
  readonly until: Instant;
}

export interface Link {
  readonly since: Instant;
  readonly mtu: number;
  readonly incoming: Reassembler;
  /** The time of the last message in either direction. */
  lastTraffic: Instant;
  /** Writes that the central has: id, and since when. */
  readonly writing: Map<number, Instant>;
  /** Consecutive writes that the device refused. */
  refusals: number;
  /** True: octets may be missing in its data, so the link's data are ignored. */
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
  /** Why the device may not connect; undefined = it may. */
  refusal: string | undefined;
  lastSeen: Instant;
  phase: "idle" | "linking" | "linked" | "unlinking";
  /** The time when the phase began. */
  phaseSince: Instant;
  link: Link | undefined;
  /** Messages for the device, also while it is not connected. */
  readonly outbox: Waiting[];
  outboxBytes: number;
  /** Failed attempts in a row. */
  failures: number;
  /** The gateway does not connect before this time. */
  notBefore: Instant;
  /**
   * Time since which the device advertises without a connection or a failed attempt; undefined = it does not ask for a
   * connection.
   */
  asksSince: Instant | undefined;
  lastFailure: string;
  /** Why the gateway is ending the link; undefined: it is not. */
  leaving: string | undefined;
  /** The link is ended because of a fault of the device: the pause until the next connection. */
  penalty: Pause | undefined;
  /** The security that its link must have; undefined: no encryption is required, or there is no link. */
  security: WantedSecurity | undefined;
  /** The parameters of its link, before and while the link is open. */
  parameters: LinkParameters | undefined;
  /** The notices about this device that the operator has got. Each notice is given once. */
  readonly noticed: Set<string>;
  /** The device has sent an MQTT-SN message before. */
  spoke: boolean;
}

/**
 * Devices by address, ordered by the time of their last advertisement. Limited; connected devices are not forgotten.
 */
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

  /** Returns the device, known or new, and moves it to the end of the order. */
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
