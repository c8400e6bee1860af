#include "sensor.h"

#include <string.h>

#include "board.h"

enum { BLINKS = 20, BLINK_MS = 250, LINK_PATIENCE_MS = 60000, FIRST_PAUSE_MS = 5000, PAUSE_DOUBLINGS_MAX = 6 };
/* The gateway waits for a sleeper that comes late. */
enum { SLEEP_ROUNDS = 3 };

static bool is_due(uint32_t due, uint32_t now) { return now - due < UINT32_C(0x80000000); }

static uint32_t interval_ms(const sensor_t *sensor) { return sensor->config.interval_seconds * UINT32_C(1000); }

static void radio(sensor_t *sensor, bool on, uint32_t now) {
  if (sensor->radio == on) return;
  sensor->radio = on;
  sensor->radio_since = now;
  if (!on) sensor->link = false;
  board_radio(on);
}

static void lamp(sensor_t *sensor, bool on) {
  sensor->led = on;
  board_led(on);
}

static bool says(const mqttsn_event_t *event, const char *word) {
  return event->payload_bytes == strlen(word) && memcmp(event->payload, word, event->payload_bytes) == 0;
}

static void on_message(sensor_t *sensor, const mqttsn_event_t *event) {
  size_t bytes = strlen(sensor->led_topic);
  if (event->topic.name_bytes != bytes || memcmp(event->topic.name, sensor->led_topic, bytes) != 0) return;
  sensor->blinks = 0;
  if (says(event, "on")) lamp(sensor, true);
  if (says(event, "off")) lamp(sensor, false);
  if (says(event, "blink")) sensor->blinks = BLINKS; /* `sensor_poll` does the rest */
}

/* Where it matters what time it is, `sensor_poll` looks: an event only notes what has changed. */
static void on_event(void *context, const mqttsn_event_t *event) {
  sensor_t *sensor = context;
  switch (event->kind) {
    case MQTTSN_EVENT_GATEWAY:
      if (sensor->has_gateway) return;
      sensor->has_gateway = true;
      board_gateway_is_sender();
      return;
    case MQTTSN_EVENT_CONNECTED: sensor->failures = 0; return;
    case MQTTSN_EVENT_SUBSCRIBED: sensor->subscribed = true; return;
    case MQTTSN_EVENT_PUBLISHED: sensor->said = true; return;
    case MQTTSN_EVENT_DISCONNECTED:
    case MQTTSN_EVENT_FAILED:
      if (mqttsn_state(&sensor->client) == MQTTSN_DISCONNECTED) sensor->failed = true;
      else sensor->said = true; /* refused: it will not be any better the next time */
      return;
    case MQTTSN_EVENT_MESSAGE: on_message(sensor, event); return;
    default: return;
  }
}

static void send(void *context, const uint8_t *bytes, size_t count, mqttsn_to_t to, uint8_t radius) {
  (void)context;
  (void)radius;
  board_send(bytes, count, to == MQTTSN_TO_EVERYBODY);
}

static void compose(char *to, const char *id, const char *tail) {
  size_t id_bytes = strlen(id);
  if (id_bytes > SENSOR_ID_BYTES_MAX) id_bytes = SENSOR_ID_BYTES_MAX;
  memcpy(to, id, id_bytes);
  memcpy(to + id_bytes, tail, strlen(tail) + 1);
}

void sensor_start(sensor_t *sensor, const sensor_config_t *config, uint32_t now) {
  mqttsn_config_t client = {0};
  memset(sensor, 0, sizeof *sensor);
  sensor->config = *config;
  compose(sensor->temperature_topic, config->id, "/temperature");
  compose(sensor->led_topic, config->id, "/led");
  client.client_id = sensor->config.id;
  client.keep_alive_seconds = config->sleeps ? 60 : (uint16_t)(config->interval_seconds < 1000 ? 1500 : 60);
  client.retry_seconds = config->retry_seconds;
  client.retry_limit = 4;
  client.congestion_seconds = 300;
  client.search_seconds = 5;
  client.seed = config->seed;
  client.context = sensor;
  client.send = send;
  client.on_event = on_event;
  mqttsn_init(&sensor->client, &client, now);
  sensor->has_gateway = !config->searches;
  sensor->reading_due = now;
  sensor->attempt_due = now;
  radio(sensor, true, now);
}

void sensor_link(sensor_t *sensor, bool up, uint32_t now) {
  (void)now;
  sensor->link = up && sensor->radio;
}

void sensor_receive(sensor_t *sensor, const uint8_t *message, size_t bytes, uint32_t now) {
  mqttsn_receive(&sensor->client, message, bytes, now);
}

/* "21.37", "-0.05". At most 7 characters. */
static size_t text_of(int16_t centidegrees, char *text) {
  unsigned magnitude = (unsigned)(centidegrees < 0 ? -(int)centidegrees : (int)centidegrees);
  char reversed[8];
  size_t count = 0;
  size_t at = 0;
  do {
    if (count == 2) reversed[count++] = '.';
    reversed[count++] = (char)('0' + magnitude % 10U);
    magnitude /= 10U;
  } while (magnitude > 0 || count < 4);
  if (centidegrees < 0) text[at++] = '-';
  while (count > 0) text[at++] = reversed[--count];
  return at;
}

static void say(sensor_t *sensor, uint32_t now) {
  mqttsn_topic_t topic = mqttsn_name(sensor->temperature_topic);
  int16_t centidegrees;
  char text[8];
  sensor->reading_due = now + interval_ms(sensor);
  sensor->said = false;
  if (!board_measure(&centidegrees)) sensor->said = true; /* nothing to say in this round */
  else (void)mqttsn_publish(&sensor->client, &topic, 1, false, (const uint8_t *)text, text_of(centidegrees, text), NULL, now);
}

/* What has to be done with a link to the gateway, while no request is open. */
static void next_step(sensor_t *sensor, uint32_t now) {
  mqttsn_topic_t led = mqttsn_name(sensor->led_topic);
  switch (mqttsn_state(&sensor->client)) {
    case MQTTSN_DISCONNECTED:
      if (!is_due(sensor->attempt_due, now)) return;
      if (sensor->has_gateway) (void)mqttsn_connect(&sensor->client, now);
      else if (!sensor->client.searching) (void)mqttsn_search(&sensor->client, 1, now);
      return;
    case MQTTSN_ASLEEP:
      /* Connected again: what waits for the lamp comes behind CONNACK, and the reading goes out. */
      if (is_due(sensor->reading_due, now)) (void)mqttsn_connect(&sensor->client, now);
      return;
    case MQTTSN_ACTIVE:
      if (!sensor->subscribed) (void)mqttsn_subscribe(&sensor->client, &led, 1, NULL, now);
      else if (is_due(sensor->reading_due, now)) say(sensor, now);
      else if (sensor->config.sleeps && sensor->said && sensor->blinks == 0)
        (void)mqttsn_sleep(&sensor->client, (uint16_t)(sensor->config.interval_seconds * SLEEP_ROUNDS), now);
      return;
    default: return;
  }
}

static void blink(sensor_t *sensor, uint32_t now) {
  if (sensor->blinks == 0 || !is_due(sensor->blink_due, now)) return;
  sensor->blinks--;
  sensor->blink_due = now + BLINK_MS;
  lamp(sensor, sensor->blinks > 0 && !sensor->led);
}

/* No gateway, or it will not have us: another attempt, later each time. */
static void pause(sensor_t *sensor, uint32_t now) {
  sensor->failed = false;
  sensor->subscribed = false;
  if (sensor->config.searches) sensor->has_gateway = false; /* another one may be nearer now */
  sensor->attempt_due = now + ((uint32_t)FIRST_PAUSE_MS << sensor->failures);
  if (sensor->failures < PAUSE_DOUBLINGS_MAX) sensor->failures++;
}

/* When the radio is needed again. */
static uint32_t radio_due(const sensor_t *sensor) {
  return mqttsn_state(&sensor->client) == MQTTSN_DISCONNECTED ? sensor->attempt_due : sensor->reading_due;
}

/* No request is open that a new step would disturb. What the loss of the gateway interrupted continues by itself. */
static bool may_step(const sensor_t *sensor) {
  return mqttsn_idle(&sensor->client) || mqttsn_state(&sensor->client) == MQTTSN_DISCONNECTED;
}

static void save_power(sensor_t *sensor, uint32_t now) {
  mqttsn_state_t state = mqttsn_state(&sensor->client);
  bool in_vain = now - sensor->radio_since >= LINK_PATIENCE_MS && (!sensor->link || state == MQTTSN_DISCONNECTED);
  if (state == MQTTSN_ASLEEP && in_vain) {
    sensor->reading_due = now + interval_ms(sensor); /* nobody there: this reading is not worth the cell */
  } else if (state == MQTTSN_DISCONNECTED && in_vain && is_due(sensor->attempt_due, now)) {
    pause(sensor, now);
  }
  if (!is_due(radio_due(sensor), now) && (state == MQTTSN_DISCONNECTED || (state == MQTTSN_ASLEEP && may_step(sensor)))) {
    radio(sensor, false, now);
  }
}

void sensor_poll(sensor_t *sensor, uint32_t now) {
  if (!sensor->radio && is_due(radio_due(sensor), now)) radio(sensor, true, now);
  if (sensor->link) {
    mqttsn_poll(&sensor->client, now);
    if (sensor->failed) pause(sensor, now);
    if (may_step(sensor)) next_step(sensor, now);
  }
  blink(sensor, now);
  if (sensor->config.sleeps && sensor->radio) save_power(sensor, now);
}

static void earlier(uint32_t *wait, uint32_t due, uint32_t now) {
  uint32_t left = is_due(due, now) ? 0 : due - now;
  if (left < *wait) *wait = left;
}

uint32_t sensor_wait(const sensor_t *sensor, uint32_t now) {
  uint32_t wait = UINT32_MAX;
  if (sensor->blinks > 0) earlier(&wait, sensor->blink_due, now);
  if (!sensor->radio) earlier(&wait, radio_due(sensor), now);
  if (sensor->radio && sensor->config.sleeps && !sensor->link) {
    earlier(&wait, sensor->radio_since + LINK_PATIENCE_MS, now);
  }
  if (sensor->link) {
    uint32_t of_client = mqttsn_wait(&sensor->client, now);
    if (of_client < wait) wait = of_client;
    if (may_step(sensor) && !sensor->client.searching) {
      /* Not for an open request: its time is in `of_client`. */
      if (mqttsn_state(&sensor->client) != MQTTSN_DISCONNECTED || sensor->client.control.kind == 0) {
        earlier(&wait, radio_due(sensor), now);
      }
    }
    if (sensor->client.searching) earlier(&wait, sensor->radio_since + LINK_PATIENCE_MS, now);
  }
  return wait;
}
