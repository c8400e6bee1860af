/* What every procedure stands on: time, MsgIds and random numbers, what goes out to the gateway, and what the application is
 * told. It knows no procedure, only whether one is under way. */
#include "engine.h"

#include <string.h>

enum { ANSWER_BYTES_MAX = 8 };

bool sn_is_due(uint32_t due, uint32_t now) { return now - due < UINT32_C(0x80000000); }

uint32_t sn_retry_ms(const mqttsn_t *client) { return client->config.retry_seconds * UINT32_C(1000); }

uint32_t sn_next_random(mqttsn_t *client) {
  /* xorshift: good enough to spread devices over a few seconds. */
  client->random ^= client->random << 13;
  client->random ^= client->random >> 17;
  client->random ^= client->random << 5;
  return client->random;
}

uint16_t sn_next_msg_id(mqttsn_t *client) {
  client->last_msg_id = (uint16_t)(client->last_msg_id == UINT16_MAX ? 1 : client->last_msg_id + 1);
  return client->last_msg_id;
}

void sn_send_bytes(mqttsn_t *client, const uint8_t *bytes, size_t count, uint32_t now) {
  client->sent_at = now;
  client->config.send(client->config.context, bytes, count, MQTTSN_TO_GATEWAY, 0);
}

void sn_send_message(mqttsn_t *client, const message_t *message, uint32_t now) {
  uint8_t bytes[MQTTSN_MESSAGE_BYTES > ANSWER_BYTES_MAX ? MQTTSN_MESSAGE_BYTES : ANSWER_BYTES_MAX];
  size_t count = sn_wire_encode(message, bytes, sizeof bytes);
  if (count > 0) sn_send_bytes(client, bytes, count, now);
}

void sn_tell(mqttsn_t *client, mqttsn_event_kind_t kind) {
  mqttsn_event_t event;
  memset(&event, 0, sizeof event);
  event.kind = kind;
  client->config.on_event(client->config.context, &event);
}

void sn_fail(mqttsn_t *client, uint16_t msg_id, uint8_t return_code) {
  mqttsn_event_t event;
  memset(&event, 0, sizeof event);
  event.kind = MQTTSN_EVENT_FAILED;
  event.msg_id = msg_id;
  event.return_code = return_code;
  client->config.on_event(client->config.context, &event);
}

void sn_disconnected(mqttsn_t *client, bool asked) {
  mqttsn_event_t event;
  memset(&event, 0, sizeof event);
  client->state = MQTTSN_DISCONNECTED;
  client->control.kind = CONTROL_NONE;
  event.kind = MQTTSN_EVENT_DISCONNECTED;
  event.asked = asked;
  client->config.on_event(client->config.context, &event);
}

bool mqttsn_idle(const mqttsn_t *client) {
  bool control_idle = client->control.kind == CONTROL_NONE || client->control.kind == CONTROL_PING;
  return control_idle && client->exchange.kind == EXCHANGE_NONE;
}
