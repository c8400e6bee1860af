/** The view of a client for people and metrics: its session, and its exchanges with the broker. */
import type { Session } from "../state/session.ts";
import type { ClientState, Instant, PeerId, QoS } from "../types.ts";

/** One packet to the broker, for display. */
export interface PacketView {
  readonly packet: "publish" | "will" | "subscribe" | "unsubscribe";
  /** A topic name or a filter. A topic name has the form in which the broker knows it. */
  readonly topic: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly bytes: number;
  /** Whether the client got its acknowledgement. */
  readonly accepted: boolean;
  /** `waiting`, `sent`: the broker has not answered the packet. */
  readonly stage: "waiting" | "sent" | "received" | "released";
  /** How often the broker closed the connection while this was the only unanswered packet; absent: it is no suspect. */
  readonly deaths?: number;
}

/** Packets of this client to the broker that are not finished. */
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
  /** Time and cause of the last change of state; undefined and "": it was in an earlier run of the gateway. */
  readonly stateSince: Instant | undefined;
  readonly stateWhy: string;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  readonly lastHeard: Instant;
  readonly waitingMessages: number;
  readonly waitingBytes: number;
  /** Since when the oldest message waits, as far as it is known; undefined: none waits. */
  readonly waitingSince: Instant | undefined;
  /** Messages for the client that were dropped since the gateway started. */
  readonly droppedMessages: number;
  /** Publications that were acknowledged to the client and that the broker does not have yet. */
  readonly owedToBroker: number;
  /** Octets of those on disk that are not sent yet, as `backlogBytes` counts them. */
  readonly owedBytes: number;
  readonly topics: number;
  readonly subscriptions: number;
  readonly linkUp: boolean;
  /** End of the client's quarantine; undefined: it is not in quarantine. */
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
