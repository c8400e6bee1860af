/* CONNECT with its will dialogue, DISCONNECT, sleep, wake and ping: one at a time, repeated T_retry apart N_retry times.
 * [MQTT-SN 1.2 §6.2, §6.11, §6.12, §6.13, §6.14] */
#include "control.h"

#include <string.h>

#include "engine.h"
#include "exchange.h"
#include "topics.h"

/* `control.stage` of a CONNECT */
enum { STAGE_CONNECT, STAGE_WILL_TOPIC, STAGE_WILL_MESSAGE };
enum { PROTOCOL_ID = 1 };

static const uint8_t *octets(const char *text) { return (const uint8_t *)text; }

static void send_control(mqttsn_t *client, uint32_t now) {
  const mqttsn_config_t *config = &client->config;
  const mqttsn_will_t *will = config->will;
  message_t message;
  memset(&message, 0, sizeof message);
  switch (client->control.kind) {
    case CONTROL_CONNECT:
      if (client->control.stage == STAGE_WILL_TOPIC && will != NULL) {
        message.type = WILLTOPIC;
        message.flags = (uint8_t)(will->qos << QOS_SHIFT | (will->retain ? FLAG_RETAIN : 0));
        message.rest = octets(will->topic);
        message.rest_bytes = strlen(will->topic);
      } else if (client->control.stage == STAGE_WILL_MESSAGE && will != NULL) {
        message.type = WILLMSG;
        message.rest = will->payload;
        message.rest_bytes = will->payload_bytes;
      } else {
        message.type = CONNECT;
        message.flags = (uint8_t)((will != NULL ? FLAG_WILL : 0) | (config->clean_session ? FLAG_CLEAN : 0));
        message.code = PROTOCOL_ID;
        message.duration = config->keep_alive_seconds;
        message.rest = octets(config->client_id);
        message.rest_bytes = strlen(config->client_id);
      }
      break;
    case CONTROL_SLEEP:
      message.type = DISCONNECT;
      message.duration = client->control.sleep_seconds;
      break;
    case CONTROL_DISCONNECT:
      message.type = DISCONNECT;
      message.is_short = true;
      break;
    case CONTROL_WAKE:
      message.rest = octets(config->client_id);
      message.rest_bytes = strlen(config->client_id);
      message.type = PINGREQ;
      break;
    default: message.type = PINGREQ; break;
  }
  client->control.due = now + sn_retry_ms(client);
  sn_send_message(client, &message, now);
}

mqttsn_result_t sn_control_start(mqttsn_t *client, uint8_t kind, uint32_t now) {
  client->control.kind = kind;
  client->control.stage = STAGE_CONNECT;
  client->control.tries = 0;
  client->control.paused = false;
  send_control(client, now);
  return MQTTSN_OK;
}

void sn_control_due(mqttsn_t *client, uint32_t now) {
  if (client->control.paused) {
    client->control.paused = false;
    client->control.stage = STAGE_CONNECT;
    client->control.tries = 0;
    send_control(client, now);
  } else if (client->control.tries < client->config.retry_limit) {
    client->control.tries++;
    send_control(client, now);
  } else {
    sn_disconnected(client, client->control.kind == CONTROL_DISCONNECT);
  }
}

/* A request of the application: not while another one is open, but a ping is no request. */
static bool is_free(const mqttsn_t *client) {
  return client->control.kind == CONTROL_NONE || client->control.kind == CONTROL_PING;
}

mqttsn_result_t mqttsn_connect(mqttsn_t *client, uint32_t now) {
  size_t id_bytes = strlen(client->config.client_id);
  const mqttsn_will_t *will = client->config.will;
  if (!is_free(client)) return MQTTSN_BUSY;
  if (id_bytes + 6 > MQTTSN_MESSAGE_BYTES) return MQTTSN_TOO_LONG;
  if (will != NULL && (strlen(will->topic) + 5 > MQTTSN_MESSAGE_BYTES || will->payload_bytes + 4 > MQTTSN_MESSAGE_BYTES))
    return MQTTSN_TOO_LONG;
  client->searching = false;
  return sn_control_start(client, CONTROL_CONNECT, now);
}

mqttsn_result_t mqttsn_disconnect(mqttsn_t *client, uint32_t now) {
  if (client->state == MQTTSN_DISCONNECTED) return MQTTSN_WRONG_STATE;
  if (!mqttsn_idle(client)) return MQTTSN_BUSY;
  return sn_control_start(client, CONTROL_DISCONNECT, now);
}

mqttsn_result_t mqttsn_sleep(mqttsn_t *client, uint16_t seconds, uint32_t now) {
  if (client->state == MQTTSN_DISCONNECTED || seconds == 0) return MQTTSN_WRONG_STATE;
  if (!mqttsn_idle(client)) return MQTTSN_BUSY;
  client->control.sleep_seconds = seconds;
  return sn_control_start(client, CONTROL_SLEEP, now);
}

mqttsn_result_t mqttsn_wake(mqttsn_t *client, uint32_t now) {
  if (client->state != MQTTSN_ASLEEP) return MQTTSN_WRONG_STATE;
  if (!is_free(client)) return MQTTSN_BUSY;
  client->state = MQTTSN_AWAKE;
  return sn_control_start(client, CONTROL_WAKE, now);
}

void sn_on_connack(mqttsn_t *client, const message_t *message, uint32_t now) {
  if (client->control.kind != CONTROL_CONNECT || client->control.paused) return;
  if (message->code == MQTTSN_CONGESTION) {
    client->control.paused = true;
    client->control.due = now + client->config.congestion_seconds * UINT32_C(1000);
    sn_tell(client, MQTTSN_EVENT_CONGESTED);
    return;
  }
  client->control.kind = CONTROL_NONE;
  if (message->code != MQTTSN_ACCEPTED) {
    client->state = MQTTSN_DISCONNECTED;
    sn_fail(client, 0, message->code);
    return;
  }
  /* Another gateway, or this one after a loss of its memory, gives other ids. Out of sleep it is the same session. */
  if (client->state == MQTTSN_DISCONNECTED || client->config.clean_session) sn_topics_forget(client);
  if (client->config.clean_session) memset(client->taken, 0, sizeof client->taken);
  client->state = MQTTSN_ACTIVE;
  sn_exchange_resume(client, now);
  sn_tell(client, MQTTSN_EVENT_CONNECTED);
}

void sn_on_will_request(mqttsn_t *client, const message_t *message, uint32_t now) {
  if (client->control.kind != CONTROL_CONNECT || client->control.paused || client->config.will == NULL) return;
  client->control.stage = message->type == WILLTOPICREQ ? STAGE_WILL_TOPIC : STAGE_WILL_MESSAGE;
  client->control.tries = 0;
  send_control(client, now);
}

void sn_on_pingresp(mqttsn_t *client) {
  if (client->control.kind == CONTROL_PING) {
    client->control.kind = CONTROL_NONE;
  } else if (client->control.kind == CONTROL_WAKE) {
    client->control.kind = CONTROL_NONE;
    client->state = MQTTSN_ASLEEP;
    client->control.late_answers = 0;
    sn_tell(client, MQTTSN_EVENT_DRAINED);
  }
}

void sn_on_disconnect(mqttsn_t *client) {
  switch (client->control.kind) {
    case CONTROL_CONNECT: return; /* to our former self: the CONNECT under way decides */
    case CONTROL_SLEEP:
      client->control.kind = CONTROL_NONE;
      client->state = MQTTSN_ASLEEP;
      client->control.late_answers = client->control.tries;
      sn_tell(client, MQTTSN_EVENT_ASLEEP);
      return;
    case CONTROL_DISCONNECT: sn_disconnected(client, true); return;
    default:
      /* Each copy of the request to sleep is answered. */
      if ((client->state == MQTTSN_ASLEEP || client->state == MQTTSN_AWAKE) && client->control.late_answers > 0) {
        client->control.late_answers--;
        return;
      }
      if (client->state != MQTTSN_DISCONNECTED) sn_disconnected(client, false);
      return;
  }
}
