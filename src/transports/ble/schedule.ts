/** Chooses the next device to connect to, and the connection to give up for it. */
import type { Instant } from "../../core/types.ts";
import type { Device } from "./device.ts";

/**
 * Orders the devices that want a connection (they advertise, and were seen since `seenSince`): first those for which messages wait, then
 * those that have waited longest, so that new devices do not overtake others.
 */
export function nextToLink(
  devices: Iterable<Device>,
  { now, seenSince }: { readonly now: Instant; readonly seenSince: Instant },
): Device | undefined {
  let best: Device | undefined;
  for (const device of devices) {
    const asks =
      device.phase === "idle" &&
      device.asksSince !== undefined &&
      device.connectable &&
      device.refusal === undefined &&
      device.lastSeen >= seenSince &&
      device.notBefore <= now;
    if (asks && (!best || comesBefore(device, best))) best = device;
  }
  return best;
}

function comesBefore(a: Device, b: Device): boolean {
  const awaited = Number(b.outbox.length > 0) - Number(a.outbox.length > 0);
  return awaited === 0 ? (a.asksSince ?? 0) < (b.asksSince ?? 0) : awaited < 0;
}

/**
 * Returns the link of a client that sleeps, otherwise the one that was silent for longest, otherwise the oldest one.
 * Undefined: all links must stay.
 */
export function toGiveUp(
  devices: Iterable<Device>,
  { now, silentMs, longestMs }: { readonly now: Instant; readonly silentMs: number; readonly longestMs: number },
): Device | undefined {
  let best: Device | undefined;
  let bestRank = 0;
  for (const device of devices) {
    const { link } = device;
    if (device.phase === "unlinking") return undefined; // a link is ending now
    if (device.phase !== "linked" || !link) continue;
    const isIdle = device.outbox.length === 0 && link.writing.size === 0;
    const silence = now - link.lastTraffic;
    let rank = 0;
    if (isIdle && link.releaseAt !== undefined) rank = 3e12;
    else if (isIdle && silence >= silentMs) rank = 2e12 + silence;
    else if (now - link.since >= longestMs) rank = 1e12 + (now - link.since);
    if (rank > bestRank) {
      best = device;
      bestRank = rank;
    }
  }
  return best;
}
