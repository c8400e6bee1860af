/**
 * A will in CONNECT for which the broker closes the connection. MQTT 3.1.1 has no code for this refusal, and a broker
 * of MQTT 5 may not send one.
 *
 * At that moment no other packet is unanswered, so the search for suspects does not see it. The proof is similar: three
 * connections with the will ended before CONNACK, and between them a connection without the will was accepted. After
 * two such ends the gateway connects once without the will (the *probe*). If this is accepted, it connects again with
 * the will.
 *
 * After the proof, a device that waits for its CONNACK gets "not supported". For a device that is already connected,
 * the gateway connects without the will, keeps the will and publishes it itself. It does the same with the will of its
 * own status message. As with other packets, the result is valid for an hour, then for twice as long, also after a
 * restart.
 */
import { storeExperience } from "../broker/experience-record.ts";
import { reopen } from "../broker/links.ts";
import type { Context } from "../context.ts";
import type { LinkEnd } from "../input.ts";

import { failPendingConnect } from "../session/connect-outcome.ts";
import type { WillTrial } from "../state/broker-session.ts";
import type { Link } from "../state/link.ts";
import { willKey } from "../state/packet-key.ts";
import { searchFigures } from "../state/search-figures.ts";

/**
 * What must be done about the will. `again`: nothing yet. `probe`: connect without the will. `refuse`: do not connect
 * with it any more. undefined: the end was not caused by the will.
 */
export type WillVerdict = "again" | "probe" | "refuse" | undefined;

/**
 * MQTT 5 reasons of CONNACK that concern only the will: its topic, the size of CONNECT, its payload. [MQTT-5.0 3.2.2.2]
 */
const ofWill: ReadonlySet<number> = new Set([0x90, 0x95, 0x99]);
/**
 * This reason concerns the client, or the topic of its will: mosquitto sends it too if the client has no right to the
 * topic.
 */
const notAuthorised = 0x87;

/** The attempt to connect has ended without CONNACK. */
export function noteEndBeforeConnAck(link: Link, { cause, takenOver }: LinkEnd): WillVerdict {
  const trial = trialOf(link);
  if (!trial || cause !== "peer" || takenOver) return undefined;
  trial.ends++;
  if (trial.isWitnessed) return trial.ends >= searchFigures.willEndsToRefuse ? "refuse" : "again";
  return trial.ends >= searchFigures.willEndsBeforeProbe ? "probe" : "again";
}

/** CONNACK refused a client that was connected before. */
export function noteRefusedConnect(link: Link, reasonCode: number | undefined): WillVerdict {
  const trial = trialOf(link);
  if (!trial || reasonCode === undefined) return undefined;
  if (ofWill.has(reasonCode)) return "refuse";
  if (reasonCode !== notAuthorised) return undefined;
  return trial.isWitnessed ? "refuse" : "probe";
}

/** The trial of the will with which this connection was to be made. */
function trialOf(link: Link): WillTrial | undefined {
  const { broker } = link;
  const key = keyOf(link);
  if (key === undefined) return undefined;
  if (broker.willTrial?.key !== key) broker.willTrial = { key, ends: 0, isWitnessed: false };
  return broker.willTrial;
}

/** The broker accepted the connection. True: it was only a test, and the connection is made again with the will. */
export function noteWillAccepted(context: Context, link: Link, sessionPresent: boolean): boolean {
  const { broker, isProbe } = link;
  const { willTrial } = broker;
  if (isProbe && willTrial && !willTrial.isWitnessed) {
    willTrial.isWitnessed = true;
    broker.wasForgotten ||= !sessionPresent;
    reopen(context, link, { isProbe: false });
    return true;
  }
  const key = keyOf(link);
  if (key === undefined) return false;
  broker.willTrial = undefined;
  broker.kinds.forgive(key);
  storeExperience(context, broker);
  return false;
}

/**
 * Records that the broker refuses this will. The client continues without the will; a device that waits for its CONNACK
 * gets "not supported".
 */
export function refuseWill(context: Context, link: Link): void {
  const { session, broker, will } = link;
  const key = keyOf(link);
  if (key === undefined || !will) return;
  const { topicName, qos, payload } = will;
  const octets = payload.byteLength;
  const client = session?.clientId ?? broker.key;
  broker.willTrial = undefined;
  broker.kinds.noteTakenOut(context.now, { key, client, content: "", octets, isSure: true });
  storeExperience(context, broker);
  const pending = session?.pendingConnect?.stage === "broker" ? session.pendingConnect : undefined;
  context.out.report({
    event: "will_refused",
    clientId: session?.clientId,
    topic: topicName,
    qos,
    bytes: octets,
    isConnected: pending === undefined,
  });
  if (!session || !pending) return reopen(context, link, { isProbe: false });
  failPendingConnect(context, session, pending, {
    reason: "notSupported",
    why: "the broker closes the connection for its will",
  });
}

function keyOf({ session, broker, will }: Link): string | undefined {
  return will && willKey(session?.clientId ?? broker.key, will);
}
