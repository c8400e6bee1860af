/* PUBLISH with the REGISTER before and the PUBREL behind it, SUBSCRIBE, UNSUBSCRIBE, will updates: one at a time, kept as it
 * is sent, repeated with DUP where there is one. The loss of the gateway interrupts it; behind the next CONNACK it goes on
 * under the same MsgId. [MQTT-SN 1.2 §6.4, §6.5, §6.6, §6.9, §6.13] */
#include "exchange.h"

#include <string.h>

#include "engine.h"
#include "topics.h"

/* `exchange.stage` of a PUBLISH; the others have MESSAGE only */
enum { STAGE_MESSAGE, STAGE_REGISTER, STAGE_RELEASE };
enum { REGISTER_HEAD_BYTES = 6 };

bool sn_exchange_may_run(const mqttsn_t *client) {
  return client->exchange.kind != EXCHANGE_NONE && client->state != MQTTSN_DISCONNECTED &&
         (client->control.kind == CONTROL_NONE || client->control.kind == CONTROL_PING);
}

/* Octets before the flags of the message that is kept. */
static size_t flags_at(const mqttsn_t *client) { return sn_wire_length_bytes(client->exchange.message) + 1; }

static uint8_t exchange_qos(const mqttsn_t *client) {
  return (uint8_t)((client->exchange.message[flags_at(client)] & FLAG_QOS) >> QOS_SHIFT);
}

static void set_topic_id(mqttsn_t *client, uint16_t id) {
  size_t at = flags_at(client) + 1;
  client->exchange.message[at] = (uint8_t)(id >> 8);
  client->exchange.message[at + 1] = (uint8_t)id;
}

static void send_register(mqttsn_t *client, uint32_t now) {
  const mqttsn_topic_entry_t *entry = sn_topic_entry(client, client->exchange.topic);
  message_t message;
  memset(&message, 0, sizeof message);
  message.type = REGISTER;
  message.msg_id = client->exchange.register_id;
  message.rest = (const uint8_t *)entry->name;
  message.rest_bytes = entry->name_bytes;
  sn_send_message(client, &message, now);
}

static void begin_register(mqttsn_t *client, uint32_t now) {
  client->exchange.stage = STAGE_REGISTER;
  client->exchange.tries = 0;
  client->exchange.register_id = sn_next_msg_id(client);
  send_register(client, now);
}

static void send_kept(mqttsn_t *client, uint32_t now) {
  bool has_dup = client->exchange.kind == EXCHANGE_SUBSCRIBE ||
                 (client->exchange.kind == EXCHANGE_PUBLISH && exchange_qos(client) != 0);
  if (has_dup && client->exchange.sent) client->exchange.message[flags_at(client)] |= FLAG_DUP;
  if (!client->exchange.sent) client->exchange.first_at = now;
  client->exchange.sent = true;
  sn_send_bytes(client, client->exchange.message, client->exchange.bytes, now);
}

static void finish(mqttsn_t *client, mqttsn_event_kind_t kind) {
  mqttsn_event_t event;
  memset(&event, 0, sizeof event);
  event.kind = kind;
  event.msg_id = client->exchange.msg_id;
  client->exchange.kind = EXCHANGE_NONE;
  client->config.on_event(client->config.context, &event);
}

static void send_exchange(mqttsn_t *client, uint32_t now) {
  client->exchange.due = now + sn_retry_ms(client);
  if (client->exchange.stage == STAGE_RELEASE) {
    message_t message = {.type = PUBREL};
    message.msg_id = client->exchange.msg_id;
    sn_send_message(client, &message, now);
    return;
  }
  if (client->exchange.kind == EXCHANGE_PUBLISH && client->exchange.topic != 0) {
    uint16_t id = sn_topic_entry(client, client->exchange.topic)->id;
    if (id == 0) {
      if (client->exchange.stage == STAGE_REGISTER) send_register(client, now);
      else begin_register(client, now);
      return;
    }
    client->exchange.stage = STAGE_MESSAGE;
    set_topic_id(client, id);
  }
  send_kept(client, now);
  if (client->exchange.kind == EXCHANGE_PUBLISH && exchange_qos(client) == 0) {
    finish(client, MQTTSN_EVENT_PUBLISHED);
  }
}

/*
 * A QoS 2 message that may have arrived: a new session knows nothing of it, and the old one remembers it for T_retry times
 * N_retry at least, counted from its first copy. Sent again later it might be published twice. An update of the will is
 * overtaken by the will in CONNECT.
 */
static bool is_beyond_resuming(const mqttsn_t *client, uint32_t now) {
  if (client->exchange.kind == EXCHANGE_WILL_TOPIC || client->exchange.kind == EXCHANGE_WILL_MESSAGE)
    return client->config.will != NULL;
  if (client->exchange.kind != EXCHANGE_PUBLISH || !client->exchange.sent || exchange_qos(client) != 2) return false;
  if (client->config.clean_session) return true;
  if (client->exchange.stage == STAGE_RELEASE) return false;
  return now - client->exchange.first_at >= sn_retry_ms(client) * client->config.retry_limit;
}

static void interrupted(mqttsn_t *client) {
  client->exchange.kind = EXCHANGE_NONE;
  sn_fail(client, client->exchange.msg_id, MQTTSN_INTERRUPTED);
}

void sn_exchange_due(mqttsn_t *client, uint32_t now) {
  if (client->exchange.paused) {
    client->exchange.paused = false;
    send_exchange(client, now);
  } else if (client->exchange.resumed && is_beyond_resuming(client, now)) {
    interrupted(client);
  } else if (client->exchange.tries < client->config.retry_limit) {
    client->exchange.tries++;
    send_exchange(client, now);
  } else {
    client->exchange.tries = 0;
    sn_disconnected(client, false); /* no gateway any more, as far as we can tell */
  }
}

/* An answer with a return code that is no acceptance: the exchange is over, or waits. */
static void refuse(mqttsn_t *client, uint8_t return_code, uint32_t now) {
  if (return_code == MQTTSN_CONGESTION) {
    /* It was not taken: the next time it is a new message, not a repetition. */
    client->exchange.paused = true;
    client->exchange.tries = 0;
    client->exchange.sent = false;
    if (client->exchange.kind == EXCHANGE_PUBLISH || client->exchange.kind == EXCHANGE_SUBSCRIBE) {
      client->exchange.message[flags_at(client)] &= (uint8_t)~FLAG_DUP;
    }
    client->exchange.due = now + client->config.congestion_seconds * UINT32_C(1000);
    sn_tell(client, MQTTSN_EVENT_CONGESTED);
    return;
  }
  client->exchange.kind = EXCHANGE_NONE;
  sn_fail(client, client->exchange.msg_id, return_code);
}

void sn_exchange_resume(mqttsn_t *client, uint32_t now) {
  if (client->exchange.kind == EXCHANGE_NONE) return;
  client->exchange.tries = 0;
  client->exchange.paused = false;
  if (client->exchange.stage == STAGE_REGISTER) client->exchange.stage = STAGE_MESSAGE;
  client->exchange.resumed = client->exchange.sent;
  if (is_beyond_resuming(client, now)) interrupted(client);
  else send_exchange(client, now);
}

/* A message to be kept and sent. */
static mqttsn_result_t begin(mqttsn_t *client, uint8_t kind, message_t *message, uint8_t topic, uint16_t *msg_id,
                             uint32_t now) {
  size_t bytes = sn_wire_encode(message, client->exchange.message, sizeof client->exchange.message);
  if (bytes == 0) return MQTTSN_TOO_LONG;
  client->exchange.kind = kind;
  client->exchange.stage = STAGE_MESSAGE;
  client->exchange.tries = 0;
  client->exchange.paused = false;
  client->exchange.sent = false;
  client->exchange.registered = false;
  client->exchange.resumed = false;
  client->exchange.topic = topic;
  client->exchange.msg_id = message->msg_id;
  client->exchange.bytes = (uint16_t)bytes;
  if (msg_id != NULL) *msg_id = message->msg_id;
  send_exchange(client, now);
  return MQTTSN_OK;
}

static mqttsn_result_t may_begin(const mqttsn_t *client) {
  if (client->state == MQTTSN_DISCONNECTED) return MQTTSN_WRONG_STATE;
  return mqttsn_idle(client) ? MQTTSN_OK : MQTTSN_BUSY;
}

static bool has_wildcard(const mqttsn_topic_t *topic) {
  return memchr(topic->name, '+', topic->name_bytes) != NULL || memchr(topic->name, '#', topic->name_bytes) != NULL;
}

mqttsn_result_t mqttsn_publish(mqttsn_t *client, const mqttsn_topic_t *topic, uint8_t qos, bool retain,
                               const uint8_t *payload, size_t payload_bytes, uint16_t *msg_id, uint32_t now) {
  mqttsn_result_t result = may_begin(client);
  uint8_t place = 0;
  uint16_t own_id = 0;
  message_t message;
  if (result != MQTTSN_OK) return result;
  if (qos > 2) return MQTTSN_WRONG_STATE;
  memset(&message, 0, sizeof message);
  if (topic->kind == MQTTSN_TOPIC_NAME) {
    if (topic->name_bytes == 0 || has_wildcard(topic)) return MQTTSN_WRONG_TOPIC;
    if (topic->name_bytes > MQTTSN_TOPIC_BYTES || topic->name_bytes + REGISTER_HEAD_BYTES > MQTTSN_MESSAGE_BYTES)
      return MQTTSN_TOO_LONG;
  }
  if (payload_bytes + (payload_bytes > 248 ? 9U : 7U) > MQTTSN_MESSAGE_BYTES) return MQTTSN_TOO_LONG;
  if (topic->kind == MQTTSN_TOPIC_NAME) place = sn_topic_place(client, topic->name, topic->name_bytes);
  own_id = sn_next_msg_id(client);
  message.type = PUBLISH;
  message.flags = (uint8_t)((unsigned)qos << QOS_SHIFT | (retain ? (unsigned)FLAG_RETAIN : 0U) | (unsigned)topic->kind);
  message.topic_id = topic->id;
  message.msg_id = own_id;
  message.rest = payload;
  message.rest_bytes = payload_bytes;
  if (qos == 0) {
    /* In the message it has none [§5.4.12]; for the application it has. */
    size_t bytes;
    message.msg_id = 0;
    bytes = sn_wire_encode(&message, client->exchange.message, sizeof client->exchange.message);
    client->exchange.bytes = (uint16_t)bytes;
    client->exchange.kind = EXCHANGE_PUBLISH;
    client->exchange.stage = STAGE_MESSAGE;
    client->exchange.tries = 0;
    client->exchange.paused = false;
    client->exchange.sent = false;
    client->exchange.registered = false;
  client->exchange.resumed = false;
    client->exchange.topic = place;
    client->exchange.msg_id = own_id;
    if (msg_id != NULL) *msg_id = own_id;
    send_exchange(client, now);
    return MQTTSN_OK;
  }
  return begin(client, EXCHANGE_PUBLISH, &message, place, msg_id, now);
}

mqttsn_result_t mqttsn_publish_unconnected(mqttsn_t *client, const mqttsn_topic_t *topic, bool retain,
                                           const uint8_t *payload, size_t payload_bytes, uint32_t now) {
  message_t message;
  if (topic->kind == MQTTSN_TOPIC_NAME) return MQTTSN_WRONG_TOPIC;
  if (payload_bytes + (payload_bytes > 248 ? 9U : 7U) > MQTTSN_MESSAGE_BYTES) return MQTTSN_TOO_LONG;
  memset(&message, 0, sizeof message);
  message.type = PUBLISH;
  message.flags = (uint8_t)(QOS_MINUS_ONE << QOS_SHIFT | (retain ? FLAG_RETAIN : 0) | (int)topic->kind);
  message.topic_id = topic->id;
  message.rest = payload;
  message.rest_bytes = payload_bytes;
  sn_send_message(client, &message, now);
  return MQTTSN_OK;
}

static mqttsn_result_t begin_subscribe(mqttsn_t *client, uint8_t kind, const mqttsn_topic_t *topic, uint8_t qos,
                                       uint16_t *msg_id, uint32_t now) {
  mqttsn_result_t result = may_begin(client);
  uint8_t id[2];
  uint8_t place = 0;
  message_t message;
  if (result != MQTTSN_OK) return result;
  if (topic->kind == MQTTSN_TOPIC_NAME && topic->name_bytes == 0) return MQTTSN_WRONG_TOPIC;
  memset(&message, 0, sizeof message);
  message.type = kind == EXCHANGE_SUBSCRIBE ? SUBSCRIBE : UNSUBSCRIBE;
  message.flags = (uint8_t)((unsigned)qos << QOS_SHIFT | (unsigned)topic->kind);
  message.rest = (const uint8_t *)topic->name;
  message.rest_bytes = topic->name_bytes;
  if (topic->kind != MQTTSN_TOPIC_NAME) {
    id[0] = (uint8_t)(topic->id >> 8);
    id[1] = (uint8_t)topic->id;
    message.rest = id;
    message.rest_bytes = sizeof id;
  } else {
    if (topic->name_bytes + 5 > MQTTSN_MESSAGE_BYTES) return MQTTSN_TOO_LONG;
    /* The id in SUBACK is this name's. A longer name is delivered all the same, by its id. */
    if (kind == EXCHANGE_SUBSCRIBE && !has_wildcard(topic)) place = sn_topic_place(client, topic->name, topic->name_bytes);
  }
  message.msg_id = sn_next_msg_id(client);
  return begin(client, kind, &message, place, msg_id, now);
}

mqttsn_result_t mqttsn_subscribe(mqttsn_t *client, const mqttsn_topic_t *topic, uint8_t qos, uint16_t *msg_id,
                                 uint32_t now) {
  if (qos > 2) return MQTTSN_WRONG_STATE;
  return begin_subscribe(client, EXCHANGE_SUBSCRIBE, topic, qos, msg_id, now);
}

mqttsn_result_t mqttsn_unsubscribe(mqttsn_t *client, const mqttsn_topic_t *topic, uint16_t *msg_id, uint32_t now) {
  return begin_subscribe(client, EXCHANGE_UNSUBSCRIBE, topic, 0, msg_id, now);
}

mqttsn_result_t mqttsn_update_will_topic(mqttsn_t *client, const mqttsn_will_t *will, uint16_t *msg_id, uint32_t now) {
  mqttsn_result_t result = may_begin(client);
  message_t message;
  if (result != MQTTSN_OK) return result;
  memset(&message, 0, sizeof message);
  message.type = WILLTOPICUPD;
  message.is_short = will == NULL;
  message.msg_id = sn_next_msg_id(client); /* not in a message: the application's number for it */
  if (will != NULL) {
    message.flags = (uint8_t)(will->qos << QOS_SHIFT | (will->retain ? FLAG_RETAIN : 0));
    message.rest = (const uint8_t *)will->topic;
    message.rest_bytes = strlen(will->topic);
  }
  return begin(client, EXCHANGE_WILL_TOPIC, &message, 0, msg_id, now);
}

mqttsn_result_t mqttsn_update_will_message(mqttsn_t *client, const uint8_t *payload, size_t payload_bytes,
                                           uint16_t *msg_id, uint32_t now) {
  mqttsn_result_t result = may_begin(client);
  message_t message;
  if (result != MQTTSN_OK) return result;
  memset(&message, 0, sizeof message);
  message.type = WILLMSGUPD;
  message.msg_id = sn_next_msg_id(client);
  message.rest = payload;
  message.rest_bytes = payload_bytes;
  return begin(client, EXCHANGE_WILL_MESSAGE, &message, 0, msg_id, now);
}

void sn_on_regack(mqttsn_t *client, const message_t *message, uint32_t now) {
  if (client->exchange.kind != EXCHANGE_PUBLISH || client->exchange.stage != STAGE_REGISTER || client->exchange.paused)
    return;
  if (message->msg_id != client->exchange.register_id) return;
  if (message->code != MQTTSN_ACCEPTED || message->topic_id == 0) {
    refuse(client, message->code == MQTTSN_ACCEPTED ? MQTTSN_INVALID_TOPIC_ID : message->code, now);
    return;
  }
  sn_topic_learn(client, client->exchange.topic, message->topic_id);
  client->exchange.stage = STAGE_MESSAGE;
  client->exchange.tries = 0;
  if (sn_exchange_may_run(client)) send_exchange(client, now);
}

/* "Invalid topic id": the gateway has forgotten it. Once more under a new one. [§6.6] */
static void on_invalid_topic(mqttsn_t *client, uint32_t now) {
  if (client->exchange.topic == 0 || client->exchange.registered) {
    refuse(client, MQTTSN_INVALID_TOPIC_ID, now);
    return;
  }
  client->exchange.registered = true;
  client->exchange.tries = 0;
  sn_topic_entry(client, client->exchange.topic)->id = 0;
  send_exchange(client, now);
}

void sn_on_publish_answer(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t stale;
  if (message->type == PUBACK && message->msg_id == 0 && message->code == MQTTSN_INVALID_TOPIC_ID) {
    /* To a PUBLISH at QoS 0: it is lost, the next one under this name is not. */
    stale = sn_topic_by_id(client, message->topic_id);
    if (stale != 0) sn_topic_entry(client, stale)->id = 0;
    return;
  }
  if (client->exchange.kind != EXCHANGE_PUBLISH || client->exchange.stage == STAGE_REGISTER || client->exchange.paused)
    return;
  if (message->msg_id != client->exchange.msg_id || exchange_qos(client) == 0) return;
  if (message->type == PUBACK) {
    if (client->exchange.stage == STAGE_RELEASE) return;
    if (message->code == MQTTSN_INVALID_TOPIC_ID) on_invalid_topic(client, now);
    else if (message->code != MQTTSN_ACCEPTED) refuse(client, message->code, now);
    else if (exchange_qos(client) == 1) finish(client, MQTTSN_EVENT_PUBLISHED);
  } else if (exchange_qos(client) == 2 && message->type == PUBREC) {
    client->exchange.stage = STAGE_RELEASE;
    client->exchange.tries = 0;
    send_exchange(client, now);
  } else if (exchange_qos(client) == 2 && client->exchange.stage == STAGE_RELEASE) {
    finish(client, MQTTSN_EVENT_PUBLISHED);
  }
}

void sn_on_subscribe_answer(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t kind = message->type == SUBACK ? EXCHANGE_SUBSCRIBE : EXCHANGE_UNSUBSCRIBE;
  mqttsn_event_t event;
  if (client->exchange.kind != kind || client->exchange.paused || message->msg_id != client->exchange.msg_id) return;
  if (kind == EXCHANGE_UNSUBSCRIBE) {
    finish(client, MQTTSN_EVENT_UNSUBSCRIBED);
    return;
  }
  if (message->code != MQTTSN_ACCEPTED) {
    refuse(client, message->code, now);
    return;
  }
  if (client->exchange.topic != 0 && message->topic_id != 0) sn_topic_learn(client, client->exchange.topic, message->topic_id);
  client->exchange.kind = EXCHANGE_NONE;
  memset(&event, 0, sizeof event);
  event.kind = MQTTSN_EVENT_SUBSCRIBED;
  event.msg_id = message->msg_id;
  event.qos = (uint8_t)((message->flags & FLAG_QOS) >> QOS_SHIFT);
  event.topic.id = message->topic_id;
  client->config.on_event(client->config.context, &event);
}

void sn_on_will_answer(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t kind = message->type == WILLTOPICRESP ? EXCHANGE_WILL_TOPIC : EXCHANGE_WILL_MESSAGE;
  if (client->exchange.kind != kind || client->exchange.paused) return;
  if (message->code == MQTTSN_ACCEPTED) finish(client, MQTTSN_EVENT_WILL_UPDATED);
  else refuse(client, message->code, now);
}
