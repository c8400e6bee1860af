/** The outputs of the hub, to the adapter, the gateway and the operator, and its counters. */
import { type BroadcastDrop, broadcastDrops } from "./broadcast.ts";
import type { CentralCommand } from "./central.ts";
import type { Device } from "./device.ts";
import { type SecurityFault, securityFaults } from "./link-security.ts";

export type HubOutput =
  | { readonly kind: "command"; readonly command: CentralCommand }
  | { readonly kind: "restart"; readonly why: string }
  | { readonly kind: "message"; readonly address: string; readonly bytes: Uint8Array }
  | { readonly kind: "gone"; readonly address: string; readonly why: string }
  /** An authenticated sender's counter moved on: to be stored. */
  | { readonly kind: "counter"; readonly address: string; readonly counter: number }
  | { readonly kind: "told"; readonly level: "debug" | "info" | "warn"; readonly say: string };

export interface HubCounters {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  sendErrors: number;
  noiseBytes: number;
  linksMade: number;
  linksFailed: number;
  linksLost: number;
  broadcasts: number;
  readonly broadcastDrops: Record<BroadcastDrop, number>;
  /** Devices that were paired. */
  bonded: number;
  /** Links that could not be encrypted as required. */
  readonly insecure: Record<SecurityFault, number>;
}

function newCounters(): HubCounters {
  return {
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    sendErrors: 0,
    noiseBytes: 0,
    linksMade: 0,
    linksFailed: 0,
    linksLost: 0,
    broadcasts: 0,
    broadcastDrops: Object.fromEntries(broadcastDrops.map((reason) => [reason, 0])) as Record<BroadcastDrop, number>,
    bonded: 0,
    insecure: Object.fromEntries(securityFaults.map((fault) => [fault, 0])) as Record<SecurityFault, number>,
  };
}

/** Devices choose their names: control characters for terminals are removed. */
export function printable(name: string): string {
  return name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "?").slice(0, 40);
}

/** Collects the outputs of one call of the hub, and counts over all calls. */
export class HubVoice {
  readonly name: string;
  readonly counters = newCounters();
  #out: HubOutput[] = [];

  constructor(name: string) {
    this.name = name;
  }

  take(): readonly HubOutput[] {
    const out = this.#out;
    if (out.length > 0) this.#out = [];
    return out;
  }

  push(output: HubOutput): void {
    this.#out.push(output);
  }

  pass(address: string, bytes: Uint8Array): void {
    this.counters.messagesIn++;
    this.counters.bytesIn += bytes.byteLength;
    this.#out.push({ kind: "message", address, bytes });
  }

  command(command: CentralCommand): void {
    this.#out.push({ kind: "command", command });
  }

  tell(level: "debug" | "info" | "warn", say: string): void {
    this.#out.push({ kind: "told", level, say });
  }

  nameOf(device: Device): string {
    return `${this.name}/${device.address}${device.name === undefined ? "" : ` (${printable(device.name)})`}`;
  }
}
