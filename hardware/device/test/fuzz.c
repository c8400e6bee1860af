/*
 * Fuzzing: a client that is given anything, at any time, in any order. Two kinds of driver: libFuzzer's entry, and a main
 * of ours that mutates what a gateway would send (fuzz SEED RUNS). The sanitizers look for wrong steps; what is asserted:
 *
 *   - every octet that leaves is one whole message of 1.2, of a kind that clients send
 *   - a client that is left alone always comes to rest or says when it wants to be called, and never busies itself
 *   - no QoS 2 message is delivered between its first copy and its PUBREL twice
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqttsn.h"
#include "mqttsn_framing.h"
#include "wire.h"

enum { INPUT_MAX = 512, POLLS_MAX = 64 };

static mqttsn_t client;
static uint8_t open_ids[65536 / 8]; /* QoS 2 MsgIds that were delivered and not released */
static uint32_t open_contents[65536]; /* what was delivered under them last */
static unsigned sent_now;
static uint16_t receiving; /* MsgId of the QoS 2 PUBLISH that is given in; 0: none */

static void check(int holds, const char *what) {
  if (holds) return;
  (void)fprintf(stderr, "broken: %s\n", what);
  abort();
}

static void on_send(void *context, const uint8_t *bytes, size_t count, mqttsn_to_t to, uint8_t radius) {
  message_t message;
  (void)context;
  (void)radius;
  check(sn_wire_decode(bytes, count, &message), "what is sent is one whole message");
  check(message.type != CONNACK && message.type != SUBACK && message.type != ADVERTISE, "clients do not send that");
  check((to == MQTTSN_TO_EVERYBODY) == (message.type == SEARCHGW || message.type == GWINFO), "who it is for");
  check(++sent_now < 16, "one cause, few messages");
}

static uint32_t contents_of(const mqttsn_event_t *event) {
  uint32_t hash = event->topic.id;
  for (size_t i = 0; i < event->payload_bytes; i++) hash = hash * UINT32_C(31) + event->payload[i];
  return hash;
}

static void on_event(void *context, const mqttsn_event_t *event) {
  (void)context;
  if (event->kind != MQTTSN_EVENT_MESSAGE || event->qos != 2) return;
  check(receiving != 0, "a message comes of a PUBLISH");
  check((open_ids[receiving / 8] & 1 << receiving % 8) == 0 || open_contents[receiving] != contents_of(event),
        "QoS 2 once");
  open_contents[receiving] = contents_of(event);
  open_ids[receiving / 8] |= (uint8_t)(1 << receiving % 8);
}

static void receive(const uint8_t *bytes, size_t count, uint32_t now) {
  uint8_t *exact = malloc(count > 0 ? count : 1);
  message_t message;
  if (exact == NULL) abort();
  if (count > 0) memcpy(exact, bytes, count);
  receiving = 0;
  if (sn_wire_decode(exact, count, &message)) {
    if (message.type == PUBLISH && (message.flags & FLAG_QOS) == 0x40) receiving = message.msg_id;
    if (message.type == PUBREL && client.state != MQTTSN_DISCONNECTED)
      open_ids[message.msg_id / 8] &= (uint8_t)~(1 << message.msg_id % 8);
    if (message.type == CONNACK && client.config.clean_session) memset(open_ids, 0, sizeof open_ids);
  }
  mqttsn_receive(&client, exact, count, now);
  free(exact);
}

/* With the MsgId that is waited for, which no input can guess. */
static void receive_as_answer(const uint8_t *bytes, size_t count, uint32_t now) {
  message_t message;
  uint8_t answer[INPUT_MAX];
  if (!sn_wire_decode(bytes, count, &message)) return;
  message.msg_id = client.exchange.stage == 1 ? client.exchange.register_id : client.exchange.msg_id;
  receive(answer, sn_wire_encode(&message, answer, sizeof answer), now);
}

static void on_framed(void *context, const uint8_t *message, size_t message_bytes) {
  sent_now = 0;
  receive(message, message_bytes, *(const uint32_t *)context);
}

/* The input is a script: an octet that says what, one for how much, and what belongs to it. */
static void run(const uint8_t *input, size_t count) {
  static const mqttsn_will_t will = {"w", (const uint8_t *)"gone", 4, 1, true};
  static uint8_t part[MQTTSN_MESSAGE_BYTES];
  mqttsn_config_t config;
  mqttsn_framing_t framing;
  uint32_t now = 0xfffff000; /* the clock wraps round soon */
  memset(&config, 0, sizeof config);
  memset(open_ids, 0, sizeof open_ids);
  config.client_id = "fuzz";
  config.retry_seconds = 10;
  config.retry_limit = 3;
  config.congestion_seconds = 30;
  config.search_seconds = 5;
  config.keep_alive_seconds = 60;
  config.seed = count > 0 ? input[0] : 0;
  config.clean_session = config.seed % 2 == 1;
  config.will = config.seed % 4 > 1 ? &will : NULL;
  config.send = on_send;
  config.on_event = on_event;
  mqttsn_init(&client, &config, now);
  mqttsn_framing_init(&framing, part, sizeof part, 2000);
  for (size_t at = 1; at + 1 < count;) {
    uint8_t what = input[at] % 16;
    size_t much = input[at + 1];
    mqttsn_topic_t topic;
    char name[3] = {'t', (char)('a' + much % 12), '\0'};
    at += 2;
    sent_now = 0;
    if (much > count - at) much = count - at;
    topic = what % 2 == 0 ? mqttsn_name(name) : mqttsn_predefined((uint16_t)much);
    switch (what) {
      case 0: (void)mqttsn_connect(&client, now); break;
      case 1: (void)mqttsn_disconnect(&client, now); break;
      case 2: (void)mqttsn_sleep(&client, (uint16_t)much, now); break;
      case 3: (void)mqttsn_wake(&client, now); break;
      case 4:
      case 5: (void)mqttsn_publish(&client, &topic, (uint8_t)(much % 3), false, input + at, much, NULL, now); break;
      case 6:
      case 7: (void)mqttsn_subscribe(&client, &topic, (uint8_t)(much % 3), NULL, now); break;
      case 8: (void)mqttsn_unsubscribe(&client, &topic, NULL, now); break;
      case 9: (void)mqttsn_publish_unconnected(&client, &topic, false, input + at, much, now); break;
      case 10: (void)mqttsn_search(&client, (uint8_t)much, now); break;
      case 11: (void)mqttsn_update_will_message(&client, input + at, much, NULL, now); break;
      case 12: mqttsn_framing_take(&framing, input + at, much, now, on_framed, &now); break;
      case 13:
        now += (uint32_t)much * 97;
        mqttsn_poll(&client, now);
        break;
      case 14: receive_as_answer(input + at, much, now); break;
      default: receive(input + at, much, now); break;
    }
    if (what >= 11 && what != 13) at += much;
  }
  /* Left alone. */
  for (unsigned polls = 0; polls < POLLS_MAX; polls++) {
    uint32_t wait = mqttsn_wait(&client, now);
    if (wait == UINT32_MAX) return;
    check(wait > 0 || polls == 0, "after a poll there is time");
    now += wait;
    sent_now = 0;
    mqttsn_poll(&client, now);
  }
  check(client.searching, "only who searches goes on for ever");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  run(data, size);
  return 0;
}

#ifndef MQTTSN_LIBFUZZER
static uint32_t dice = 1;

static uint32_t roll(uint32_t below) {
  dice ^= dice << 13;
  dice ^= dice >> 17;
  dice ^= dice << 5;
  return dice % below;
}

/* What a gateway might say. */
static size_t plausible(uint8_t *to) {
  static const uint8_t types[] = {CONNACK, WILLTOPICREQ, WILLMSGREQ, REGISTER, REGACK, PUBLISH, PUBACK, PUBREC, PUBREL,
                                  PUBCOMP, SUBACK, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, WILLTOPICRESP, WILLMSGRESP,
                                  ADVERTISE, GWINFO, SEARCHGW};
  message_t message;
  memset(&message, 0, sizeof message);
  message.type = types[roll(sizeof types)];
  message.code = (uint8_t)(roll(3) > 0 ? 0 : roll(5));
  message.topic_id = (uint16_t)(1 + roll(6));
  message.msg_id = (uint16_t)roll(6);
  message.flags = (uint8_t)roll(256);
  if (message.type == PUBLISH && roll(2) == 0) message.flags = (uint8_t)(0x40 | (roll(2) << 7));
  message.is_short = roll(2) == 0;
  message.rest = (const uint8_t *)"tatbtc";
  message.rest_bytes = roll(7);
  return sn_wire_encode(&message, to, 64);
}

int main(int count, char **arguments) {
  unsigned long seed = count > 1 ? strtoul(arguments[1], NULL, 10) : 1;
  unsigned long runs = count > 2 ? strtoul(arguments[2], NULL, 10) : 10000;
  for (unsigned long i = 0; i < runs; i++) {
    uint8_t input[INPUT_MAX];
    size_t at = 1;
    dice = (uint32_t)(seed * 1000003 + i) | 1;
    for (int warm = 0; warm < 8; warm++) (void)roll(2);
    input[0] = (uint8_t)roll(256);
    while (at + 80 < INPUT_MAX && roll(60) > 0) {
      uint32_t kind = roll(10);
      if (kind < 3) {
        input[at++] = (uint8_t)roll(14);
        input[at++] = (uint8_t)roll(256);
      } else {
        size_t bytes = plausible(input + at + 2);
        input[at] = (uint8_t)(14 + roll(2));
        if (roll(8) == 0) input[at + 2 + roll((uint32_t)bytes + 1)] ^= (uint8_t)(1 << roll(8));
        if (roll(20) == 0 && bytes > 0) bytes--;
        input[at + 1] = (uint8_t)bytes;
        at += 2 + bytes;
      }
    }
    (void)LLVMFuzzerTestOneInput(input, at);
  }
  (void)printf("%lu runs\n", runs);
  return 0;
}
#endif
