/**
 * The time, for a device without a clock. The device publishes at `topics.timeId`, with any payload or none. The answer
 * is a message at the same id with the seconds since 1970 in four octets, most significant first. Nothing is sent to
 * the broker.
 */
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import type { Session } from "../state/session.ts";
import type { Publish } from "../words.ts";

export function isTimeAsked({ options }: Context, { topicIdType, topicId }: Publish): boolean {
  return topicIdType === "predefined" && topicId === options.topics.timeId;
}

/** Refused at QoS 2: the time is old when such an exchange ends. */
export function tellTime(context: Context, session: Session, { qos, topicId, msgId }: Publish): void {
  if (qos === 2) return context.tell(session, pubAck(topicId, msgId, "notSupported"));
  const now = context.environment.wallClock();
  if (now === undefined) {
    context.drop("clock-not-set", { clientId: session.clientId, peer: session.peer, detail: `topic id ${topicId}` });
    return context.tell(session, pubAck(topicId, msgId, "congestion"));
  }
  if (qos === 1) context.tell(session, pubAck(topicId, msgId, "accepted"));
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, Math.floor(now / 1_000) % 2 ** 32);
  context.tell(session, {
    type: "PUBLISH",
    dup: false,
    qos: 0,
    retain: false,
    topicIdType: "predefined",
    topicId,
    msgId: 0,
    data,
  });
}
