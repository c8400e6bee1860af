/**
 * WILLTOPICUPD and WILLMSGUPD: the stored will changes at once; the broker's copy cannot, see will-delivery.ts for
 * how the old one is kept from being published. [MQTT-SN 1.2 §6.4]
 */
import { isTopicName } from "../../wire/topic.ts";
import type { WillMsgUpd, WillTopicUpd } from "../../wire/v12/messages.ts";
import type { Context } from "../context.ts";
import { returnCodes } from "../messages.ts";
import type { Session } from "../state/session.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { markChanged } from "./session-record.ts";
import { hasRoomForWill } from "./topic-octets.ts";

const nothing = new Uint8Array(0);
const nowhere = { topicName: "", qos: 0, retain: false } as const;

export function onWillTopicUpd(context: Context, session: Session, message: WillTopicUpd): void {
  const { willTopic, qos, retain } = message;
  const answer = (returnCode: number) => {
    if (session.peer !== undefined) context.out.send(session.peer, { type: "WILLTOPICRESP", returnCode });
  };
  if (willTopic === undefined) {
    session.will = undefined;
    session.willMessage = undefined;
  } else if (
    typeof willTopic !== "string" ||
    !isTopicName(willTopic) ||
    qos === -1 ||
    !mayGoToBroker(willTopic, session.trunk !== undefined)
  ) {
    return answer(returnCodes.notSupported);
  } else {
    const payload = session.will?.payload ?? session.willMessage ?? nothing;
    const will = { topicName: willTopic, payload, qos, retain };
    if (!hasRoomForWill(context, session, will)) return answer(haveNoRoom(context, session, "WILLTOPICUPD"));
    session.will = will;
  }
  markChanged(context, session);
  answer(returnCodes.accepted);
}

export function onWillMsgUpd(context: Context, session: Session, message: WillMsgUpd): void {
  const payload = message.willMsg;
  const will = session.will ? { ...session.will, payload } : { ...nowhere, payload };
  if (!hasRoomForWill(context, session, will)) {
    const returnCode = haveNoRoom(context, session, "WILLMSGUPD");
    if (session.peer !== undefined) context.out.send(session.peer, { type: "WILLMSGRESP", returnCode });
    return;
  }
  if (session.will) session.will = { ...session.will, payload };
  else session.willMessage = payload; // waits for its topic
  markChanged(context, session);
  if (session.peer !== undefined)
    context.out.send(session.peer, { type: "WILLMSGRESP", returnCode: returnCodes.accepted });
}

function haveNoRoom(context: Context, session: Session, detail: string): number {
  context.drop("topic-ids-exhausted", { clientId: session.clientId, peer: session.peer, detail });
  return returnCodes.congestion;
}
