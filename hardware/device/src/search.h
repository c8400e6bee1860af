/* Finding gateways, for the dispatch in client.c. */
#ifndef SEARCH_H
#define SEARCH_H

#include "mqttsn.h"
#include "wire.h"

/* Sends SEARCHGW and GWINFO when they are due, and notices a lost gateway. */
void sn_search_poll(mqttsn_t *client, uint32_t now);

void sn_on_gateway(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_search(mqttsn_t *client, const message_t *message, uint32_t now);

#endif
