/**
 * The gateway's own connection to each broker. It is used for QoS -1 and for status messages. It also shows whether the
 * broker is there, on which advertising depends. [MQTT-SN 1.2 §6.1, §6.8]
 */
import { topicLevel } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import { willKey } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";
import type { Upstream } from "../state/upstream.ts";
import type { Publication, Will } from "../types.ts";
import { verdictOn } from "./door.ts";
import { takesPublication } from "./limits.ts";
import { sendUnanswered } from "./sending.ts";
import { toBroker } from "./topic-prefix.ts";

export function onServiceUp(context: Context, upstream: Upstream<Session>): void {
  publishGatewayStatus(context, upstream, "online");
  publishClientStates(context, upstream);
  if (context.options.advertise.intervalSeconds > 0) advertise(context);
}

/** Publishes the state of each client of this upstream. */
export function publishClientStates(context: Context, upstream: Upstream<Session>): void {
  if (context.options.status.topic === undefined) return;
  for (const session of context.sessions.each())
    if (session.upstream === upstream) publishClientStatus(context, session);
}

export function onServiceDown(context: Context): void {
  if (!isSomeBrokerThere(context)) context.deadlines.clear(context.advertise);
}

/** True if any broker can be reached, so that the gateway is useful to devices. */
function isSomeBrokerThere(context: Context): boolean {
  return context.upstreams.all.some(({ isThere }) => isThere);
}

/** Sends ADVERTISE now and every T_ADV, as long as the broker can be reached. */
export function advertise(context: Context): void {
  const { intervalSeconds, radius } = context.options.advertise;
  if (!isSomeBrokerThere(context) || context.stopping) return;
  const message = {
    type: "ADVERTISE",
    gwId: context.options.gatewayId,
    duration: Math.min(intervalSeconds, 65_535),
  } as const;
  for (const dialect of context.dialects) {
    context.counters.countSent("ADVERTISE");
    context.out.add({ kind: "broadcast", dialect, message, radius });
  }
  context.deadlines.set(context.advertise, context.now + intervalSeconds * 1_000);
}

/** Publishes at QoS 0 over the gateway's own connection; false when that is not possible now. */
export function publishByService(context: Context, upstream: Upstream<Session>, publication: Publication): boolean {
  const { link } = upstream.service;
  if (!link?.up || link.congested) return false;
  const topicName = toBroker(upstream.options.topicPrefix, publication.topicName);
  const published: Publication = { ...publication, topicName, qos: 0 };
  if (!takesPublication(link.limits, published)) return false;
  const { service } = upstream;
  if (verdictOn(context, service, service.key, published) === "refuse") {
    context.drop("refused-by-broker", { clientId: undefined, peer: undefined, detail: `QoS 0 ${topicName}` });
    return true;
  }
  return sendUnanswered(context, upstream.service, undefined, published);
}

/**
 * Publishes active, asleep, lost or disconnected, retained under the status topic. The state awake is a part of asleep,
 * and not published.
 */
export function publishClientStatus(context: Context, session: Session): void {
  if (context.options.status.topic === undefined || session.state === "awake") return;
  publishStatus(context, session.upstream, `clients/${topicLevel(session.clientId)}`, session.state);
}

/**
 * Removes the client's retained state with an empty retained message, after all earlier ones of this client.
 * [MQTT-3.3.1-10]
 */
export function removeClientStatus(context: Context, clientId: string): void {
  const { topic } = context.options.status;
  if (topic === undefined || context.sessions.look(clientId) !== undefined) return;
  const general = context.upstreams.default;
  if (general.service.link?.limits.retainAvailable !== true) return;
  const topicName = `${topic}/clients/${topicLevel(clientId)}`;
  publishByService(context, general, { topicName, payload: new Uint8Array(0), qos: 0, retain: true });
}

/** Publishes that the gateway is ending, while it still can. */
export function publishOffline(context: Context): void {
  for (const upstream of context.upstreams.all) publishGatewayStatus(context, upstream, "offline");
}

function publishGatewayStatus(context: Context, upstream: Upstream<Session>, state: "online" | "offline"): void {
  if (context.options.status.ofClientsOnly !== true) publishStatus(context, upstream, "gateway", state);
}

function publishStatus(context: Context, upstream: Upstream<Session>, what: string, state: string): void {
  const { topic } = context.options.status;
  if (topic === undefined) return;
  const topicName = `${topic}/${what}`;
  // If the broker does not support retained messages, subscribers still get the message without the flag.
  const retain = upstream.service.link?.limits.retainAvailable === true;
  publishByService(context, upstream, { topicName, payload: octets(state), qos: 0, retain });
}

/** The will of the gateway's own connection, unless the broker is known to close the connection for it. */
export function statusWill(context: Context, { options, service }: Upstream<Session>): Will | undefined {
  const { topic, ofClientsOnly } = context.options.status;
  if (topic === undefined || ofClientsOnly === true) return undefined;
  const topicName = toBroker(options.topicPrefix, `${topic}/gateway`);
  const will: Will = { topicName, payload: octets("offline"), qos: 0, retain: true };
  return service.kinds.refuses(context.now, willKey(service.key, will)) ? undefined : will;
}

/** The octets of a word that has only ASCII letters. */
function octets(word: string): Uint8Array {
  return Uint8Array.from(word, (char) => char.charCodeAt(0));
}
