/* Topic names and the ids that the gateway gave them. An id belongs to one name; a name that made way for another is
 * registered again when it is needed, and a PUBLISH under its old id is answered "invalid topic id", upon which the gateway
 * registers it anew. [MQTT-SN 1.2 §6.5, §6.10] */
#include "topics.h"

#include <string.h>

#include "engine.h"

mqttsn_topic_t mqttsn_name(const char *terminated) {
  mqttsn_topic_t topic = {MQTTSN_TOPIC_NAME, 0, terminated, strlen(terminated)};
  return topic;
}

mqttsn_topic_t mqttsn_predefined(uint16_t id) {
  mqttsn_topic_t topic = {MQTTSN_TOPIC_PREDEFINED, id, NULL, 0};
  return topic;
}

mqttsn_topic_t mqttsn_short(char first, char second) {
  mqttsn_topic_t topic = {MQTTSN_TOPIC_SHORT, 0, NULL, 0};
  topic.id = (uint16_t)((unsigned)(uint8_t)first << 8 | (uint8_t)second);
  return topic;
}

mqttsn_topic_entry_t *sn_topic_entry(mqttsn_t *client, uint8_t place) { return &client->topics[place - 1]; }

static uint8_t by_name(const mqttsn_t *client, const char *name, size_t name_bytes) {
  for (uint8_t i = 0; i < MQTTSN_TOPICS; i++) {
    const mqttsn_topic_entry_t *entry = &client->topics[i];
    if (entry->name_bytes == name_bytes && name_bytes > 0 && memcmp(entry->name, name, name_bytes) == 0) {
      return (uint8_t)(i + 1);
    }
  }
  return 0;
}

uint8_t sn_topic_by_id(const mqttsn_t *client, uint16_t id) {
  for (uint8_t i = 0; i < MQTTSN_TOPICS; i++) {
    if (id != 0 && client->topics[i].id == id) return (uint8_t)(i + 1);
  }
  return 0;
}

uint8_t sn_topic_place(mqttsn_t *client, const char *name, size_t name_bytes) {
  uint8_t place = by_name(client, name, name_bytes);
  mqttsn_topic_entry_t *entry;
  if (place != 0) return place;
  if (name_bytes == 0 || name_bytes > MQTTSN_TOPIC_BYTES) return 0;
  for (unsigned tries = 0; tries <= MQTTSN_TOPICS; tries++) {
    place = (uint8_t)(client->next_topic + 1);
    client->next_topic = (uint8_t)(place % MQTTSN_TOPICS);
    if (client->exchange.kind == EXCHANGE_NONE || client->exchange.topic != place) break;
    place = 0;
  }
  if (place == 0) return 0;
  entry = sn_topic_entry(client, place);
  entry->id = 0;
  entry->name_bytes = (uint8_t)name_bytes;
  memcpy(entry->name, name, name_bytes);
  return place;
}

void sn_topic_learn(mqttsn_t *client, uint8_t place, uint16_t id) {
  uint8_t other = sn_topic_by_id(client, id);
  if (other != 0) sn_topic_entry(client, other)->id = 0;
  sn_topic_entry(client, place)->id = id;
}

void sn_topics_forget(mqttsn_t *client) {
  for (uint8_t i = 0; i < MQTTSN_TOPICS; i++) client->topics[i].id = 0;
}
