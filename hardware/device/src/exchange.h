/* The request that is kept (PUBLISH, SUBSCRIBE, UNSUBSCRIBE, will updates), for the dispatch in client.c and for CONNACK. */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "mqttsn.h"
#include "wire.h"

/* The exchange may speak: the client is connected, and nothing stands before it. */
bool sn_exchange_may_run(const mqttsn_t *client);
/* `exchange.due` has come: the message is repeated, or the gateway is given up. */
void sn_exchange_due(mqttsn_t *client, uint32_t now);
/* After CONNACK: a request that the loss of the gateway interrupted continues, or has failed. */
void sn_exchange_resume(mqttsn_t *client, uint32_t now);

void sn_on_regack(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_publish_answer(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_subscribe_answer(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_will_answer(mqttsn_t *client, const message_t *message, uint32_t now);

#endif
