/**
 * The gateway ends in order. Where sessions survive, nobody is told: the next life goes on with them. Otherwise active
 * clients are told, so that they look for a gateway at once; sleepers are not spoken to. Wills are kept from being published, or let out, as configured. [interpretation 22]
 */
import type { Context } from "../context.ts";
import { connAck, disconnect, returnCodes } from "../messages.ts";
import { publishOffline } from "../routing/service.ts";
import { closeLink } from "../routing/transparent.ts";
import { isReachable } from "./session.ts";

export function onShutdown(context: Context): void {
  context.stopping = true;
  const how = context.options.shutdown.wills === "publish" ? "abandon" : "disconnect";
  for (const setup of context.setups.values()) context.out.send(setup.peer, connAck(returnCodes.congestion));
  for (const session of context.sessions.all()) {
    const isTold = !context.journal.enabled && isReachable(session) && session.peer !== undefined;
    if (isTold && session.peer !== undefined) context.out.send(session.peer, disconnect);
    closeLink(context, session.broker, { how, endSession: false });
  }
  publishOffline(context);
  for (const { service } of context.upstreams.all) closeLink(context, service, { how: "disconnect", endSession: true });
}
