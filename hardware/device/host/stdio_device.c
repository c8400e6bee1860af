/*
 * The library on standard input and output, for tests in any language: a line in, lines out, nothing by itself. Time is the
 * caller's: every line begins with it, in milliseconds.
 *
 *   0 init barn-7 10 4 300 1      client id, T_retry, N_retry, T_WAIT, seed
 *   0 connect 1 60                clean session, keep alive; then will topic, message, QoS, retain, if there is one
 *   send 0 0 0c0404010...         out: to the gateway (1: to everybody), radius, octets
 *   . 0 0 0 0 10000               out, ends each answer: result, message id, state, idle, milliseconds to wait
 *
 * Texts and payloads are hexadecimal, "-" is an empty one. What follows `event` is in the order of `print_event`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/engine.h"

enum { LINE_MAX = 140000, OCTETS_MAX = 66000, WORDS_MAX = 8, TEXT_MAX = 300 };

static mqttsn_t client;
static mqttsn_config_t config;
static mqttsn_will_t will;
static char client_id[TEXT_MAX];
static char will_topic[TEXT_MAX];
static uint8_t will_payload[TEXT_MAX];
static uint8_t octets[OCTETS_MAX];

static void print_hex(const uint8_t *bytes, size_t count) {
  if (count == 0) (void)putchar('-');
  for (size_t i = 0; i < count; i++) (void)printf("%02x", bytes[i]);
}

static void on_send(void *context, const uint8_t *bytes, size_t count, mqttsn_to_t to, uint8_t radius) {
  (void)context;
  (void)printf("send %d %u ", to == MQTTSN_TO_EVERYBODY, radius);
  print_hex(bytes, count);
  (void)putchar('\n');
}

static void print_event(void *context, const mqttsn_event_t *event) {
  (void)context;
  (void)printf("event %d %u %u %u %d %d %d %u %d %u ", event->kind, event->msg_id, event->return_code, event->qos,
               event->asked, event->retain, event->dup, event->gateway, event->topic.kind, event->topic.id);
  if (event->topic.name == NULL) (void)putchar('-');
  else print_hex((const uint8_t *)event->topic.name, event->topic.name_bytes);
  (void)putchar(' ');
  if (event->kind == MQTTSN_EVENT_GATEWAY) print_hex(event->address, event->address_bytes);
  else print_hex(event->payload, event->payload_bytes);
  (void)putchar('\n');
}

/* Octets of a hexadecimal word; the test that writes an odd one is wrong. */
static size_t from_hex(const char *word, uint8_t *bytes, size_t room) {
  size_t count = 0;
  if (word == NULL || word[0] == '-') return 0;
  for (; word[0] != '\0' && word[1] != '\0'; word += 2) {
    char digits[3] = {word[0], word[1], '\0'};
    if (count == room) exit(2);
    bytes[count++] = (uint8_t)strtoul(digits, NULL, 16);
  }
  return count;
}

static void text_from_hex(const char *word, char *text) {
  size_t count = from_hex(word, (uint8_t *)text, TEXT_MAX - 1);
  text[count] = '\0';
}

static unsigned long number(const char *word) { return word == NULL ? 0 : strtoul(word, NULL, 10); }

/* "name 7465", "short 6162" or "predefined 7" */
static mqttsn_topic_t topic_of(const char *kind, const char *word, char *text) {
  mqttsn_topic_t topic;
  if (kind[0] == 'p') return mqttsn_predefined((uint16_t)number(word));
  text_from_hex(word, text);
  if (kind[0] == 's') return mqttsn_short(text[0], text[1]);
  topic = mqttsn_name(text);
  return topic;
}

static void set_will(char **words) {
  config.will = NULL;
  if (words[0] == NULL) return;
  text_from_hex(words[0], will_topic);
  will.topic = will_topic;
  will.payload = will_payload;
  will.payload_bytes = from_hex(words[1], will_payload, sizeof will_payload);
  will.qos = (uint8_t)number(words[2]);
  will.retain = number(words[3]) != 0;
  config.will = &will;
}

static int obey(uint32_t now, char **words, uint16_t *msg_id) {
  const char *verb = words[0];
  char text[TEXT_MAX];
  mqttsn_topic_t topic;
  if (strcmp(verb, "init") == 0) {
    (void)snprintf(client_id, sizeof client_id, "%s", words[1]);
    memset(&config, 0, sizeof config);
    config.client_id = client_id;
    config.retry_seconds = (uint16_t)number(words[2]);
    config.retry_limit = (uint8_t)number(words[3]);
    config.congestion_seconds = (uint16_t)number(words[4]);
    config.search_seconds = 5;
    config.seed = (uint32_t)number(words[5]);
    config.send = on_send;
    config.on_event = print_event;
    mqttsn_init(&client, &config, now);
    return MQTTSN_OK;
  }
  if (strcmp(verb, "connect") == 0) {
    set_will(words + 3);
    client.config.clean_session = number(words[1]) != 0;
    client.config.keep_alive_seconds = (uint16_t)number(words[2]);
    client.config.will = config.will;
    return mqttsn_connect(&client, now);
  }
  if (strcmp(verb, "receive") == 0) {
    mqttsn_receive(&client, octets, from_hex(words[1], octets, sizeof octets), now);
    return MQTTSN_OK;
  }
  if (strcmp(verb, "poll") == 0) return mqttsn_poll(&client, now), MQTTSN_OK;
  if (strcmp(verb, "disconnect") == 0) return (int)mqttsn_disconnect(&client, now);
  if (strcmp(verb, "sleep") == 0) return (int)mqttsn_sleep(&client, (uint16_t)number(words[1]), now);
  if (strcmp(verb, "wake") == 0) return (int)mqttsn_wake(&client, now);
  if (strcmp(verb, "search") == 0) return (int)mqttsn_search(&client, (uint8_t)number(words[1]), now);
  if (strcmp(verb, "willmessage") == 0) {
    size_t count = from_hex(words[1], octets, sizeof octets);
    return (int)mqttsn_update_will_message(&client, octets, count, msg_id, now);
  }
  if (strcmp(verb, "willtopic") == 0) {
    mqttsn_will_t update = {.topic = text, .qos = (uint8_t)number(words[2]), .retain = number(words[3]) != 0};
    text_from_hex(words[1], text);
    return (int)mqttsn_update_will_topic(&client, text[0] == '\0' ? NULL : &update, msg_id, now);
  }
  topic = topic_of(words[1], words[2], text);
  if (strcmp(verb, "subscribe") == 0) return (int)mqttsn_subscribe(&client, &topic, (uint8_t)number(words[3]), msg_id, now);
  if (strcmp(verb, "unsubscribe") == 0) return (int)mqttsn_unsubscribe(&client, &topic, msg_id, now);
  if (strcmp(verb, "unconnected") == 0) {
    size_t count = from_hex(words[4], octets, sizeof octets);
    return (int)mqttsn_publish_unconnected(&client, &topic, number(words[3]) != 0, octets, count, now);
  }
  if (strcmp(verb, "publish") == 0) {
    size_t count = from_hex(words[5], octets, sizeof octets);
    return (int)mqttsn_publish(&client, &topic, (uint8_t)number(words[3]), number(words[4]) != 0, octets, count, msg_id,
                               now);
  }
  exit(3);
}

int main(void) {
  static char line[LINE_MAX];
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *words[WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    uint16_t msg_id = 0;
    uint32_t now;
    int result;
    for (char *word = strtok(line, " \n"); word != NULL && count < WORDS_MAX; word = strtok(NULL, " \n"))
      words[count++] = word;
    if (count < 2) return 1;
    now = (uint32_t)strtoull(words[0], NULL, 10);
    result = obey(now, words + 1, &msg_id);
    /* A request that the loss of the gateway interrupted waits for the next CONNECT: until then no request is open. */
    (void)printf(". %d %u %d %d %lu\n", result, msg_id, (int)mqttsn_state(&client),
                 mqttsn_idle(&client) || (client.state == MQTTSN_DISCONNECTED && client.control.kind == CONTROL_NONE),
                 (unsigned long)mqttsn_wait(&client, now));
    (void)fflush(stdout);
  }
  return 0;
}
