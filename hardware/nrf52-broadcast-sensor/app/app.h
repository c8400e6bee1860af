/* The application: measures, and says what has changed, or that it is still there. */
#ifndef APP_H
#define APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broadcast.h"

typedef struct {
  broadcast_sender_t sender;
  uint16_t measure_seconds;   /* between two measurements */
  uint16_t heartbeat_seconds; /* said at least so often, changed or not */
  uint16_t step_centidegrees; /* said when it differs so much from what was said last */
  uint16_t advertise_seconds; /* each reading for so long; less than measure_seconds. The profile asks for 4 */
  uint16_t interval_ms;       /* between two advertisements of it, 100 to 1000 */
} app_config_t;

typedef struct {
  app_config_t config;
  broadcast_counter_t counter; /* with a key */
  uint16_t plain_counter;      /* without */
  bool said;                   /* something was said since the start */
  int16_t said_centidegrees;
  uint32_t silent_seconds;
} app_t;

/* `config` is copied; the key it points to is not. */
void app_start(app_t *app, const app_config_t *config);

/* One measurement, what is to be said of it, and the sleep until the next one. */
void app_round(app_t *app);

/* "21.37,2.98": degrees and volts. Returns its length, at most 11. */
size_t app_text(int16_t centidegrees, uint16_t millivolts, char text[16]);

#endif
