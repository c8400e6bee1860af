/**
 * The table of the core's events, one row for each kind: level, text, metric, and who may see it. Log lines, the help
 * of metrics, docs/guide/events.md and everything else that shows events are made from it.
 *
 * The type makes the table complete: a new event, or a new field of one, does not compile without its meaning and without the roles that
 * may see it.
 */
import type { GatewayEvent } from "../core/event.ts";
import { mayAs, type Role } from "../roles.ts";
import { dropReasonRows } from "./drop-reasons.ts";

export type EventKind = GatewayEvent["event"];
export type EventOf<Kind extends EventKind> = {
  [Each in Kind]: { readonly event: Each } & Extract<GatewayEvent, { event: Each }>;
}[Kind];

export type Level = "debug" | "info" | "warn" | "error";

export interface EventRow<Event> {
  /** The meaning of the event, in plain sentences. */
  readonly meaning: string;
  readonly advice: string;
  readonly level: Level | ((event: Event) => Level);
  /** The log line. */
  readonly sentence: (event: Event) => string;
  /**
   * Of events with the same kind and key, one is logged a minute, with a count of the others; undefined: all are
   * logged.
   */
  readonly limitedBy: ((event: Event) => string | undefined) | undefined;
  /** The metrics that count the event, or show the state that it reports. */
  readonly metrics: readonly EventMetric[];
  /** The role that may see each field. The role at `event` may know that the event happened. */
  readonly audience: { readonly [Field in keyof Event]: Role };
}

interface MetricRow {
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly label?: string;
}

/** Metrics that count events, or show a state that events report. Names get the prefix `mqttsn_`. */
export const eventMetrics = {
  sessions: { type: "gauge", help: "Sessions by state", label: "state" },
  clients_lost_total: { type: "counter", help: "Clients that were lost without DISCONNECT" },
  dropped_total: {
    type: "counter",
    help: "Messages and requests that were dropped or refused, by reason",
    label: "reason",
  },
  upstream_links_up: {
    type: "gauge",
    help: "Connections to all brokers; mqttsn_upstream_connections has them by upstream",
  },
  broker_up: {
    type: "gauge",
    help: "1 while the gateway's own connection to every broker is established; mqttsn_upstream_up has each broker",
  },
  qos2_uncertain_total: {
    type: "counter",
    help: "QoS 2 publications of which it cannot be known whether the broker has them",
  },
  payloads_unfit_total: {
    type: "counter",
    help: "Payloads that do not fit their declaration: sent unchanged to the broker, or dropped on the way to a device",
  },
  other_qos_answers_total: {
    type: "counter",
    help: "Publications that the broker answered as if they had another QoS; QoS 2 is then only as good as QoS 1",
  },
  store_failing: { type: "gauge", help: "1 while the store cannot write" },
  backlog_messages: { type: "gauge", help: "Accepted publications that wait on disk for the broker" },
  backlog_bytes: {
    type: "gauge",
    help: "Size in octets of the publications that wait on disk, as uplink.totalBytesMax counts it",
  },
} as const satisfies Record<string, MetricRow>;

export type EventMetric = keyof typeof eventMetrics;

export const eventRows: { readonly [Kind in EventKind]: EventRow<EventOf<Kind>> } = {
  client_state: {
    meaning:
      "The state of a client changed: it connected, went to sleep, woke up, disconnected, or is lost. A client is lost when it does not answer, or is silent for longer than its keep-alive time or its sleep time allows.",
    advice:
      "If it is lost, check its battery and its radio. Its will is published. If a device is lost again and again, it sleeps longer than it announced, or its network is too slow for the values in `retry`.",
    level: ({ state }) => (state === "lost" ? "warn" : state === "asleep" || state === "awake" ? "debug" : "info"),
    sentence: ({ clientId, state, why }) => `client ${clientId} is ${state}: ${why}`,
    limitedBy: undefined,
    metrics: ["sessions", "clients_lost_total"],
    audience: { event: "viewer", clientId: "viewer", state: "viewer", peer: "viewer", why: "viewer" },
  },
  client_moved: {
    meaning: "A client that was asleep came back from another address.",
    advice: "Nothing. The network gave it a new address, or the device changed to another network.",
    level: "info",
    sentence: ({ clientId, to }) => `client ${clientId} moved to ${to}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", from: "viewer", to: "viewer" },
  },
  id_in_use: {
    meaning:
      "Two devices use the same client id and take the session from each other. From now on the device that has the session keeps it. The other one is refused with 'congestion'.",
    advice: "Give one of the two devices another client id.",
    level: "warn",
    sentence: ({ clientId, peer, other }) =>
      `two devices have the client id "${clientId}": ${peer} keeps the session, ${other} is refused; give one of them another id`,
    limitedBy: ({ clientId }) => clientId,
    metrics: ["dropped_total"],
    audience: { event: "viewer", clientId: "viewer", peer: "operator", other: "operator" },
  },
  session_ended: {
    meaning:
      "The session of a client was deleted: the client disconnected or began a new session, the session expired, or an operator dropped it.",
    advice: "Nothing.",
    level: "debug",
    sentence: ({ clientId, why }) => `session of ${clientId} ended: ${why}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", why: "viewer" },
  },
  connect_refused: {
    meaning:
      "A CONNECT was refused: a limit is reached, the broker refuses the client or cannot be reached, or the will is not valid.",
    advice: "The log line has the reason. The device gets a return code; after 'congestion' it tries again.",
    level: "warn",
    sentence: ({ clientId, peer, why }) => `CONNECT of "${clientId}" from ${peer} refused: ${why}`,
    limitedBy: ({ clientId, why }) => `${clientId} ${why}`,
    metrics: [],
    // A refused sender chose this text itself, and the text of the broker reveals what is behind the gateway.
    audience: { event: "viewer", clientId: "operator", peer: "operator", reason: "viewer", why: "operator" },
  },
  not_admitted: {
    meaning: "No rule of `access` admits this client, this sender without a connection, or this forwarder.",
    advice:
      "If the device is yours, add to the configuration what the log line shows. If it is not yours, nothing has to be done.",
    level: "warn",
    sentence: ({ clientId, peer, hint }) => {
      const who = clientId === undefined ? peer : `client "${clientId}" at ${peer}`;
      return `${who} is not admitted; to admit it: ${hint}`;
    },
    limitedBy: ({ what, clientId, peer }) => `${what} ${clientId ?? peer}`,
    metrics: ["dropped_total"],
    audience: { event: "viewer", clientId: "operator", peer: "operator", what: "viewer", hint: "operator" },
  },
  client_quarantined: {
    meaning:
      "A device continued to exceed its limits (`access.limits`) although it was answered 'congestion'. The gateway ignores its messages for some time. Its session is kept.",
    advice:
      "Check the device: its firmware may have a loop, or two devices may use one client id. If it works as intended, raise its limits in `access.limits`.",
    level: "warn",
    sentence: ({ clientId, seconds }) => `client ${clientId} exceeds its limits: it is ignored for ${seconds} s`,
    limitedBy: ({ clientId }) => clientId,
    metrics: ["dropped_total"],
    audience: { event: "viewer", clientId: "viewer", peer: "operator", seconds: "viewer" },
  },
  topic_not_allowed: {
    meaning:
      "A client, or a sender without a connection, may not use this topic or filter: `publish` or `subscribe` of a rule of `access` does not allow it. This is reported once for each client and topic.",
    advice:
      "If it should be allowed, add to the configuration what the log line shows. If not, nothing has to be done.",
    level: "warn",
    sentence: ({ clientId, peer, way, topic, hint }) => {
      const who = clientId === undefined ? `a sender without a connection at ${peer}` : `client "${clientId}"`;
      const what = { publish: "publish to", subscribe: "subscribe to", receive: "be sent messages of" }[way];
      return `${who} may not ${what} ${topic}; to allow it: ${hint}`;
    },
    limitedBy: ({ clientId, peer, way, topic }) => `${clientId ?? peer} ${way} ${topic}`,
    metrics: ["dropped_total"],
    audience: {
      event: "viewer",
      clientId: "viewer",
      peer: "operator",
      way: "viewer",
      topic: "operator",
      hint: "operator",
    },
  },
  drop: {
    meaning: "A message was dropped or refused. See the table of reasons below.",
    advice: "See the reason.",
    level: ({ reason }) => dropReasonRows[reason].level,
    sentence: ({ reason, detail }) => `dropped (${reason}): ${detail}`,
    limitedBy: ({ reason, clientId }) => `${reason} ${clientId ?? ""}`,
    metrics: ["dropped_total"],
    audience: { event: "viewer", reason: "viewer", clientId: "viewer", peer: "operator", detail: "operator" },
  },
  will_published: {
    meaning: "The will of a client was published, by the gateway or by the broker that held it.",
    advice: "Subscribers of the will topic know now that the device is lost. Find out why.",
    level: "info",
    sentence: ({ clientId, by }) => `will of ${clientId} published by the ${by}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", by: "viewer" },
  },
  link_state: {
    meaning:
      "A connection to the broker was established or lost. With a client id it is the connection of this client. Without one it is the gateway's own connection, or a shared one.",
    advice:
      "If there is no connection, check the broker, the network to it, and `upstream`. The gateway tries again without help. Until then it handles publications of devices as configured in `uplink`.",
    level: ({ clientId, up }) => (clientId !== undefined ? "debug" : up ? "info" : "warn"),
    sentence: ({ clientId, upstream, up, why }) => {
      const broker = upstream === "" ? "the broker" : `the broker of ${upstream}`;
      const whose = clientId === undefined ? "" : ` for ${clientId}`;
      return up ? `connected to ${broker}${whose}` : `no connection to ${broker}${whose}: ${why}; trying again`;
    },
    // The end of a network's error text may differ each time (a port, a number).
    limitedBy: ({ clientId, upstream, up, why }) =>
      clientId === undefined && !up ? `gateway ${upstream} ${why.slice(0, 40)}` : undefined,
    metrics: ["broker_up", "upstream_links_up"],
    audience: { event: "viewer", clientId: "viewer", upstream: "viewer", up: "viewer", why: "operator" },
  },
  copies_known: {
    meaning:
      "Clients that share a connection have filters that overlap. The gateway has found out how often the broker sends a message that several of these filters match: once, or once for each filter. If it sends the message for each filter, overlapping filters get further connections, so that no client receives a message twice.",
    advice:
      "Nothing, if the gateway has found it out. If it could not, it counts copies: equal messages within one " +
      "second, as many as there are matching filters, count as one message. It is better to set `upstream.copies` " +
      "then. docs/guide/brokers.md names such brokers.",
    level: ({ copies }) => (copies === undefined ? "warn" : "info"),
    sentence: ({ upstream, copies }) => {
      const whose = upstream === "" ? "the broker" : `the broker of ${upstream}`;
      if (copies === undefined)
        return `could not find out whether ${whose} sends a message once for each filter; copies are counted instead, which is less reliable: set upstream.copies`;
      return copies === "each"
        ? `${whose} sends a message once for each filter that matches: overlapping filters use further connections`
        : `${whose} sends a message once, however many filters match`;
    },
    limitedBy: ({ upstream }) => upstream,
    metrics: [],
    audience: { event: "viewer", upstream: "viewer", copies: "viewer" },
  },
  qos2_uncertain: {
    meaning:
      "A QoS 2 publication was not finished, and its MQTT session does not exist any more: the broker has deleted the session, or the client was moved to another upstream. Or the gateway does not send the publication any more, because the broker closed the connection for it. It cannot be known whether the broker has the message.",
    advice:
      "Configure the broker so that it keeps sessions (persistence; MQTT 5, or clean session off). If these messages are counted somewhere, check there whether one is missing or was counted twice.",
    level: "warn",
    sentence: ({ clientId }) =>
      `a QoS 2 message of ${clientId} may be missing or may arrive twice: its exchange with the broker cannot be finished`,
    limitedBy: () => "",
    metrics: ["qos2_uncertain_total"],
    audience: { event: "viewer", clientId: "viewer", packetId: "viewer" },
  },
  payload_unfit: {
    meaning:
      "A payload does not fit its declaration: the first one in `payloads` that matches topic and client. A payload from a device goes to the broker unchanged. A command for a device is dropped, because the device could not read it.",
    advice:
      "`mqtt-sn-gateway decode --payload TOPIC HEX` shows each field. Correct the declaration, the device, or the sender of the command.",
    level: "warn",
    sentence: ({ clientId, topicName, direction, why, octets, begin }) =>
      `the payload ${direction === "up" ? `of ${clientId ?? "a device without a connection"}` : `for ${clientId ?? "a device"}`} under ${topicName} does not fit its declaration: ${why} (${octets} octets, ${begin})`,
    limitedBy: ({ clientId, topicName, direction }) => `${clientId ?? ""} ${topicName} ${direction}`,
    metrics: ["payloads_unfit_total"],
    audience: {
      event: "viewer",
      clientId: "viewer",
      peer: "viewer",
      topicName: "operator",
      direction: "viewer",
      why: "viewer",
      octets: "viewer",
      begin: "operator",
    },
  },
  other_qos_answered: {
    meaning:
      "The broker answered a publication as if it had another QoS: PUBACK to QoS 2, as RabbitMQ 3.10 does, or PUBREC to QoS 1. The gateway takes this as the final answer. QoS 2 is only as good as QoS 1 at this broker: after a lost connection a message may arrive twice. This is reported once for each connection; all cases are counted.",
    advice:
      "Set `upstream.qosMax` to 1, or use the preset `rabbitmq`. Devices are then answered 'not supported' for QoS 2, which the broker does not have.",
    level: "warn",
    sentence: ({ clientId, qos, answer }) =>
      `the broker answers QoS ${qos} with ${answer.toUpperCase()}${clientId === undefined ? "" : ` (client ${clientId})`}: ${qos === 2 ? "QoS 2 is only as good as QoS 1 at this broker" : "the broker treats it as another QoS"}`,
    limitedBy: ({ qos, answer }) => `${qos} ${answer}`,
    metrics: ["other_qos_answers_total"],
    audience: { event: "viewer", clientId: "viewer", qos: "viewer", answer: "viewer" },
  },
  packet_taken_out: {
    meaning:
      "The broker closed the connection for this packet several times, while it answered other packets. The gateway does not send the packet any more. If the device still waits for an answer, it gets 'not supported'. If the gateway had accepted the publication, it is a dead letter now. Without a client id, the packet is a request for all clients that share the connection.",
    advice:
      "Find out what the broker does not accept: a topic that its rules forbid, a QoS, Retain, or a size. Correct it at the broker or in the device. `mqtt-sn-gateway queue republish` sends a dead letter again. After two packets of the same kind the gateway refuses such packets of the device at once, for one hour at first.",
    level: "warn",
    sentence: ({ clientId, packet, topic, qos, bytes }) =>
      `the broker closes the connection for ${packet === "will" ? "the will" : `a ${packet.toUpperCase()}`} of ${clientId ?? "the clients that share it"}: ${topic}, QoS ${qos}, ${bytes} octets; it is not sent any more`,
    limitedBy: ({ clientId, packet, topic }) => `${clientId ?? ""} ${packet} ${topic}`,
    metrics: ["dropped_total"],
    audience: {
      event: "viewer",
      clientId: "viewer",
      packet: "viewer",
      topic: "operator",
      qos: "viewer",
      bytes: "viewer",
      ordinal: "viewer",
    },
  },
  will_refused: {
    meaning:
      "The broker closed the connection three times for a CONNECT with this will, and accepted a CONNECT without it. If the device waits for its CONNACK, it gets 'not supported'. If it is connected already, it stays connected without the will at the broker, and the gateway publishes the will. Without a client id, it is the gateway's own status message, which is then not published when the gateway ends. The will is tried again after one hour.",
    advice:
      'Find out what the broker does not accept: the topic, the QoS, Retain, or the size. Correct it at the broker or in the device. Or let the gateway hold the wills, with `upstream.will.held: "gateway"`.',
    level: "warn",
    sentence: ({ clientId, topic, qos, bytes, isConnected }) => {
      const whose = clientId === undefined ? "the gateway's status message as a will" : `the will of ${clientId}`;
      const then = isConnected ? "it is connected without it" : "its CONNECT is refused";
      return `the broker closes the connection for ${whose}: ${topic}, QoS ${qos}, ${bytes} octets; ${then}`;
    },
    limitedBy: ({ clientId, topic }) => `${clientId ?? ""} ${topic}`,
    metrics: [],
    audience: {
      event: "viewer",
      clientId: "viewer",
      topic: "operator",
      qos: "viewer",
      bytes: "viewer",
      isConnected: "viewer",
    },
  },
  persist_failed: {
    meaning:
      "The store could not write, or does not answer. Requests that need the store are refused with 'congestion'.",
    advice:
      "Free some disk space, or check the kernel's log for errors of the disk. The gateway tries again every two seconds.",
    level: "error",
    sentence: ({ why }) => `the session store failed: ${why}`,
    limitedBy: () => "",
    metrics: ["store_failing"],
    audience: { event: "viewer", why: "operator" },
  },
  stood_still: {
    meaning:
      "The whole process was stopped for some time: the container was frozen, the machine was suspended, or a debugger was used. The gateway first reads what waited in its sockets. No client is lost because of this time.",
    advice: "Find out what stopped it. Devices got no answers during this time.",
    level: "warn",
    sentence: ({ ms }) =>
      `this process stood still for ${(ms / 1_000).toFixed(1)} s: every client gets its full time again`,
    limitedBy: () => "",
    metrics: [],
    audience: { event: "viewer", ms: "viewer" },
  },
  persist_recovered: {
    meaning: "The store works again, and everything that waited for it is written.",
    advice: "Nothing.",
    level: "info",
    sentence: () => "the session store works again",
    limitedBy: undefined,
    metrics: ["store_failing"],
    audience: { event: "viewer" },
  },
  backlog: {
    meaning: "The first publication of a client waits on disk for the broker, or the last one that waited was sent.",
    advice: "Nothing. `mqtt-sn-gateway queue` shows how much waits, and since when.",
    level: ({ count }) => (count > 0 ? "debug" : "info"),
    sentence: ({ clientId, count }) =>
      count > 0
        ? `publications of ${clientId} wait on disk for the broker`
        : `everything that ${clientId} published is at the broker`,
    limitedBy: undefined,
    metrics: ["backlog_messages", "backlog_bytes"],
    audience: { event: "viewer", clientId: "viewer", count: "viewer" },
  },
};

export function levelOf<Kind extends EventKind>(event: EventOf<Kind>): Level {
  const { level } = rowOf(event);
  return typeof level === "function" ? level(event) : level;
}

export function sentenceOf<Kind extends EventKind>(event: EventOf<Kind>): string {
  return rowOf(event).sentence(event);
}

/** Events with the same key count as one flood in the log; undefined: each is logged. */
export function floodKeyOf<Kind extends EventKind>(event: EventOf<Kind>): string | undefined {
  const key = rowOf(event).limitedBy?.(event);
  return key === undefined ? undefined : `${event.event} ${key}`;
}

/** The fields of the event that a user with this role may see; undefined: none. */
export function seenBy(role: Role, event: GatewayEvent): Readonly<Record<string, unknown>> | undefined {
  const audience: Readonly<Record<string, Role>> = eventRows[event.event].audience;
  const fields = Object.entries(event).filter(([field]) => mayAs(role, audience[field] ?? "operator"));
  return fields.some(([field]) => field === "event") ? Object.fromEntries(fields) : undefined;
}

function rowOf<Kind extends EventKind>(event: EventOf<Kind>): EventRow<EventOf<Kind>> {
  return eventRows[event.event];
}
