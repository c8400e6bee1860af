/* The client as a whole: what came is handed to its procedure, what is due is done. Nothing of the library uses this file. */
#include <string.h>

#include "control.h"
#include "engine.h"
#include "exchange.h"
#include "mqttsn.h"
#include "receive.h"
#include "search.h"
#include "wire.h"

void mqttsn_init(mqttsn_t *client, const mqttsn_config_t *config, uint32_t now) {
  memset(client, 0, sizeof *client);
  client->config = *config;
  client->random = config->seed * UINT32_C(2654435761) + 1;
  if (client->random == 0) client->random = 1;
  sn_next_random(client);
  /* A gateway may remember a QoS 2 message of the time before a restart under a MsgId near zero. */
  client->last_msg_id = (uint16_t)sn_next_random(client);
  client->sent_at = now;
}

mqttsn_state_t mqttsn_state(const mqttsn_t *client) { return client->state; }

void mqttsn_receive(mqttsn_t *client, const uint8_t *bytes, size_t count, uint32_t now) {
  message_t message;
  if (!sn_wire_decode(bytes, count, &message)) return;
  if (client->control.kind == CONTROL_WAKE && message.type != PINGRESP) {
    client->control.due = now + sn_retry_ms(client); /* the gateway is at work [§6.14] */
    client->control.tries = 0;
  }
  switch (message.type) {
    case ADVERTISE:
    case GWINFO: sn_on_gateway(client, &message, now); return;
    case SEARCHGW: sn_on_search(client, &message, now); return;
    case CONNACK: sn_on_connack(client, &message, now); return;
    case WILLTOPICREQ:
    case WILLMSGREQ: sn_on_will_request(client, &message, now); return;
    case DISCONNECT: sn_on_disconnect(client); return;
    case PINGRESP: sn_on_pingresp(client); return;
    default: break;
  }
  /* Before CONNACK, messages belong to the device's earlier connection, whose topic ids and exchanges it may have forgotten. */
  if (client->state == MQTTSN_DISCONNECTED) return;
  switch (message.type) {
    case REGISTER: sn_on_register(client, &message, now); return;
    case REGACK: sn_on_regack(client, &message, now); return;
    case PUBLISH: sn_on_publish(client, &message, now); return;
    case PUBREL: sn_on_pubrel(client, &message, now); return;
    case PUBACK:
    case PUBREC:
    case PUBCOMP: sn_on_publish_answer(client, &message, now); return;
    case SUBACK:
    case UNSUBACK: sn_on_subscribe_answer(client, &message, now); return;
    case WILLTOPICRESP:
    case WILLMSGRESP: sn_on_will_answer(client, &message, now); return;
    case PINGREQ: {
      message_t answer = {.type = PINGRESP};
      sn_send_message(client, &answer, now);
      return;
    }
    default: return;
  }
}

/* Silence after which the gateway is asked whether it is there, well before it misses us. [§6.11] */
static uint32_t ping_due(const mqttsn_t *client) {
  return client->sent_at + client->config.keep_alive_seconds * UINT32_C(900);
}

static bool pings(const mqttsn_t *client) {
  return client->state == MQTTSN_ACTIVE && client->config.keep_alive_seconds > 0 && client->control.kind == CONTROL_NONE;
}

void mqttsn_poll(mqttsn_t *client, uint32_t now) {
  if (client->control.kind != CONTROL_NONE && sn_is_due(client->control.due, now)) sn_control_due(client, now);
  if (sn_exchange_may_run(client) && sn_is_due(client->exchange.due, now)) sn_exchange_due(client, now);
  if (pings(client) && sn_is_due(ping_due(client), now)) (void)sn_control_start(client, CONTROL_PING, now);
  sn_search_poll(client, now);
}

static void earlier(uint32_t *wait, uint32_t due, uint32_t now) {
  uint32_t left = sn_is_due(due, now) ? 0 : due - now;
  if (left < *wait) *wait = left;
}

uint32_t mqttsn_wait(const mqttsn_t *client, uint32_t now) {
  uint32_t wait = UINT32_MAX;
  if (client->control.kind != CONTROL_NONE) earlier(&wait, client->control.due, now);
  if (sn_exchange_may_run(client)) earlier(&wait, client->exchange.due, now);
  if (pings(client)) earlier(&wait, ping_due(client), now);
  if (client->searching) earlier(&wait, client->search_due, now);
  if (client->answers) earlier(&wait, client->answer_due, now);
  if (client->gateway_advertises) earlier(&wait, client->gateway_due, now);
  return wait;
}
