/* Messages for us: acknowledged, told once at QoS 2, and "invalid topic id" to what we have no name for.
 * [MQTT-SN 1.2 §6.6, §6.10] */
#include "receive.h"

#include <string.h>

#include "engine.h"
#include "topics.h"

/* No sleep is longer than 65535 s and its grace: an exchange that is open for longer nobody will go on with. [§5.3.3] */
#define ABANDONED_MS UINT32_C(86400000)

/* The gateway may repeat itself for so long. */
static uint32_t repetition_ms(const mqttsn_t *client) {
  return sn_retry_ms(client) * (client->config.retry_limit + UINT32_C(1));
}

typedef enum { TAKEN_NEW, TAKEN_AGAIN, TAKEN_NO_ROOM } taken_result_t;

/* FNV-1a of the topic id and the payload, folded to 8 bits. */
static uint8_t contents_of(const message_t *message) {
  uint32_t hash = (UINT32_C(0x811c9dc5) ^ message->topic_id) * UINT32_C(0x01000193);
  for (size_t i = 0; i < message->rest_bytes; i++) hash = (hash ^ message->rest[i]) * UINT32_C(0x01000193);
  return (uint8_t)(hash ^ hash >> 8 ^ hash >> 16 ^ hash >> 24);
}

/* Until its PUBREL a MsgId is one message, whatever DUP says; and a while longer with DUP, since a repetition may be
 * overtaken by the end of its own exchange. With other contents it is another message: a gateway that was started
 * again, or another one in its place, may use a MsgId again. */
static taken_result_t take(mqttsn_t *client, const message_t *message, bool dup, uint32_t now) {
  uint16_t msg_id = message->msg_id;
  uint8_t contents = contents_of(message);
  mqttsn_taken_t *place = NULL;
  for (unsigned i = 0; i < MQTTSN_TAKEN; i++) {
    mqttsn_taken_t *each = &client->taken[i];
    if (each->msg_id != msg_id) continue;
    place = each;
    if (each->contents != contents) continue;
    if (!each->released) return TAKEN_AGAIN;
    if (dup && now - each->at < repetition_ms(client)) return TAKEN_AGAIN;
  }
  /* A free place, or that of the one which was over first. */
  for (unsigned i = 0; place == NULL && i < MQTTSN_TAKEN; i++) {
    if (client->taken[i].msg_id == 0) place = &client->taken[i];
  }
  if (place == NULL) {
    for (unsigned i = 0; i < MQTTSN_TAKEN; i++) {
      mqttsn_taken_t *each = &client->taken[i];
      bool free_again = each->released || now - each->at > ABANDONED_MS;
      if (free_again && (place == NULL || now - each->at > now - place->at)) place = each;
    }
  }
  if (place == NULL) return TAKEN_NO_ROOM;
  place->msg_id = msg_id;
  place->released = false;
  place->contents = contents;
  place->at = now;
  return TAKEN_NEW;
}

static void answer(mqttsn_t *client, uint8_t type, const message_t *to, uint8_t code, uint32_t now) {
  message_t message;
  memset(&message, 0, sizeof message);
  message.type = type;
  message.topic_id = to->topic_id;
  message.msg_id = to->msg_id;
  message.code = code;
  sn_send_message(client, &message, now);
}

void sn_on_publish(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t qos = (uint8_t)((message->flags & FLAG_QOS) >> QOS_SHIFT);
  bool dup = (message->flags & FLAG_DUP) != 0;
  uint8_t kind = message->flags & FLAG_TOPIC;
  mqttsn_event_t event;
  if (qos == QOS_MINUS_ONE || kind > MQTTSN_TOPIC_SHORT || client->state == MQTTSN_ASLEEP) return;
  if (qos != 0 && message->msg_id == 0) return;
  memset(&event, 0, sizeof event);
  event.topic.kind = (mqttsn_topic_kind_t)kind;
  event.topic.id = message->topic_id;
  if (kind == MQTTSN_TOPIC_NAME) {
    uint8_t place = sn_topic_by_id(client, message->topic_id);
    if (place == 0) {
      answer(client, PUBACK, message, MQTTSN_INVALID_TOPIC_ID, now);
      return;
    }
    event.topic.name = sn_topic_entry(client, place)->name;
    event.topic.name_bytes = sn_topic_entry(client, place)->name_bytes;
  }
  if (qos == 1) answer(client, PUBACK, message, MQTTSN_ACCEPTED, now);
  if (qos == 2) {
    taken_result_t taken = take(client, message, dup, now);
    if (taken == TAKEN_NO_ROOM) {
      answer(client, PUBACK, message, MQTTSN_CONGESTION, now);
      return;
    }
    answer(client, PUBREC, message, MQTTSN_ACCEPTED, now);
    if (taken == TAKEN_AGAIN) return;
  }
  event.kind = MQTTSN_EVENT_MESSAGE;
  event.qos = qos;
  event.retain = (message->flags & FLAG_RETAIN) != 0;
  event.dup = dup;
  event.payload = message->rest;
  event.payload_bytes = message->rest_bytes;
  client->config.on_event(client->config.context, &event);
}

void sn_on_pubrel(mqttsn_t *client, const message_t *message, uint32_t now) {
  for (unsigned i = 0; i < MQTTSN_TAKEN; i++) {
    mqttsn_taken_t *each = &client->taken[i];
    if (each->msg_id == 0 || each->msg_id != message->msg_id || each->released) continue;
    each->released = true;
    each->at = now;
  }
  answer(client, PUBCOMP, message, MQTTSN_ACCEPTED, now);
}

void sn_on_register(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t place = 0;
  if (client->state == MQTTSN_ASLEEP) return;
  if (message->topic_id != 0 && message->rest_bytes <= MQTTSN_TOPIC_BYTES) {
    place = sn_topic_place(client, (const char *)message->rest, message->rest_bytes);
  }
  if (place != 0) sn_topic_learn(client, place, message->topic_id);
  answer(client, REGACK, message, place != 0 ? MQTTSN_ACCEPTED : MQTTSN_NOT_SUPPORTED, now);
}
