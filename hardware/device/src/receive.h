/* Messages for us, for the dispatch in client.c. */
#ifndef RECEIVE_H
#define RECEIVE_H

#include "mqttsn.h"
#include "wire.h"

void sn_on_publish(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_pubrel(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_register(mqttsn_t *client, const message_t *message, uint32_t now);

#endif
