/* What the procedures share. control.c: set-up, sleep, ping; exchange.c: the request that is
 * kept; receive.c: messages for us; search.c: gateways; topics and the codec beside. */
#ifndef CLIENT_H
#define CLIENT_H

#include "mqttsn.h"
#include "wire.h"

/* `control.kind` */
enum { CONTROL_NONE, CONTROL_CONNECT, CONTROL_DISCONNECT, CONTROL_SLEEP, CONTROL_WAKE, CONTROL_PING };
/* `exchange.kind` */
enum { EXCHANGE_NONE, EXCHANGE_PUBLISH, EXCHANGE_SUBSCRIBE, EXCHANGE_UNSUBSCRIBE, EXCHANGE_WILL_TOPIC, EXCHANGE_WILL_MESSAGE };

/* client.c */
bool sn_is_due(uint32_t due, uint32_t now);
uint32_t sn_retry_ms(const mqttsn_t *client);
void sn_send_message(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_send_bytes(mqttsn_t *client, const uint8_t *bytes, size_t count, uint32_t now);
void sn_tell(mqttsn_t *client, mqttsn_event_kind_t kind);
void sn_fail(mqttsn_t *client, uint16_t msg_id, uint8_t return_code);
uint16_t sn_next_msg_id(mqttsn_t *client);
uint32_t sn_next_random(mqttsn_t *client);
/* The gateway is lost, or said goodbye: what is under way waits for the next CONNECT. */
void sn_disconnected(mqttsn_t *client, bool asked);

/* control.c */
mqttsn_result_t sn_control_start(mqttsn_t *client, uint8_t kind, uint32_t now);
void sn_control_due(mqttsn_t *client, uint32_t now);
void sn_on_connack(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_will_request(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_pingresp(mqttsn_t *client);
void sn_on_disconnect(mqttsn_t *client);

/* exchange.c */
/* The exchange may speak: the client is connected, and nothing stands before it. */
bool sn_exchange_may_run(const mqttsn_t *client);
void sn_exchange_due(mqttsn_t *client, uint32_t now);
void sn_exchange_resume(mqttsn_t *client, uint32_t now);
void sn_on_regack(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_publish_answer(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_subscribe_answer(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_will_answer(mqttsn_t *client, const message_t *message, uint32_t now);

/* receive.c */
void sn_on_publish(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_pubrel(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_register(mqttsn_t *client, const message_t *message, uint32_t now);

/* search.c */
void sn_on_gateway(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_search(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_search_poll(mqttsn_t *client, uint32_t now);

/* topics.c: 1 + place in the table, 0 = not there */
uint8_t sn_topic_by_id(const mqttsn_t *client, uint16_t id);
/* Finds or makes room; the one that an exchange needs stays. */
uint8_t sn_topic_place(mqttsn_t *client, const char *name, size_t name_bytes);
void sn_topic_learn(mqttsn_t *client, uint8_t place, uint16_t id);
void sn_topics_forget(mqttsn_t *client);
mqttsn_topic_entry_t *sn_topic_entry(mqttsn_t *client, uint8_t place);

#endif
