/** Makes docs/guide/events.md from the tables of events and drop reasons. */
import { type Role, roles } from "../roles.ts";
import { type DropRow, dropReasonRows } from "./drop-reasons.ts";
import { type EventKind, type EventOf, eventMetrics, eventRows, levelOf, sentenceOf } from "./events.ts";

const peer = "udp/192.0.2.7:49152";
const clientId = "sensor-1";

/** Examples of each kind as log lines, one for each form of its sentence. */
export const examples: { readonly [Kind in EventKind]: readonly EventOf<Kind>[] } = {
  client_state: [
    { event: "client_state", clientId, state: "active", peer, why: "CONNECT" },
    { event: "client_state", clientId, state: "asleep", peer, why: "sleeps 60 s" },
    { event: "client_state", clientId, state: "lost", peer, why: "keep alive ran out" },
  ],
  client_moved: [{ event: "client_moved", clientId, from: peer, to: "udp/192.0.2.8:49152" }],
  id_in_use: [{ event: "id_in_use", clientId, peer, other: "udp/192.0.2.8:49152" }],
  session_ended: [{ event: "session_ended", clientId, why: "new start" }],
  connect_refused: [{ event: "connect_refused", clientId, peer, reason: "congestion", why: "too many sessions" }],
  not_admitted: [
    {
      event: "not_admitted",
      clientId,
      peer,
      what: "client",
      hint: 'access.rules: put first {"allow":"sensor-1","from":["192.0.2.7"]}',
    },
    {
      event: "not_admitted",
      clientId: undefined,
      peer,
      what: "forwarder",
      hint: 'access.forwarders.from: add "192.0.2.7"',
    },
  ],
  client_quarantined: [{ event: "client_quarantined", clientId, peer, seconds: 60 }],
  topic_not_allowed: [
    {
      event: "topic_not_allowed",
      clientId,
      peer,
      way: "publish",
      topic: "set/lamp",
      hint: 'access.rules.0.publish: add "set/lamp"',
    },
  ],
  drop: [
    { event: "drop", reason: "malformed", clientId: undefined, peer, detail: "PUBLISH: too-short" },
    { event: "drop", reason: "buffer-full", clientId, peer, detail: "QoS 1 set/lamp: not taken" },
  ],
  will_published: [{ event: "will_published", clientId, by: "gateway" }],
  link_state: [
    { event: "link_state", clientId: undefined, upstream: "", up: true, why: "accepted by the broker" },
    {
      event: "link_state",
      clientId: undefined,
      upstream: "hall",
      up: false,
      why: "connect ECONNREFUSED 192.0.2.1:8883",
    },
    { event: "link_state", clientId, upstream: "", up: true, why: "accepted by the broker" },
  ],
  copies_known: [
    { event: "copies_known", upstream: "", copies: "each" },
    { event: "copies_known", upstream: "", copies: "one" },
    { event: "copies_known", upstream: "", copies: undefined },
  ],
  qos2_uncertain: [{ event: "qos2_uncertain", clientId, packetId: 7 }],
  payload_unfit: [
    {
      event: "payload_unfit",
      clientId,
      peer: "udp/192.0.2.7:49152",
      topicName: "barn/1/climate",
      direction: "up",
      why: "humidity takes 1 octet from octet 2 on, and 0 are there",
      octets: 2,
      begin: "00d7",
    },
    {
      event: "payload_unfit",
      clientId,
      peer: undefined,
      topicName: "barn/1/set",
      direction: "down",
      why: "relay is missing",
      octets: 2,
      begin: "7b7d",
    },
  ],
  other_qos_answered: [{ event: "other_qos_answered", clientId, qos: 2, answer: "puback" }],
  packet_taken_out: [
    {
      event: "packet_taken_out",
      clientId,
      packet: "publish",
      topic: "site/secret",
      qos: 1,
      bytes: 4,
      ordinal: 1,
    },
    {
      event: "packet_taken_out",
      clientId: undefined,
      packet: "subscribe",
      topic: "site/#",
      qos: 2,
      bytes: 0,
      ordinal: 1,
    },
  ],
  will_refused: [
    { event: "will_refused", clientId, topic: "site/gone", qos: 1, bytes: 4, isConnected: false },
    { event: "will_refused", clientId: undefined, topic: "site/gateway", qos: 0, bytes: 7, isConnected: true },
  ],
  persist_failed: [{ event: "persist_failed", why: "no space left on device" }],
  stood_still: [{ event: "stood_still", ms: 31_400 }],
  persist_recovered: [{ event: "persist_recovered" }],
  backlog: [
    { event: "backlog", clientId, count: 1 },
    { event: "backlog", clientId, count: 0 },
  ],
};

export function eventsMarkdown(): string {
  const kinds = Object.keys(eventRows) as EventKind[];
  const reasons: readonly [reason: string, row: DropRow][] = Object.entries(dropReasonRows);
  return [
    "# Events and drop reasons",
    "",
    "This page lists what the gateway reports while it runs. `npm run docs` makes it from `src/observe/events.ts` and",
    "`src/observe/drop-reasons.ts`; a test compares them. Each event is a log line with its fields (`log.format: json`). Programs",
    "should match `event` and `reason`, which do not change, and never the sentence.",
    "",
    'Where it says "the same once a minute", events of the same kind and cause are one line a minute and a count of the rest,',
    "and no kind has more than a hundred different lines a minute. So a flood does not fill the disk.",
    "errors.md explains errors at the start, and those of the command line.",
    "",
    ...kinds.flatMap(section),
    "## Who may see what",
    "",
    "The log on the gateway's own machine has everything. Elsewhere the role of the user decides which fields of an event are",
    "shown:",
    "",
    ...Object.entries(roles).map(([role, meaning]) => `- \`${role}\`: ${meaning}`),
    "",
    "## Drop reasons",
    "",
    `Counted in \`mqttsn_dropped_total{reason}\`: ${eventMetrics.dropped_total.help.toLowerCase()}. Logged as \`drop\`, or, if`,
    'copies and acknowledgements are too frequent for a line each, only counted. Those marked "strangers" can be caused by any',
    "sender that reaches a transport, as often as it likes. So a high number does not mean that one of your devices has a fault.",
    "",
    "| Reason | What happened | What to do | Level | By |",
    "| --- | --- | --- | --- | --- |",
    ...reasons.map(
      ([reason, { meaning, advice, level, byStrangers }]) =>
        `| \`${reason}\` | ${cell(meaning)} | ${cell(advice)} | ${level} | ${byStrangers ? "strangers" : ""} |`,
    ),
    "",
  ].join("\n");
}

function section(kind: EventKind): string[] {
  const { meaning, advice, metrics, audience, limitedBy } = eventRows[kind];
  return [
    `## ${kind}`,
    "",
    meaning,
    "",
    "| Level | Log line |",
    "| --- | --- |",
    ...examples[kind].map((event) => `| ${levelOf(event)} | ${cell(sentenceOf(event))} |`),
    "",
    `- What to do: ${advice}`,
    `- Counted by: ${metrics.length === 0 ? "nothing" : metrics.map(metricName).join(", ")}`,
    `- Logged: ${limitedBy === undefined ? "each" : "the same once a minute"}`,
    `- Seen by: ${seenBy(audience)}`,
    "",
  ];
}

function metricName(name: keyof typeof eventMetrics): string {
  const metric = eventMetrics[name];
  return `\`mqttsn_${name}${"label" in metric ? `{${metric.label}}` : ""}\``;
}

function seenBy(audience: Readonly<Record<string, Role>>): string {
  const { event, ...fields } = audience;
  const names = (role: Role) => Object.keys(fields).filter((field) => fields[field] === role);
  const only = event === "operator" ? [] : names("operator");
  const hidden = only.length === 0 ? "" : `; only the operator sees ${only.map((field) => `\`${field}\``).join(", ")}`;
  return `${event}${hidden}`;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
