/**
 * The gateway is stopped. If sessions survive, no client is told, because the next run continues them. If not, active
 * clients get DISCONNECT, so that they look for a gateway at once. Nothing is sent to sleeping clients. Wills are
 * withheld or published, as configured. [interpretation 22]
 */
import { closeLink, detach } from "../broker/links.ts";
import { sendLast } from "../broker/sending.ts";
import { publishOffline } from "../broker/service.ts";
import { brokerWill } from "../broker/will.ts";
import type { Context } from "../context.ts";
import { connAck, disconnect } from "../messages.ts";
import { writeShown } from "../session/repeated-retained.ts";
import { isReachable, type Session } from "../state/session.ts";

export function onShutdown(context: Context): void {
  context.stopping = true;
  const how = context.options.shutdown.wills === "publish" ? "abandon" : "disconnect";
  for (const pending of context.pendingConnects.values()) context.tell(pending, connAck("congestion"));
  for (const session of context.sessions.live()) {
    if (!context.journal.enabled && isReachable(session)) context.tell(session, disconnect);
    if (session.shared && how === "abandon") publishWillAtOnce(context, session);
    detach(context, session, { how, endSession: false });
  }
  if (how === "abandon") publishWillsOfSleepers(context);
  writeShown(context);
  publishOffline(context);
  for (const upstream of context.upstreams.all) {
    const { service, sharedConnections } = upstream;
    // Without a store the next run would not know what the session at the broker is for.
    for (const { broker } of upstream.allShared())
      closeLink(context, broker, { how: "disconnect", endSession: !context.journal.enabled });
    if (sharedConnections.length === 0) closeLink(context, service, { how: "disconnect", endSession: true });
  }
}

/** Publishes the wills of parked sessions. */
function publishWillsOfSleepers(context: Context): void {
  for (const row of context.sessions.parkedRows()) {
    const glance = context.sessions.glanceAt(row);
    if (!glance?.hasWill || glance.state !== "asleep") continue;
    const session = context.sessions.lookInto(row);
    if (session) publishWillAtOnce(context, session);
  }
}

/** Publishes the will without waiting for an acknowledgement, because the process is about to end. */
function publishWillAtOnce(context: Context, session: Session): void {
  const { clientId } = session;
  const { link } = session.broker;
  const will = brokerWill(context, session);
  if (!will || !link?.up || session.state === "disconnected" || session.state === "lost") return;
  context.out.report({ event: "will_published", clientId, by: "gateway" });
  sendLast(context, session, will);
}
