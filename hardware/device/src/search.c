/* Finding a gateway, noticing that it is lost, and announcing ours to other devices. [MQTT-SN 1.2 §6.1] */
#include "search.h"

#include <string.h>

#include "engine.h"

/* N_ADV: after so many periods without ADVERTISE, it is lost. */
enum { ADVERTISE_PERIODS = 3 };

/* Ever more seldom, up to once an hour. */
enum { SEARCH_PAUSE_MS_MAX = 3600000 };

static uint32_t span_ms(const mqttsn_t *client) { return client->config.search_seconds * UINT32_C(1000); }

static uint32_t random_part(mqttsn_t *client) {
  uint32_t span = span_ms(client);
  return span == 0 ? 0 : sn_next_random(client) % span;
}

mqttsn_result_t mqttsn_search(mqttsn_t *client, uint8_t radius, uint32_t now) {
  if (client->state != MQTTSN_DISCONNECTED || client->control.kind != CONTROL_NONE) return MQTTSN_WRONG_STATE;
  client->searching = true;
  client->search_radius = radius;
  client->search_pause_ms = sn_retry_ms(client);
  client->search_due = now + random_part(client);
  return MQTTSN_OK;
}

/* The next time; twice as long after that. A device that was switched on with others stays apart from them. */
static void search_later(mqttsn_t *client, uint32_t now) {
  client->search_due = now + client->search_pause_ms + random_part(client);
  if (client->search_pause_ms < SEARCH_PAUSE_MS_MAX / 2) client->search_pause_ms *= 2;
}

static void to_everybody(mqttsn_t *client, const message_t *message, uint8_t radius) {
  uint8_t bytes[MQTTSN_GATEWAY_ADDRESS_BYTES + 3];
  size_t count = sn_wire_encode(message, bytes, sizeof bytes);
  if (count > 0) client->config.send(client->config.context, bytes, count, MQTTSN_TO_EVERYBODY, radius);
}

void sn_on_search(mqttsn_t *client, const message_t *message, uint32_t now) {
  /* Another device asks what this one was about to ask. */
  if (client->searching && message->code == client->search_radius) search_later(client, now);
  if (client->state == MQTTSN_ACTIVE && client->config.gateway_address_bytes > 0 && !client->answers) {
    client->answers = true;
    client->answer_radius = message->code;
    client->answer_due = now + random_part(client);
  }
}

void sn_search_poll(mqttsn_t *client, uint32_t now) {
  if (client->searching && sn_is_due(client->search_due, now)) {
    message_t message = {.type = SEARCHGW};
    message.code = client->search_radius;
    search_later(client, now);
    to_everybody(client, &message, client->search_radius);
  }
  if (client->answers && sn_is_due(client->answer_due, now)) {
    message_t message = {.type = GWINFO};
    message.code = client->config.gateway_id;
    message.rest = client->config.gateway_address;
    message.rest_bytes = client->config.gateway_address_bytes;
    client->answers = false;
    to_everybody(client, &message, client->answer_radius);
  }
  if (client->gateway_advertises && sn_is_due(client->gateway_due, now)) {
    mqttsn_event_t event;
    client->gateway_advertises = false;
    memset(&event, 0, sizeof event);
    event.kind = MQTTSN_EVENT_GATEWAY_GONE;
    event.gateway = client->gateway;
    client->config.on_event(client->config.context, &event);
  }
}

void sn_on_gateway(mqttsn_t *client, const message_t *message, uint32_t now) {
  mqttsn_event_t event;
  client->searching = false;
  if (message->type == GWINFO) client->answers = false; /* somebody was faster */
  if (message->type == ADVERTISE && (!client->gateway_advertises || client->gateway == message->code)) {
    client->gateway = message->code;
    client->gateway_advertises = true;
    client->gateway_due = now + message->duration * UINT32_C(1000) * ADVERTISE_PERIODS;
  }
  memset(&event, 0, sizeof event);
  event.kind = MQTTSN_EVENT_GATEWAY;
  event.gateway = message->code;
  event.address = message->rest_bytes > 0 ? message->rest : NULL;
  event.address_bytes = message->rest_bytes;
  client->config.on_event(client->config.context, &event);
}
