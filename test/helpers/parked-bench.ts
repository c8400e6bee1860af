/** A gateway whose clients of a shared connection sleep, and are parked. */
import { expect } from "vitest";
import type { PeerId } from "../../src/core/types.ts";
import { testOptions } from "../simulation/options.ts";
import { a, bench, type Over, subscribed } from "./aggregating-bench.ts";
import { type Bench, connect, sleep } from "./bench.ts";

export const parkAfterMs = 10_000;
/** Times at which sessions are parked are rounded up to 250 ms. */
export const soonMs = parkAfterMs + 250;

export const clients = { ...testOptions.clients, parkAfterMs };

export function parking(over: Over = {}): Bench {
  return bench({ ...over, clients: { ...clients, ...over.clients } });
}

export const parked = (gateway: Bench) => gateway.core.sizes.parked;

/** Client a (or the one at `peer`) subscribes to d/a/+, sleeps, and is parked. */
export function asleep(gateway: Bench = parking(), peer: PeerId = a, clientId = "a"): Bench {
  gateway.client(connect({ clientId, cleanSession: false, duration: 60 }), peer).gets("CONNACK");
  subscribed(gateway, peer, `d/${clientId}/+`, 1);
  gateway.client(sleep(3_600), peer).gets("DISCONNECT");
  gateway.after(30_000); // retained messages may come for so long
  return parkedNow(gateway);
}

export function parkedNow(gateway: Bench): Bench {
  const before = parked(gateway);
  gateway.after(2 * soonMs);
  expect(parked(gateway), "one more is parked").toBe(before + 1);
  return gateway;
}
