/** Unknown senders: the gateway keeps no state for them and gives few answers. [interpretation 2] */
import type { Context } from "../context.ts";
import { disconnect } from "../messages.ts";
import type { Speech } from "../speech.ts";
import type { PeerId } from "../types.ts";
import type { Publish } from "../words.ts";
import { onPublishWithoutAnswer } from "./publish-up.ts";

/** Answers an unknown sender with DISCONNECT, so that the device connects: at most once a second. */
export function answerStranger(context: Context, dialect: Speech, peer: PeerId, what: string): void {
  context.drop("unknown-sender", { peer, detail: what });
  if (context.unknownSenders.allows(peer, context.now) && context.mayAnswer(peer))
    context.out.send(dialect, peer, disconnect);
}

/** A publication at QoS -1. [§6.8] */
export function onPublishOfStranger(context: Context, peer: PeerId, message: Publish): void {
  const admission = context.access.qosMinusOne(peer, context.neighbourAt(peer));
  if (!admission.admitted) {
    context.counters.dropped["qos-minus-one-not-allowed"]++;
    return context.out.report({
      event: "not_admitted",
      clientId: undefined,
      peer,
      what: "qosMinusOne",
      hint: admission.hint,
    });
  }
  const { qosMinusOnePerSecond: most } = context.access;
  if (most > 0 && !context.withoutConnection.allows(context.hostOf(peer), context.now, most)) {
    context.counters.dropped["over-limit"]++; // a report of each message would let a flood fill the log
    return;
  }
  onPublishWithoutAnswer(context, peer, undefined, message);
}

/** Sends GWINFO to the sender, to the group, or both, as configured. [§6.1] */
export function onSearchGw(context: Context, dialect: Speech, peer: PeerId, radius: number): void {
  const message = { type: "GWINFO", gwId: context.options.gatewayId, gwAdd: new Uint8Array(0) } as const;
  if (!context.mayAnswer(peer)) return context.drop("too-many-answers", { peer, detail: "SEARCHGW" });
  const { gwinfo } = context.options.advertise;
  if (gwinfo !== "broadcast") context.out.send(dialect, peer, message);
  if (gwinfo === "unicast") return;
  context.counters.countSent("GWINFO");
  context.out.add({ kind: "broadcast", dialect, message, radius });
}
