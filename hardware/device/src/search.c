/* Finding a gateway, and noticing that it has gone. [MQTT-SN 1.2 §6.1] */
#include <string.h>

#include "client.h"

/* N_ADV: so many periods without ADVERTISE, and it is gone. */
enum { ADVERTISE_PERIODS = 3 };

mqttsn_result_t mqttsn_search(mqttsn_t *client, uint8_t radius, uint32_t now) {
  uint32_t span_ms = client->config.search_seconds * UINT32_C(1000);
  if (client->state != MQTTSN_DISCONNECTED || client->control.kind != CONTROL_NONE) return MQTTSN_WRONG_STATE;
  client->searching = true;
  client->search_radius = radius;
  client->search_due = now + (span_ms == 0 ? 0 : next_random(client) % span_ms);
  return MQTTSN_OK;
}

void search_poll(mqttsn_t *client, uint32_t now) {
  if (client->searching && is_due(client->search_due, now)) {
    uint8_t bytes[3];
    message_t message = {.type = SEARCHGW};
    size_t count;
    message.code = client->search_radius;
    count = wire_encode(&message, bytes, sizeof bytes);
    client->search_due = now + retry_ms(client);
    client->config.send(client->config.context, bytes, count, MQTTSN_TO_EVERYBODY, client->search_radius);
  }
  if (client->gateway_advertises && is_due(client->gateway_due, now)) {
    mqttsn_event_t event;
    client->gateway_advertises = false;
    memset(&event, 0, sizeof event);
    event.kind = MQTTSN_EVENT_GATEWAY_GONE;
    event.gateway = client->gateway;
    client->config.on_event(client->config.context, &event);
  }
}

void on_gateway(mqttsn_t *client, const message_t *message, uint32_t now) {
  mqttsn_event_t event;
  client->searching = false;
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
