/*
 * A sensor with a lamp. It publishes the temperature at ID/temperature at regular intervals, and switches the lamp as ID/led says: "on",
 * "off", "blink". Between readings it sleeps with the radio off, if it is configured so; messages for its lamp then arrive when it wakes.
 * It never gives up: without a gateway it tries again, with growing pauses.
 *
 * This is the application of two examples; it uses a network only through board.h.
 */
#ifndef SENSOR_H
#define SENSOR_H

#include "mqttsn.h"

enum { SENSOR_ID_BYTES_MAX = 16 };

typedef struct {
  const char *id;             /* client id and first level of its topics, 1 to 16 characters; must outlive the sensor */
  uint16_t interval_seconds;  /* between readings */
  bool sleeps;                /* radio off in between */
  bool searches;              /* finds its gateway by SEARCHGW; else the board knows it */
  uint16_t retry_seconds;     /* T_retry; 10 */
  uint32_t seed;              /* different in each device */
} sensor_config_t;

typedef struct {
  sensor_config_t config;
  mqttsn_t client;
  char temperature_topic[SENSOR_ID_BYTES_MAX + 13];
  char led_topic[SENSOR_ID_BYTES_MAX + 5];
  bool link;
  bool radio;
  bool has_gateway;
  bool subscribed;
  bool failed;          /* the client has just lost its gateway, or was refused */
  bool said;            /* the reading of this round is at the gateway */
  bool led;
  uint8_t blinks;       /* changes of the lamp that are left */
  uint8_t failures;     /* in a row */
  uint32_t radio_since;
  uint32_t reading_due;
  uint32_t attempt_due; /* no CONNECT before */
  uint32_t blink_due;
} sensor_t;

void sensor_start(sensor_t *sensor, const sensor_config_t *config, uint32_t now);

/* The gateway can be reached, or cannot any more: Wi-Fi has an address; the Bluetooth central has subscribed. */
void sensor_link(sensor_t *sensor, bool up, uint32_t now);

void sensor_receive(sensor_t *sensor, const uint8_t *message, size_t bytes, uint32_t now);

/* To be called after each of the above, and when `sensor_wait` milliseconds have passed. */
void sensor_poll(sensor_t *sensor, uint32_t now);
uint32_t sensor_wait(const sensor_t *sensor, uint32_t now);

#endif
