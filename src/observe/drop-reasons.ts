/**
 * Why something was dropped or refused: for each reason of core/event.ts what it means, in plain sentences, and what to do
 * about it. Data only; the log, docs/guide/events.md and whoever shows drops to people read it.
 */
import type { DropReason } from "../core/event.ts";

export interface DropRow {
  /** What happened. */
  readonly meaning: string;
  readonly advice: string;
  /** `warn` where something is lost that the operator promised himself to have, or nobody else would find out why. */
  readonly level: "debug" | "warn";
  /**
   * Whoever reaches a listener can cause it as often as he likes, before any rule of `access` lets him in: its number
   * says nothing about the gateway's own devices, and nothing may grow with it.
   */
  readonly byStrangers: boolean;
}

export const dropReasonRows = {
  malformed: {
    meaning: "A datagram that is no message of MQTT-SN 1.2.",
    advice:
      "The detail says what is wrong. From one of your devices: its firmware, or a line that damages octets. From elsewhere: somebody tries the port; keep it inside the sensor network.",
    level: "debug",
    byStrangers: true,
  },
  "mqtt-sn-2.0": {
    meaning:
      "A CONNECT as the draft of MQTT-SN 2.0 has it. This gateway speaks 1.2, in which there is no answer to it: the device hears nothing.",
    advice:
      "Set the device, or its library, to MQTT-SN 1.2 (protocol id 1). The line is logged once a minute at most, for all senders together.",
    level: "warn",
    byStrangers: true,
  },
  "unexpected-type": {
    meaning:
      "A client sent what only gateways send, or something out of its turn (a will that nobody asked for, anything before CONNACK).",
    advice: "Its firmware mixes up the order of messages; `mqtt-sn-gateway decode` says in words what it sent.",
    level: "debug",
    byStrangers: false,
  },
  "unknown-sender": {
    meaning:
      "A message from an address that has no session. Where an answer helps, the sender hears DISCONNECT, once a second at most.",
    advice:
      "A device that the gateway forgot, or whose address changed, connects again by itself. If one does not, its firmware ignores DISCONNECT.",
    level: "debug",
    byStrangers: true,
  },
  "not-admitted": {
    meaning: "A CONNECT of a client that no rule of `access` lets in. It hears 'not supported'.",
    advice: "To admit it, use the line that the log gives with `not_admitted`.",
    level: "debug",
    byStrangers: true,
  },
  "topic-not-allowed": {
    meaning:
      "A topic from which `publish` or `subscribe` of `access` keeps a client: a publication is not sent on (its device hears 'not supported' where it waits for an answer, and what it was answered for before becomes a dead letter), a subscription is refused, a message is not handed over.",
    advice: "To allow it, use the line that the log gives with `topic_not_allowed`.",
    level: "debug",
    byStrangers: false,
  },
  "over-limit": {
    meaning:
      "A device asked for more than `access.limits` allows it, messages a second or octets a day, or somebody without a connection for more than `access.qosMinusOne.perSecond`. A client hears 'congestion' where there is such an answer.",
    advice:
      "See whether the device has run wild. If it is as it should be, give it more in the rule of `access.limits` that names it.",
    level: "debug",
    byStrangers: true,
  },
  quarantined: {
    meaning:
      "A message of a device that is not listened to for a while: it went on beyond its limits although it heard 'congestion'.",
    advice: "As for `over-limit`; the log has said when it began (`client_quarantined`).",
    level: "debug",
    byStrangers: false,
  },
  "client-id-taken": {
    meaning:
      "A client whose MQTT client id is another's at its broker: one of the gateway's own connections (`upstream.serviceClientId`, and `-1`, `-2` of shared ones), or a client of another upstream, prefixes counted. It hears 'not supported'.",
    advice:
      "If the device is yours, give it another id, or the upstream another `clientIdPrefix` or `serviceClientId`. If not, somebody wanted what was meant for others.",
    level: "debug",
    byStrangers: true,
  },
  "id-in-use": {
    meaning:
      "A CONNECT from elsewhere with the id of a client that is there, after several in a minute: two devices have the same id. Who has the session keeps it; the other hears 'congestion', for a pause that doubles up to five minutes while both speak.",
    advice: "Give one of the two another client id; `id_in_use` in the log says where both are.",
    level: "debug",
    byStrangers: true,
  },
  "encapsulation-not-allowed": {
    meaning: "A forwarder that `access.forwarders` does not let in passed on a message. Nobody is answered.",
    advice: "If it is yours, add its address to `access.forwarders.from`.",
    level: "debug",
    byStrangers: true,
  },
  "qos-minus-one-not-allowed": {
    meaning: "A publication without a connection from a place that `access.qosMinusOne` does not let in.",
    advice: "If the device is yours, add its network to `access.qosMinusOne.from`.",
    level: "debug",
    byStrangers: true,
  },
  "qos-minus-one-topic": {
    meaning:
      "A publication without a connection whose topic id means nothing: not predefined, no two printable characters, or a long name while `extensions.longNameQoSMinusOne` is off.",
    advice: "Add the id to `topics.predefined`, or correct the device.",
    level: "debug",
    byStrangers: false,
  },
  "message-id-zero": {
    meaning: "A PUBLISH at QoS 1 or 2, a SUBSCRIBE or an UNSUBSCRIBE with MsgId 0, which no answer could name.",
    advice: "Correct the device: MsgIds begin at 1.",
    level: "debug",
    byStrangers: false,
  },
  "unmatched-ack": {
    meaning: "An acknowledgement of something that is not waited for, from a client or the broker.",
    advice:
      "Usually the second copy of one that came late: nothing to do. Many mean a slow network: raise `retry.intervalSeconds`.",
    level: "debug",
    byStrangers: false,
  },
  "clock-not-set": {
    meaning: "A device asked for the time (`topics.timeId`), and nobody has set this machine's clock yet.",
    advice: "Give the machine a time server or a clock: `sudo timedatectl set-ntp true`. The device asks again.",
    level: "debug",
    byStrangers: false,
  },
  "unknown-topic-id": {
    meaning:
      "A publication under a topic id that the client never registered in this session. It hears 'invalid topic id'.",
    advice: "The device registers the topic again and goes on. If it does not, its firmware ignores the return code.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-peer": {
    meaning: "A message for a client that does not fit into one message of its network, or its topic name does not.",
    advice:
      "Publish less at a time, shorten the topic name or predefine it, or raise `transports[].maxMessageBytes` if the device can take it.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-client": {
    meaning:
      "A message for a client that is longer than the `payloadBytesMax` of its rule in `buffer.rules`: it is not even tried.",
    advice:
      "Send less, or correct the rule. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` sends it once more.",
    level: "debug",
    byStrangers: false,
  },
  "payload-unfit": {
    meaning:
      "A message for a client whose payload should have been made into the octets that the declaration for it in `payloads` describes, and could not be.",
    advice:
      "`payload_unfit` in the log says which field is wrong. Correct what sends the command, or the declaration. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` tries it once more.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-broker": {
    meaning:
      "A publication that the broker said it does not take (its size, QoS or the retain flag), or that is larger than `upstream.payloadBytesMax`. The client hears 'not supported'.",
    advice: "Publish less at a time, or raise the limit at the broker or in `upstream.payloadBytesMax`.",
    level: "debug",
    byStrangers: false,
  },
  "buffer-full": {
    meaning:
      "A message for a client found no room in its buffer, or made way for a newer one. QoS 1 and 2 are kept as dead letters.",
    advice:
      "See who it is with `mqtt-sn-gateway queue`: a device that sleeps too long or is gone (`sessions drop`), or a limit that is too small (`buffer`).",
    level: "warn",
    byStrangers: false,
  },
  superseded: {
    meaning: "A later message of the same topic took its place, as `keep: latest` in `buffer` asks.",
    advice: "Nothing: it is what was wanted.",
    level: "debug",
    byStrangers: false,
  },
  "not-buffered": {
    meaning: "A QoS 0 message for a client that sleeps, and `qos0WhileAsleep` in `buffer` is off.",
    advice: "Nothing; or publish at QoS 1 what must not be missed.",
    level: "debug",
    byStrangers: false,
  },
  expired: {
    meaning:
      "A message waited longer than its time to live (`buffer`, `uplink.ageSecondsMax`, or the publisher's own).",
    advice: "Nothing if it is out of date by then. Else raise the time, or let the device wake more often.",
    level: "debug",
    byStrangers: false,
  },
  "refused-by-client": {
    meaning: "The client answered a publication with a return code that refuses it.",
    advice: "Look at the device: it subscribes to what it cannot use.",
    level: "debug",
    byStrangers: false,
  },
  unanswered: {
    meaning:
      "A message that its client never answered, over three rounds of repetitions or five wake-ups, though it answered others between them: larger than its buffer, as a rule. Or the REGISTER of its topic, from a client that knows none.",
    advice:
      "The detail gives topic, QoS and length. Send less, give the client more room, or set a `payloadBytesMax` in `buffer.rules`, so that such a message is not even tried. A client that takes no REGISTER subscribes to each name by itself. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` sends it once more.",
    level: "warn",
    byStrangers: false,
  },
  "registration-refused": {
    meaning: "The client refused the topic id of a message for it. The topic is offered again at its next CONNECT.",
    advice: "Its topic table is full: narrower subscriptions, predefined topic ids, or more room in the device.",
    level: "debug",
    byStrangers: false,
  },
  "topic-ids-exhausted": {
    meaning:
      "The client has as many topic names as `topics.idsPerClientMax` allows, or names, filters and a will of as many octets as `topics.bytesPerClientMax` does. In answer to REGISTER, SUBSCRIBE or a will it hears 'congestion'.",
    advice: "A device that makes up topic names as it goes: correct it, or raise the limit.",
    level: "debug",
    byStrangers: false,
  },
  "session-ended": {
    meaning:
      "Messages waited for a client whose session ended: it began a new one, expired, or was dropped by the operator.",
    advice: "Nothing. QoS 1 and 2 are dead letters: `mqtt-sn-gateway queue republish` sends them once more.",
    level: "debug",
    byStrangers: false,
  },
  "retained-again": {
    meaning:
      "A retained message that the client had been sent already: with MQTT 3.1.1 the broker sends it whenever the gateway subscribes again, as it does after each start.",
    advice: "Nothing.",
    level: "debug",
    byStrangers: false,
  },
  "unsafe-topic": {
    meaning:
      "A topic name with control characters or non-characters, or (where clients share a connection) with more than 100 levels. Brokers close a connection for it. The client hears 'not supported'.",
    advice: "Correct the device. For so many levels, give it an upstream of its own in mode transparent.",
    level: "debug",
    byStrangers: false,
  },
  "link-down": {
    meaning:
      "The broker is away and nothing is stored for it (QoS 0, or `uplink.whenAway: refuse`). A client that waits for an answer hears 'congestion'.",
    advice: "Look at the broker. `uplink.whenAway: store` and `uplink.qos0` keep publications meanwhile.",
    level: "debug",
    byStrangers: false,
  },
  "uplink-congested": {
    meaning:
      "Too much of the client, or of its connection, waits for the broker's answer. The client hears 'congestion' and tries again.",
    advice:
      "A broker or network that is too slow; else raise `clients.uplinkInFlightMax` or `upstream.sendBufferBytesMax`.",
    level: "debug",
    byStrangers: false,
  },
  "backlog-full": {
    meaning: "Too much waits on disk for the broker: of this client, or of all together (`uplink`).",
    advice:
      "Bring the broker back, or raise the limits if the disk has room. What went at QoS 1 and 2 is a dead letter.",
    level: "debug",
    byStrangers: false,
  },
  "store-failing": {
    meaning:
      "The store does not take what it is given, and this needs it. A client that waits for an answer hears 'congestion'.",
    advice: "See `persist_failed`: free some space, or see what the kernel's log says of the disk.",
    level: "debug",
    byStrangers: false,
  },
  "refused-by-broker": {
    meaning:
      "The broker will not have it: a publication that had been accepted, a subscription that had been granted, or (see `packet_taken_out`) whatever it closes the connection for, and later ones of that kind. A device that waits for an answer hears 'not supported'.",
    advice: "Look at the broker's rules and limits for this client. What had been accepted is a dead letter.",
    level: "debug",
    byStrangers: false,
  },
  purged: {
    meaning:
      "The operator took out what a client had sent and the broker does not have (`queue purge --client`, `--topic`). A device that waits for an answer hears 'not supported'.",
    advice: "Nothing: it is what was asked for.",
    level: "debug",
    byStrangers: false,
  },
  "too-many-pending": {
    meaning:
      "Too many CONNECTs are under way (`clients.pendingMax`), or the client has too many subscriptions (`clients.subscriptionsMax`). It hears 'congestion'.",
    advice: "After a power failure it passes by itself. Else somebody floods the port, or the limit is too small.",
    level: "debug",
    byStrangers: false,
  },
  "rate-limited": {
    meaning:
      "More new sessions in a second than `clients.newPerSecondMax` or `newPerSecondPerHostMax` allow. The device hears 'congestion' and tries again.",
    advice:
      "After a power failure it passes by itself. Else somebody floods the port, or the limits are too small: behind one forwarder or translated address many devices count as one host.",
    level: "debug",
    byStrangers: false,
  },
  "too-many-answers": {
    meaning:
      "Somebody without a session asked more often than eight times a second from one address: he is not answered.",
    advice: "Nothing. Many from the address of a forwarder: its nodes all search, or all connect wrongly.",
    level: "debug",
    byStrangers: true,
  },
  "not-proven": {
    meaning:
      "Messages wait for a client outside the own site (`access.site`) that has answered none of ours: it gets at most `clients.unprovenFactorMax` octets for each octet heard from it, since its address may be forged. Counted when the waiting begins; nothing is lost by it.",
    advice:
      "Nothing: the first answer ends it, and each message of the client makes room for more. If the network is your own, add it to `access.site`.",
    level: "debug",
    byStrangers: true,
  },
  "no-place": {
    meaning:
      "There are as many sessions as `clients.sessionsMax` allows, or of this host as `sessionsPerHostMax` does, and none that would make way. The device hears 'congestion' and tries again.",
    advice:
      "Name your devices in `access.rules`: those get a place before others. See with `mqtt-sn-gateway sessions` who has them; a squatter has to speak to keep one. Many devices behind one address need a higher `sessionsPerHostMax`.",
    level: "debug",
    byStrangers: true,
  },
  repeat: {
    meaning: "A second copy of a message whose answer is under way or was given: it is not done twice.",
    advice: "Nothing: that is how datagrams arrive. Many mean that answers get lost, or come late.",
    level: "debug",
    byStrangers: false,
  },
} as const satisfies Record<DropReason, DropRow>;
