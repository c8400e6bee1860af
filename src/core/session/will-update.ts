/**
 * WILLTOPICUPD and WILLMSGUPD. The stored will changes at once. The will at the broker cannot change; will-delivery.ts
 * describes how the gateway prevents its publication. [MQTT-SN 1.2 §6.4]
 */
import { isTopicName } from "../../wire/topic.ts";
import type { Context } from "../context.ts";

import type { Session } from "../state/session.ts";
import type { Reason, WillMsg, WillTopic } from "../words.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { markChanged } from "./session-record.ts";
import { hasRoomForWill } from "./topic-octets.ts";

const nothing = new Uint8Array(0);
const nowhere = { topicName: "", qos: 0, retain: false } as const;

export function onWillTopicUpd(context: Context, session: Session, message: WillTopic): void {
  const { willTopic, qos, retain } = message;
  const answer = (reason: Reason) => {
    context.tell(session, { type: "WILLTOPICRESP", reason });
  };
  if (willTopic === undefined) {
    session.will = undefined;
    session.willMessage = undefined;
  } else if (
    typeof willTopic !== "string" ||
    !isTopicName(willTopic) ||
    qos === -1 ||
    !mayGoToBroker(willTopic, session.shared !== undefined)
  ) {
    return answer("notSupported");
  } else {
    const rights = context.rightsOf(session);
    if (rights?.mayPublish(willTopic) === false) {
      const { clientId, peer } = session;
      context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: willTopic });
      return answer("notSupported");
    }
    const payload = session.will?.payload ?? session.willMessage ?? nothing;
    const will = { topicName: willTopic, payload, qos, retain };
    if (!hasRoomForWill(context, session, will)) return answer(haveNoRoom(context, session, "WILLTOPICUPD"));
    session.will = will;
  }
  markChanged(context, session);
  answer("accepted");
}

export function onWillMsgUpd(context: Context, session: Session, message: WillMsg): void {
  const payload = message.willMsg;
  const will = session.will ? { ...session.will, payload } : { ...nowhere, payload };
  if (!hasRoomForWill(context, session, will)) {
    const reason = haveNoRoom(context, session, "WILLMSGUPD");
    context.tell(session, { type: "WILLMSGRESP", reason });
    return;
  }
  if (session.will) session.will = { ...session.will, payload };
  else session.willMessage = payload; // waits for the topic of the will
  markChanged(context, session);
  context.tell(session, { type: "WILLMSGRESP", reason: "accepted" });
}

function haveNoRoom(context: Context, session: Session, detail: string): Reason {
  context.drop("topic-ids-exhausted", { clientId: session.clientId, peer: session.peer, detail });
  return "congestion";
}
