/* CONNECT, DISCONNECT, sleep, wake and ping, for the dispatch in client.c. */
#ifndef CONTROL_H
#define CONTROL_H

#include "mqttsn.h"
#include "wire.h"

/* Sends the first message of this kind; an earlier one is forgotten. */
mqttsn_result_t sn_control_start(mqttsn_t *client, uint8_t kind, uint32_t now);
/* `control.due` has come: the message is repeated, or the gateway is given up. */
void sn_control_due(mqttsn_t *client, uint32_t now);

void sn_on_connack(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_will_request(mqttsn_t *client, const message_t *message, uint32_t now);
void sn_on_pingresp(mqttsn_t *client);
void sn_on_disconnect(mqttsn_t *client);

#endif
