/**
 * Describes each drop reason of core/event.ts: what it means, and what the operator can do. Only data; the log,
 * docs/guide/events.md and the console show it.
 */
import type { DropReason } from "../core/event.ts";

export interface DropRow {
  /** The meaning of the reason. */
  readonly meaning: string;
  readonly advice: string;
  /** `warn` if a message is lost that the operator expects to be kept, or if there is no other way to find the cause. */
  readonly level: "debug" | "warn";
  /**
   * True if any sender that can reach a transport may cause it, as often as it likes, before a rule of `access` admits
   * it. The count then says nothing about the gateway's own devices, and no table may grow with it.
   */
  readonly byStrangers: boolean;
}

export const dropReasonRows = {
  malformed: {
    meaning: "A datagram that is not a message of MQTT-SN 1.2.",
    advice:
      "The detail says what is wrong. If the sender is one of your devices, its firmware has a fault, or the line damages octets. If not, somebody tries the port: make it reachable only from the sensor network.",
    level: "debug",
    byStrangers: true,
  },
  "mqtt-sn-2.0": {
    meaning:
      "A CONNECT in the format of the draft of MQTT-SN 2.0. This gateway speaks 1.2, which has no answer to it, so the device gets no answer.",
    advice:
      "Set the device, or its library, to MQTT-SN 1.2 (protocol id 1). The line is logged at most once a minute, for all senders together.",
    level: "warn",
    byStrangers: true,
  },
  "unexpected-type": {
    meaning:
      "A client sent a message that only gateways send, or a message at the wrong time (a will without a request for it, or any message before CONNACK).",
    advice: "The firmware sends messages in the wrong order. `mqtt-sn-gateway decode` explains what it sent.",
    level: "debug",
    byStrangers: false,
  },
  "unknown-sender": {
    meaning:
      "A message from an address that has no session. If an answer helps, the sender gets DISCONNECT, at most once a second.",
    advice:
      "A device whose session was deleted, or whose address changed, connects again by itself. If it does not, its firmware ignores DISCONNECT.",
    level: "debug",
    byStrangers: true,
  },
  "not-admitted": {
    meaning: "A CONNECT of a client that no rule of `access` admits. The client gets 'not supported'.",
    advice: "To admit it, use the line that the log gives with `not_admitted`.",
    level: "debug",
    byStrangers: true,
  },
  "topic-not-allowed": {
    meaning:
      "A topic that `publish` or `subscribe` of `access` does not allow to the client. Its publication is not forwarded: a device that waits for an answer gets 'not supported', and a publication that was acknowledged before becomes a dead letter. Its subscription is refused, and a message for it is not delivered.",
    advice: "To allow it, use the line that the log gives with `topic_not_allowed`.",
    level: "debug",
    byStrangers: false,
  },
  "over-limit": {
    meaning:
      "A device sent more messages a second or octets a day than `access.limits` allows, or a sender without a connection more than `access.qosMinusOne.perSecond`. A client gets 'congestion', if the message has such an answer.",
    advice:
      "Find out whether the device has a fault. If it has none, raise the limit in the entry of `access.limits` that names it.",
    level: "debug",
    byStrangers: true,
  },
  quarantined: {
    meaning:
      "A message of a device that the gateway ignores for a time, because it continued to send beyond its limits although it got 'congestion'.",
    advice: "As for `over-limit`. The log says when this began (`client_quarantined`).",
    level: "debug",
    byStrangers: false,
  },
  "client-id-taken": {
    meaning:
      "A client whose MQTT client id is already used at its broker: by one of the gateway's own connections (`upstream.serviceClientId`, and `-1`, `-2` for shared ones), or by a client of another upstream (with its prefix). The client gets 'not supported'.",
    advice:
      "If the device is yours, give it another id, or give the upstream another `clientIdPrefix` or `serviceClientId`. If not, somebody tried to receive messages for others.",
    level: "debug",
    byStrangers: true,
  },
  "id-in-use": {
    meaning:
      "A CONNECT from another address with the id of a connected client, after several in a minute: two devices have the same id. The device that has the session keeps it. The other one gets 'congestion', for a pause that doubles up to five minutes while both send.",
    advice: "Give one of the two another client id. `id_in_use` in the log has the addresses of both.",
    level: "debug",
    byStrangers: true,
  },
  "encapsulation-not-allowed": {
    meaning: "A message through a forwarder that `access.forwarders` does not admit. Nothing is answered.",
    advice: "If it is yours, add its address to `access.forwarders.from`.",
    level: "debug",
    byStrangers: true,
  },
  "qos-minus-one-not-allowed": {
    meaning: "A publication without a connection, from an address that `access.qosMinusOne` does not admit.",
    advice: "If the device is yours, add its network to `access.qosMinusOne.from`.",
    level: "debug",
    byStrangers: true,
  },
  "qos-minus-one-topic": {
    meaning:
      "A publication without a connection whose topic id has no meaning: it is not predefined, it is not two printable characters, or it is a long name while `extensions.longNameQoSMinusOne` is off.",
    advice: "Add the id to `topics.predefined`, or correct the device.",
    level: "debug",
    byStrangers: false,
  },
  "message-id-zero": {
    meaning:
      "A PUBLISH at QoS 1 or 2, a SUBSCRIBE or an UNSUBSCRIBE with MsgId 0. The client could not match an answer to it.",
    advice: "Correct the device: MsgIds begin at 1.",
    level: "debug",
    byStrangers: false,
  },
  "unmatched-ack": {
    meaning: "An acknowledgement, from a client or the broker, for which the gateway does not wait.",
    advice:
      "Usually it is the second copy of a late acknowledgement, and there is nothing to do. If there are many, the network is slow: raise `retry.intervalSeconds`.",
    level: "debug",
    byStrangers: false,
  },
  "clock-not-set": {
    meaning: "A device asked for the time (`topics.timeId`), but the clock of this machine was not set yet.",
    advice: "Give the machine a time server (`sudo timedatectl set-ntp true`) or a clock. The device asks again.",
    level: "debug",
    byStrangers: false,
  },
  "unknown-topic-id": {
    meaning:
      "A publication with a topic id that the client did not register in this session. The client gets 'invalid topic id'.",
    advice: "The device registers the topic again and continues. If it does not, its firmware ignores the return code.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-peer": {
    meaning: "A message for a client that does not fit into one message of its network, or whose topic name does not.",
    advice:
      "Publish shorter messages, shorten the topic name or predefine it, or raise `transports[].maxMessageBytes` if the device can receive such messages.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-client": {
    meaning:
      "A message for a client that is longer than the `payloadBytesMax` of its rule in `buffer.rules`. The gateway does not try to send it.",
    advice:
      "Send a shorter message, or correct the rule. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` sends it again.",
    level: "debug",
    byStrangers: false,
  },
  "payload-unfit": {
    meaning: "A message for a client whose payload could not be encoded as its declaration in `payloads` describes.",
    advice:
      "`payload_unfit` in the log says which field is wrong. Correct the sender of the command, or the declaration. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` tries it again.",
    level: "debug",
    byStrangers: false,
  },
  "too-large-for-broker": {
    meaning:
      "A publication that the broker does not accept, as it announced (because of its size, QoS or retain flag), or that is larger than `upstream.payloadBytesMax`. The client gets 'not supported'.",
    advice: "Publish shorter messages, or raise the limit at the broker or in `upstream.payloadBytesMax`.",
    level: "debug",
    byStrangers: false,
  },
  "buffer-full": {
    meaning:
      "A message for a client did not fit into its buffer, or was dropped for a newer one. At QoS 1 and 2 it is kept as a dead letter.",
    advice:
      "`mqtt-sn-gateway queue` shows the client. The device sleeps too long, or does not exist any more (`sessions drop`), or the limit is too small (`buffer`).",
    level: "warn",
    byStrangers: false,
  },
  superseded: {
    meaning: "A later message of the same topic replaced it, because `buffer` has `keep: latest`.",
    advice: "Nothing: this is intended.",
    level: "debug",
    byStrangers: false,
  },
  "not-buffered": {
    meaning: "A QoS 0 message for a sleeping client, while `qos0WhileAsleep` in `buffer` is off.",
    advice: "Nothing. Publish a message at QoS 1 if it must not be lost.",
    level: "debug",
    byStrangers: false,
  },
  expired: {
    meaning:
      "A message waited longer than its time to live (`buffer`, `uplink.ageSecondsMax`, or the publisher's own).",
    advice: "Nothing, if the message is useless by then. Otherwise raise the time, or let the device wake more often.",
    level: "debug",
    byStrangers: false,
  },
  "refused-by-client": {
    meaning: "The client answered a publication with a return code that refuses it.",
    advice: "Look at the device: it subscribes to messages that it cannot use.",
    level: "debug",
    byStrangers: false,
  },
  unanswered: {
    meaning:
      "A message that its client never answered, over three rounds of repetitions or five wake-ups, although it answered others in between. Usually the message is larger than the buffer of the client. Or the REGISTER of its topic, if the client does not support REGISTER.",
    advice:
      "The detail has topic, QoS and length. Send shorter messages, give the client a larger buffer, or set a `payloadBytesMax` in `buffer.rules`, so that the gateway does not try such a message. A client without REGISTER must subscribe to each topic name separately. At QoS 1 and 2 it is a dead letter: `mqtt-sn-gateway queue republish` sends it again.",
    level: "warn",
    byStrangers: false,
  },
  "registration-refused": {
    meaning:
      "The client refused the topic id of a message for it. The gateway registers the topic again after the next CONNECT.",
    advice:
      "The topic table of the device is full. Use narrower subscriptions, predefined topic ids, or a larger table.",
    level: "debug",
    byStrangers: false,
  },
  "topic-ids-exhausted": {
    meaning:
      "The client has as many topic names as `topics.idsPerClientMax` allows, or its names, filters and will have as many octets as `topics.bytesPerClientMax` allows. REGISTER, SUBSCRIBE or a will is answered with 'congestion'.",
    advice: "The device always makes new topic names. Correct it, or raise the limit.",
    level: "debug",
    byStrangers: false,
  },
  "session-ended": {
    meaning:
      "Messages waited for a client whose session ended: the client began a new one, the session expired, or the operator dropped it.",
    advice: "Nothing. At QoS 1 and 2 they are dead letters: `mqtt-sn-gateway queue republish` sends them again.",
    level: "debug",
    byStrangers: false,
  },
  "retained-again": {
    meaning:
      "A retained message that was sent to the client already. With MQTT 3.1.1 the broker sends it each time the gateway subscribes again, for example after each start of the gateway.",
    advice: "Nothing.",
    level: "debug",
    byStrangers: false,
  },
  "unsafe-topic": {
    meaning:
      "A topic name with control characters or non-characters, or (if clients share a connection) with more than 100 levels. Brokers close a connection because of it. The client gets 'not supported'.",
    advice: "Correct the device. If it needs so many levels, give it a separate upstream in transparent mode.",
    level: "debug",
    byStrangers: false,
  },
  "link-down": {
    meaning:
      "The broker is away, and the message is not stored (QoS 0, or `uplink.whenAway: refuse`). A client that waits for an answer gets 'congestion'.",
    advice: "Look at the broker. `uplink.whenAway: store` and `uplink.qos0` store publications meanwhile.",
    level: "debug",
    byStrangers: false,
  },
  "uplink-congested": {
    meaning:
      "Too many messages of the client, or of its connection, wait for the broker's answer. The client gets 'congestion' and tries again.",
    advice:
      "The broker or the network is too slow. If not, raise `clients.uplinkInFlightMax` or `upstream.sendBufferBytesMax`.",
    level: "debug",
    byStrangers: false,
  },
  "backlog-full": {
    meaning: "Too many messages wait on disk for the broker: of this client, or of all clients together (`uplink`).",
    advice:
      "Repair the connection to the broker, or raise the limits if the disk has space. Dropped messages at QoS 1 and 2 are dead letters.",
    level: "debug",
    byStrangers: false,
  },
  "store-failing": {
    meaning:
      "The message has to be stored, and the store cannot write. A client that waits for an answer gets 'congestion'.",
    advice: "See `persist_failed` in the log: free some space, or look for disk errors in the kernel's log.",
    level: "debug",
    byStrangers: false,
  },
  "refused-by-broker": {
    meaning:
      "The broker refuses it: a publication that was acknowledged to the device, a subscription that was granted, or (see `packet_taken_out`) a packet for which the broker closes the connection, and later ones of the same kind. A device that waits for an answer gets 'not supported'.",
    advice:
      "Look at the broker's rules and limits for this client. A publication that was acknowledged is a dead letter.",
    level: "debug",
    byStrangers: false,
  },
  purged: {
    meaning:
      "The operator deleted publications of a client that were not at the broker yet (`queue purge --client`, `--topic`). A device that waits for an answer gets 'not supported'.",
    advice: "Nothing: the operator asked for it.",
    level: "debug",
    byStrangers: false,
  },
  "too-many-pending": {
    meaning:
      "Too many CONNECTs are open (`clients.pendingMax`), or the client has too many subscriptions (`clients.subscriptionsMax`). It gets 'congestion'.",
    advice: "After a power failure this ends by itself. Otherwise somebody floods the port, or the limit is too small.",
    level: "debug",
    byStrangers: false,
  },
  "rate-limited": {
    meaning:
      "More new sessions in a second than `clients.newPerSecondMax` or `newPerSecondPerHostMax` allow. The device gets 'congestion' and tries again.",
    advice:
      "After a power failure this ends by itself. Otherwise somebody floods the port, or the limits are too small: many devices behind one forwarder or one translated address (NAT) count as one host.",
    level: "debug",
    byStrangers: false,
  },
  "too-many-answers": {
    meaning: "A sender without a session sent more than six requests a second from one address. It gets no answer.",
    advice:
      "Nothing. If there are many from the address of a forwarder, all its nodes search, or all send a wrong CONNECT.",
    level: "debug",
    byStrangers: true,
  },
  "not-proven": {
    meaning:
      "Messages wait for a client outside the own site (`access.site`) that has not answered any message yet. Its address may be forged, so it gets at most `clients.unprovenFactorMax` octets for each octet that it sent. This is counted when the messages begin to wait; nothing is lost.",
    advice:
      "Nothing: the first answer of the client ends this, and each of its messages allows more octets. If the network is your own, add it to `access.site`.",
    level: "debug",
    byStrangers: true,
  },
  "not-restored": {
    meaning:
      "After a start, the gateway serves clients while it still reads the sessions of the last run. The session of this client was not read yet, and too much waited already. The device repeats its message. At QoS 0, a message from the broker is lost.",
    advice:
      "Nothing, if the count stays when the log says that all sessions are restored. With very many sessions, a store on a faster disk, or more shards in a fleet, shorten this time.",
    level: "debug",
    byStrangers: true,
  },
  "no-place": {
    meaning:
      "There are as many sessions as `clients.sessionsMax` allows, or as `sessionsPerHostMax` allows for this host, and none of them may be ended for a new one. The device gets 'congestion' and tries again.",
    advice:
      "Name your devices in `access.rules`: they get a session before others. `mqtt-sn-gateway sessions` shows who has the sessions; an attacker must send messages to keep one. Many devices behind one address need a higher `sessionsPerHostMax`.",
    level: "debug",
    byStrangers: true,
  },
  repeat: {
    meaning:
      "A second copy of a message that is being processed or was answered. The gateway does not process it again.",
    advice:
      "Nothing: networks duplicate datagrams, and devices repeat them. If there are many, answers are lost or late.",
    level: "debug",
    byStrangers: false,
  },
} as const satisfies Record<DropReason, DropRow>;
