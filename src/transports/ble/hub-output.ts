/** What the hub says: to the adapter, to the gateway, to the operator; and what it counts. */
import { type BroadcastDrop, broadcastDrops } from "./broadcast.ts";
import type { CentralCommand } from "./central.ts";

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
}

export function newCounters(): HubCounters {
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
  };
}

/** Names come from strangers: nothing that moves a terminal's cursor. */
export function printable(name: string): string {
  return name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "?").slice(0, 40);
}
