/** Sends the records of contexts. No other file does this, so the rule of sequence numbers is kept in one place. */
import type { Common } from "./common.ts";
import type { SecureContext } from "./context.ts";
import type { Instant } from "./messages.ts";
import { joined } from "./octets.ts";
import { contentTypes, plainRecord, sealedRecord } from "./record.ts";
import { recordOf } from "./record-of.ts";

const changeCipherSpec = Uint8Array.of(1);

/** Sends the content now, or as soon as a sequence number may be used for it. */
export function sendContent(common: Common, context: SecureContext, type: number, content: Uint8Array): void {
  const record = context.held.length > 0 ? undefined : sealed(context, type, content);
  if (record) common.say({ kind: "transmit", address: context.address, bytes: record });
  else if (!context.hold({ type, content })) common.counters.unsent++;
  reserve(common, context);
}

/** Reserves sequence numbers before they are needed. */
export function reserve(common: Common, context: SecureContext): void {
  if (common.isStoring(context.identity)) return;
  const ceiling = context.ceilingToAsk();
  if (ceiling === undefined) return;
  common.persist([changeOf(context)], (ok) => {
    context.ceilingStored(ceiling, ok);
    if (ok && !context.isGone) sendHeld(common, context);
  });
}

/** The context to be stored. A later one never has a lower ceiling. */
export function changeOf(context: SecureContext): { readonly identity: string; readonly record: Uint8Array } {
  context.storedTop = context.window.top;
  return { identity: context.identity, record: recordOf(context.state()) };
}

function sendHeld(common: Common, context: SecureContext): void {
  for (const { type, content } of context.held.splice(0)) sendContent(common, context, type, content);
}

/** Sends ChangeCipherSpec and Finished. False: they could not be sent. */
export function sendLastFlight(common: Common, context: SecureContext, now: Instant): boolean {
  const flight = context.lastFlight;
  const finished = flight && sealed(context, contentTypes.handshake, flight.finished);
  if (!flight || !finished) return false;
  flight.sentAt = now;
  const change = plainRecord(contentTypes.changeCipherSpec, flight.plainNext++, changeCipherSpec);
  common.say({ kind: "transmit", address: context.address, bytes: joined(change, finished) });
  return true;
}

/**
 * The device repeats its last flight, because the server's flight was lost. It is also possible that each side answers
 * the other's repetition without end. So there is a pause, which doubles, and a limit.
 */
export function repeatLastFlight(common: Common, context: SecureContext, now: Instant): void {
  const flight = context.lastFlight;
  if (!flight || flight.repeatsLeft === 0 || now - flight.sentAt < flight.pauseMs) return;
  if (sendLastFlight(common, context, now)) {
    flight.repeatsLeft--;
    flight.pauseMs *= 2;
  }
  reserve(common, context);
}

function sealed(context: SecureContext, type: number, content: Uint8Array): Uint8Array | undefined {
  const seq = context.takeNumber();
  return seq === undefined ? undefined : sealedRecord(context.write, { type, seq, cid: context.peerCid, content });
}
