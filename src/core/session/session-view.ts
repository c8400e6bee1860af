/** The view of a client for people and metrics: its session, and its exchanges with the broker. */
import type { Session } from "../state/session.ts";
import type { ClientState, Instant, PeerId, QoS } from "../types.ts";

/** One packet on the way to the broker, for display. */
export interface PacketView {
  readonly packet: "publish" | "will" | "subscribe" | "unsubscribe";
  /** Topic or filter, as the broker knows it where it is a topic. */
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly bytes: number;
  /** The client was answered for it. */
  readonly accepted: boolean;
  /** `waiting`, `sent`: the broker has not answered it. */
  readonly stage: "waiting" | "sent" | "received" | "released";
  /** How often the broker closed the connection while it alone was outside; absent: it is no suspect. */
  readonly deaths?: number;
}

/** Packets of this client on the way to the broker. */
export function packetsOf(session: Session): PacketView[] {
  const packets: PacketView[] = [];
  for (const exchange of session.broker.inFlight.values()) {
    const { suspicion } = exchange;
    const suspected = suspicion?.isSuspect && { deaths: suspicion.deaths };
    if (exchange.kind === "publish") {
      if (exchange.owner !== session) continue;
      const { publication, accepted, stage, isWill } = exchange;
      const { topicName, qos, retain, payload } = publication;
      const what = { topic: topicName, qos, retain, bytes: payload.byteLength, accepted, stage };
      packets.push({ packet: isWill ? "will" : "publish", ...what, ...suspected });
    } else if (!session.shared || exchange.origin?.session === session) {
      const { kind, filter, isSent } = exchange;
      const qos = exchange.kind === "subscribe" ? exchange.qos : 0;
      const stage = isSent ? "sent" : "waiting";
      packets.push({ packet: kind, topic: filter, qos, retain: false, bytes: 0, accepted: false, stage, ...suspected });
    }
  }
  return packets;
}

/** One client, for people and metrics. */
export interface SessionView {
  readonly clientId: string;
  readonly peer: PeerId | undefined;
  readonly state: ClientState;
  /** Since when, and why; undefined and "" = since an earlier run of the gateway. */
  readonly stateSince: Instant | undefined;
  readonly stateWhy: string;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  readonly lastHeard: Instant;
  readonly waitingMessages: number;
  readonly waitingBytes: number;
  /** Since when the oldest of them waits, as far as it is known; undefined = none waits. */
  readonly waitingSince: Instant | undefined;
  /** Messages for the client that were dropped, since the gateway started. */
  readonly droppedMessages: number;
  /** Publications of the client that it was acknowledged for and the broker does not have yet. */
  readonly owedToBroker: number;
  /** Those on disk that are not sent yet, as `backlogBytes` counts. */
  readonly owedBytes: number;
  readonly topics: number;
  readonly subscriptions: number;
  readonly linkUp: boolean;
  /** It is not listened to before; undefined: it is. */
  readonly quarantinedUntil: Instant | undefined;
}

export function viewOf(session: Session): SessionView {
  return {
    clientId: session.clientId,
    peer: session.peer,
    state: session.state,
    stateSince: session.stateSince,
    stateWhy: session.stateWhy,
    clean: session.clean,
    keepAliveSeconds: session.keepAliveSeconds,
    sleepSeconds: session.sleepSeconds,
    lastHeard: session.lastHeard,
    waitingMessages: session.outbox.length,
    waitingBytes: session.outbox.bytes,
    waitingSince: session.outbox.head()?.since,
    droppedMessages: session.dropped,
    owedToBroker: session.account.unforwarded,
    owedBytes: session.account.backlog.bytes,
    topics: session.registry.size,
    subscriptions: session.subscriptions.size,
    linkUp: session.broker.link?.up === true,
    quarantinedUntil: session.allowance?.quarantinedUntil || undefined,
  };
}
