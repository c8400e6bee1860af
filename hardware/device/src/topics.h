/* The table of topic names and ids. A place in it is 1 + its index; 0: not there. */
#ifndef TOPICS_H
#define TOPICS_H

#include "mqttsn.h"

uint8_t sn_topic_by_id(const mqttsn_t *client, uint16_t id);
/* Finds or makes room; the one that an exchange needs stays. */
uint8_t sn_topic_place(mqttsn_t *client, const char *name, size_t name_bytes);
void sn_topic_learn(mqttsn_t *client, uint8_t place, uint16_t id);
void sn_topics_forget(mqttsn_t *client);
mqttsn_topic_entry_t *sn_topic_entry(mqttsn_t *client, uint8_t place);

#endif
