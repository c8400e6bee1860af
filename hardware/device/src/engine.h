/* What every procedure stands on. `mqttsn_idle`, which procedures ask too, is in engine.c and declared in mqttsn.h. */
#ifndef ENGINE_H
#define ENGINE_H

#include "mqttsn.h"
#include "wire.h"

/* `control.kind` */
enum { CONTROL_NONE, CONTROL_CONNECT, CONTROL_DISCONNECT, CONTROL_SLEEP, CONTROL_WAKE, CONTROL_PING };
/* `exchange.kind` */
enum { EXCHANGE_NONE, EXCHANGE_PUBLISH, EXCHANGE_SUBSCRIBE, EXCHANGE_UNSUBSCRIBE, EXCHANGE_WILL_TOPIC, EXCHANGE_WILL_MESSAGE };

/* `due` is now or has passed; right across the clock's wrap-around, for waits of up to 24 days. */
bool sn_is_due(uint32_t due, uint32_t now);
/* T_retry. */
uint32_t sn_retry_ms(const mqttsn_t *client);
uint32_t sn_next_random(mqttsn_t *client);
/* 1 to 65535, in turn. */
uint16_t sn_next_msg_id(mqttsn_t *client);

/* To the gateway. The keep-alive counts from here. */
void sn_send_bytes(mqttsn_t *client, const uint8_t *bytes, size_t count, uint32_t now);
/* A message that does not fit is not sent: who makes one has looked at its size before. */
void sn_send_message(mqttsn_t *client, const message_t *message, uint32_t now);

/* To the application: an event of which there is no more to say than its kind. */
void sn_tell(mqttsn_t *client, mqttsn_event_kind_t kind);
/* MQTTSN_EVENT_FAILED. */
void sn_fail(mqttsn_t *client, uint16_t msg_id, uint8_t return_code);
/* The gateway is lost, or sent DISCONNECT: an open request waits for the next CONNECT. */
void sn_disconnected(mqttsn_t *client, bool asked);

#endif
