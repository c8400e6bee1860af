/** The operator drops publications of a client that the broker does not have yet. The device gets an answer. */
import { matches } from "../../wire/topic.ts";
import { forgetExchange } from "../broker/exchange-record.ts";
import { retire } from "../broker/experience-record.ts";
import { sendWaiting } from "../broker/sending.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import { pubAck } from "../messages.ts";
import { onAllForwarded } from "../session/departure.ts";
import { onWillSettled } from "../session/will-delivery.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { type Session, unbindUplink } from "../state/session.ts";

export function purgeUplink(context: Context, input: Extract<Input, { kind: "purgeUplink" }>): void {
  const session = context.sessions.byClientId(input.clientId);
  if (!session) return;
  const { clientId, broker, account } = session;
  for (const exchange of [...broker.inFlight.values()]) {
    if (exchange.kind !== "publish" || exchange.owner !== session || !isBefore(exchange)) continue;
    if (input.topicFilter === undefined || matches(input.topicFilter, exchange.publication.topicName))
      giveUp(context, session, exchange);
  }
  for (const [id, { publication }] of input.entries) {
    if (!account.backlog.giveUp(id, publication)) continue;
    context.journal.remove({ of: "backlog", clientId, id, record: undefined });
    context.drop("purged", { clientId, detail: `QoS ${publication.qos} ${publication.topicName}` });
  }
  sendWaiting(context, broker);
  if (account.unforwarded === 0) onAllForwarded(context, session);
}

/** Whether the broker has not yet confirmed that it has the publication. */
function isBefore({ stage }: PublishExchange<Session>): boolean {
  return stage === "waiting" || stage === "sent";
}

function giveUp(context: Context, session: Session, exchange: PublishExchange<Session>): void {
  const { broker, clientId } = session;
  const { publication, origin, fromBeforeConnect, backlogId, isWill } = exchange;
  retire(context, broker, exchange);
  broker.finish(exchange);
  forgetExchange(context, exchange);
  if (backlogId > 0) context.journal.remove({ of: "backlog", clientId, id: backlogId, record: undefined });
  context.drop("purged", { clientId, detail: `QoS ${publication.qos} ${publication.topicName}` });
  if (isWill) return onWillSettled(context, exchange);
  if (!origin) return;
  unbindUplink(exchange);
  context.touch(session);
  if (!fromBeforeConnect) context.tell(session, pubAck(origin.topicId, origin.msgId, "notSupported"));
}
