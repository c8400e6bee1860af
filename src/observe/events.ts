/**
 * What the core reports, one row for each kind of event: level, text, metric, and who may see it. Log lines, the help of metrics,
 * docs/guide/events.md and everything else that shows events are made from it.
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
  /** What happened, in plain sentences. */
  readonly meaning: string;
  readonly advice: string;
  readonly level: Level | ((event: Event) => Level);
  /** The log line. */
  readonly sentence: (event: Event) => string;
  /** Of events of this kind with the same key one is logged a minute, with a count of the rest; undefined: all are. */
  readonly limitedBy: ((event: Event) => string | undefined) | undefined;
  /** What counts it, or stands for the state that it tells of. */
  readonly metrics: readonly EventMetric[];
  /** Who may see each field; of `event`: who may know that it happened. */
  readonly audience: { readonly [Field in keyof Event]: Role };
}

interface MetricRow {
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly label?: string;
}

/** Metrics that count events, or the state that events tell of. Names get the prefix `mqttsn_`. */
export const eventMetrics = {
  sessions: { type: "gauge", help: "Sessions by state", label: "state" },
  clients_lost_total: { type: "counter", help: "Clients that were lost without DISCONNECT" },
  dropped_total: { type: "counter", help: "What was dropped or refused, by reason", label: "reason" },
  upstream_links_up: {
    type: "gauge",
    help: "Connections to all brokers; mqttsn_upstream_connections has them by upstream",
  },
  broker_up: {
    type: "gauge",
    help: "1 while the gateway's own connection stands to every broker; mqttsn_upstream_up has each",
  },
  qos2_uncertain_total: {
    type: "counter",
    help: "QoS 2 publications that a forgetful broker made uncertain",
  },
  payloads_unfit_total: {
    type: "counter",
    help: "Payloads that the declaration for them does not fit: up they go as they are, down they are dropped",
  },
  other_qos_answers_total: {
    type: "counter",
    help: "Publications that the broker answered as if of another QoS: QoS 2 is then no more than QoS 1",
  },
  store_failing: { type: "gauge", help: "1 while the store does not take what it is given" },
  backlog_messages: { type: "gauge", help: "Accepted publications that wait on disk for the broker" },
  backlog_bytes: { type: "gauge", help: "Their size, as uplink.totalBytesMax counts" },
} as const satisfies Record<string, MetricRow>;

export type EventMetric = keyof typeof eventMetrics;

export const eventRows: { readonly [Kind in EventKind]: EventRow<EventOf<Kind>> } = {
  client_state: {
    meaning: "A client connected, fell asleep, woke, left, or was lost: it did not answer, or was silent for too long.",
    advice:
      "Lost: look at its battery and its radio; its will is published. A device that is lost again and again sleeps longer than it says, or its network is too slow for `retry`.",
    level: ({ state }) => (state === "lost" ? "warn" : state === "asleep" || state === "awake" ? "debug" : "info"),
    sentence: ({ clientId, state, why }) => `client ${clientId} is ${state}: ${why}`,
    limitedBy: undefined,
    metrics: ["sessions", "clients_lost_total"],
    audience: { event: "viewer", clientId: "viewer", state: "viewer", peer: "viewer", why: "viewer" },
  },
  client_moved: {
    meaning: "A client that was asleep came back from another address.",
    advice: "Nothing: an address that is given out anew, or another network.",
    level: "info",
    sentence: ({ clientId, to }) => `client ${clientId} moved to ${to}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", from: "viewer", to: "viewer" },
  },
  id_in_use: {
    meaning:
      "Two devices have one client id and take the session from each other. From now on who has it keeps it, and the other is put off with 'congestion'.",
    advice: "Give one of the two another client id.",
    level: "warn",
    sentence: ({ clientId, peer, other }) =>
      `two devices have the client id "${clientId}": ${peer} keeps the session, ${other} is put off; give one another id`,
    limitedBy: ({ clientId }) => clientId,
    metrics: ["dropped_total"],
    audience: { event: "viewer", clientId: "viewer", peer: "operator", other: "operator" },
  },
  session_ended: {
    meaning: "Nothing of a client's session is left here: it left, began a new one, expired, or was dropped.",
    advice: "Nothing.",
    level: "debug",
    sentence: ({ clientId, why }) => `session of ${clientId} ended: ${why}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", why: "viewer" },
  },
  connect_refused: {
    meaning:
      "A CONNECT was refused: a limit is reached, the broker will not have the client or is away, or its will is wrong.",
    advice: "The line says why. The device hears the reason, and tries again where that is congestion.",
    level: "warn",
    sentence: ({ clientId, peer, why }) => `CONNECT of "${clientId}" from ${peer} refused: ${why}`,
    limitedBy: ({ clientId, why }) => `${clientId} ${why}`,
    metrics: [],
    // A refused sender chose this text itself, and the text of the broker reveals what is behind the gateway.
    audience: { event: "viewer", clientId: "operator", peer: "operator", reason: "viewer", why: "operator" },
  },
  not_admitted: {
    meaning: "Somebody whom no rule of `access` lets in: a client, a sender without a connection, or a forwarder.",
    advice: "If it is yours, the line gives what to add to the configuration. If not, the rule did its work.",
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
      "A device went on beyond its limits (`access.limits`) although it heard 'congestion': for a while nothing that it says is acted on. Its session stays.",
    advice:
      "Look at the device: a loop in its firmware, or two devices with one id. If it is as it should be, give it more in `access.limits`.",
    level: "warn",
    sentence: ({ clientId, seconds }) =>
      `client ${clientId} asks beyond its limits: it is not listened to for ${seconds} s`,
    limitedBy: ({ clientId }) => clientId,
    metrics: ["dropped_total"],
    audience: { event: "viewer", clientId: "viewer", peer: "operator", seconds: "viewer" },
  },
  topic_not_allowed: {
    meaning:
      "A client, or a sender without a connection, may not use this topic or filter: `publish` or `subscribe` of `access` says so. Told once for each client and topic.",
    advice: "If it is to, the line gives what to add to the configuration. If not, the rule did its work.",
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
    meaning: "A message was dropped or refused. The reason says why: see below.",
    advice: "By reason.",
    level: ({ reason }) => dropReasonRows[reason].level,
    sentence: ({ reason, detail }) => `dropped (${reason}): ${detail}`,
    limitedBy: ({ reason, clientId }) => `${reason} ${clientId ?? ""}`,
    metrics: ["dropped_total"],
    audience: { event: "viewer", reason: "viewer", clientId: "viewer", peer: "operator", detail: "operator" },
  },
  will_published: {
    meaning: "A client's will is published: by the gateway, or by the broker that held it.",
    advice: "Whoever watches the device knows now. See why it was lost.",
    level: "info",
    sentence: ({ clientId, by }) => `will of ${clientId} published by the ${by}`,
    limitedBy: undefined,
    metrics: [],
    audience: { event: "viewer", clientId: "viewer", by: "viewer" },
  },
  link_state: {
    meaning:
      "A connection to the broker was made, or there is none: a client's, or (without a client id) the gateway's own or a shared one.",
    advice:
      "There is no connection: check the broker, the network to it, and `upstream`. The gateway tries again by itself. Until then it treats publications of devices as `uplink` says.",
    level: ({ clientId, up }) => (clientId !== undefined ? "debug" : up ? "info" : "warn"),
    sentence: ({ clientId, upstream, up, why }) => {
      const broker = upstream === "" ? "the broker" : `the broker of ${upstream}`;
      const whose = clientId === undefined ? "" : ` for ${clientId}`;
      return up ? `connected to ${broker}${whose}` : `no connection to ${broker}${whose}: ${why}; trying again`;
    },
    // The end of what a network says of its fault may differ each time (a port, a number).
    limitedBy: ({ clientId, upstream, up, why }) =>
      clientId === undefined && !up ? `gateway ${upstream} ${why.slice(0, 40)}` : undefined,
    metrics: ["broker_up", "upstream_links_up"],
    audience: { event: "viewer", clientId: "viewer", upstream: "viewer", up: "viewer", why: "operator" },
  },
  copies_known: {
    meaning:
      "Clients that share a connection subscribe to filters that overlap, and it was found out how the broker sends a message that several of them match: once, or once for each. For each: filters that overlap use further connections, so that no client gets a message twice.",
    advice:
      "Nothing. Where it could not be found out, copies are counted: messages that are alike, within a second, as many as there are filters, are taken for one. Better say what the broker does in `upstream.copies`. Such brokers are named in docs/guide/brokers.md.",
    level: ({ copies }) => (copies === undefined ? "warn" : "info"),
    sentence: ({ upstream, copies }) => {
      const whose = upstream === "" ? "the broker" : `the broker of ${upstream}`;
      if (copies === undefined)
        return `whether ${whose} sends a message once for each filter could not be found out; copies are counted, which is the second best: set upstream.copies`;
      return copies === "each"
        ? `${whose} sends a message once for each filter that matches: filters that overlap go by connections of their own`
        : `${whose} sends a message once, however many filters match`;
    },
    limitedBy: ({ upstream }) => upstream,
    metrics: [],
    audience: { event: "viewer", upstream: "viewer", copies: "viewer" },
  },
  qos2_uncertain: {
    meaning:
      "The MQTT session that a QoS 2 publication was begun in is gone: the broker forgot it, or the client was moved to another upstream; or it was taken out, for the broker closed for it. Whether the broker had the message cannot be known.",
    advice:
      "Let the broker keep its sessions (persistence; MQTT 5, or clean session off). Whoever counts such messages looks whether one is missing or double.",
    level: "warn",
    sentence: ({ clientId }) =>
      `the broker forgot the session of ${clientId}, or it goes by another one now: a QoS 2 message may be missing or double`,
    limitedBy: () => "",
    metrics: ["qos2_uncertain_total"],
    audience: { event: "viewer", clientId: "viewer", packetId: "viewer" },
  },
  payload_unfit: {
    meaning:
      "A payload does not fit the first declaration in `payloads` that its topic and client fit. What a device says goes to the broker as it is; a command for a device is dropped, for the device could not read it.",
    advice:
      "`mqtt-sn-gateway decode --payload TOPIC HEX` shows what each field is. Correct the declaration, the device, or what sends the command.",
    level: "warn",
    sentence: ({ clientId, topicName, direction, why, octets, begin }) =>
      `${direction === "up" ? `what ${clientId ?? "a device without a connection"} says` : `what ${clientId ?? "a device"} is told`} under ${topicName} does not fit its declaration: ${why} (${octets} octets, ${begin})`,
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
      "The broker answered a publication as if it were of another QoS: PUBACK to QoS 2, as RabbitMQ 3.10 does, or PUBREC to QoS 1. It is finished with that answer: QoS 2 is no more than QoS 1 there, so after a cut a message may come twice. Said once for each connection; all are counted.",
    advice:
      "Set `upstream.qosMax` to 1 (or the preset `rabbitmq`): devices then hear 'not supported' for QoS 2, where the broker has no such thing.",
    level: "warn",
    sentence: ({ clientId, qos, answer }) =>
      `the broker answers QoS ${qos} with ${answer.toUpperCase()}${clientId === undefined ? "" : ` (client ${clientId})`}: ${qos === 2 ? "QoS 2 is no more than QoS 1 there" : "it takes it for another QoS"}`,
    limitedBy: ({ qos, answer }) => `${qos} ${answer}`,
    metrics: ["other_qos_answers_total"],
    audience: { event: "viewer", clientId: "viewer", qos: "viewer", answer: "viewer" },
  },
  packet_taken_out: {
    meaning:
      "The broker closed the connection for this packet, again and again, while others got through: it is not sent any more. Its device hears 'not supported' where it waits for an answer; what had been accepted is a dead letter. No client: a request of all who share the connection.",
    advice:
      "See what the broker does not take: a topic that its rules forbid, a QoS, Retain, a size. Put it right there or in the device; `mqtt-sn-gateway queue republish` sends a dead letter once more. After two of a kind the device is refused at once, for an hour at first.",
    level: "warn",
    sentence: ({ clientId, packet, topic, qos, bytes }) =>
      `the broker closes the connection for ${packet === "will" ? "the will" : `a ${packet.toUpperCase()}`} of ${clientId ?? "those who share it"}: ${topic}, QoS ${qos}, ${bytes} octets; it is taken out`,
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
      "The broker closes the connection for a CONNECT with this will, three times, while one without it was accepted. A device that waits for its CONNACK hears 'not supported'; one that is running is connected without, and the gateway publishes its will. No client: the gateway's own status message, which is then not published when the gateway ends. After an hour it is tried again.",
    advice:
      'See what the broker does not take: the topic, QoS, Retain, the size. Put it right there or in the device; or keep wills here, with `upstream.will.held: "gateway"`.',
    level: "warn",
    sentence: ({ clientId, topic, qos, bytes, isConnected }) => {
      const whose = clientId === undefined ? "the gateway's status message as a will" : `the will of ${clientId}`;
      const then = isConnected ? "it is connected without" : "its CONNECT is refused";
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
      "The store did not take what it was given, or does not answer. What needs it is refused with 'congestion'.",
    advice: "Free some space, or see what the kernel's log says of the disk. It is tried again every two seconds.",
    level: "error",
    sentence: ({ why }) => `the session store failed: ${why}`,
    limitedBy: () => "",
    metrics: ["store_failing"],
    audience: { event: "viewer", why: "operator" },
  },
  stood_still: {
    meaning:
      "The whole process was stopped for a while: a frozen container, a suspended machine, a debugger. What waited in the sockets is read first, and no client is lost over that time.",
    advice: "Find out who stopped it. Devices had no answers meanwhile.",
    level: "warn",
    sentence: ({ ms }) =>
      `this process stood still for ${(ms / 1_000).toFixed(1)} s: every client has its full time again`,
    limitedBy: () => "",
    metrics: [],
    audience: { event: "viewer", ms: "viewer" },
  },
  persist_recovered: {
    meaning: "The store takes what it is given again; all that was owed to it is written.",
    advice: "Nothing.",
    level: "info",
    sentence: () => "the session store works again",
    limitedBy: undefined,
    metrics: ["store_failing"],
    audience: { event: "viewer" },
  },
  backlog: {
    meaning: "The first publication of a client waits on disk for the broker; or none does any more.",
    advice: "Nothing; `mqtt-sn-gateway queue` says how much waits, and since when.",
    level: ({ count }) => (count > 0 ? "debug" : "info"),
    sentence: ({ clientId, count }) =>
      count > 0
        ? `publications of ${clientId} wait on disk for the broker`
        : `all that ${clientId} published is at the broker`,
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

/** What makes this event the same as another for the log; undefined: each is logged. */
export function floodKeyOf<Kind extends EventKind>(event: EventOf<Kind>): string | undefined {
  const key = rowOf(event).limitedBy?.(event);
  return key === undefined ? undefined : `${event.event} ${key}`;
}

/** The event as a user with this role may see it, field by field; undefined: not at all. */
export function seenBy(role: Role, event: GatewayEvent): Readonly<Record<string, unknown>> | undefined {
  const audience: Readonly<Record<string, Role>> = eventRows[event.event].audience;
  const fields = Object.entries(event).filter(([field]) => mayAs(role, audience[field] ?? "operator"));
  return fields.some(([field]) => field === "event") ? Object.fromEntries(fields) : undefined;
}

function rowOf<Kind extends EventKind>(event: EventOf<Kind>): EventRow<EventOf<Kind>> {
  return eventRows[event.event];
}
