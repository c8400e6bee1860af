#include "app.h"

#include "board.h"

void app_start(app_t *app, const app_config_t *config) {
  app->config = *config;
  app->said = false;
  app->said_centidegrees = 0;
  app->silent_seconds = 0;
  app->plain_counter = board_dice();
  board_address(app->config.sender.address);
  broadcast_counter_start(&app->counter, board_kept());
}

static size_t digits(uint32_t number, unsigned places, char *to) {
  char reversed[10];
  size_t count = 0;
  do {
    reversed[count++] = (char)('0' + number % 10U);
    number /= 10U;
  } while (number > 0 || count < places);
  for (size_t i = 0; i < count; i++) to[i] = reversed[count - 1 - i];
  return count;
}

size_t app_text(int16_t centidegrees, uint16_t millivolts, char text[16]) {
  uint32_t magnitude = (uint32_t)(centidegrees < 0 ? -(int32_t)centidegrees : centidegrees);
  uint32_t centivolts = (millivolts > 9994U ? 9994U : millivolts) + 5U;
  size_t at = 0;
  centivolts /= 10U;
  if (centidegrees < 0) text[at++] = '-';
  at += digits(magnitude / 100U, 1, text + at);
  text[at++] = '.';
  at += digits(magnitude % 100U, 2, text + at);
  text[at++] = ',';
  at += digits(centivolts / 100U, 1, text + at);
  text[at++] = '.';
  return at + digits(centivolts % 100U, 2, text + at);
}

/* The number of this reading; false when there is none that may be used. */
static bool next_counter(app_t *app, uint32_t *counter) {
  uint32_t store;
  if (app->config.sender.key == NULL) {
    *counter = app->plain_counter++;
    return true;
  }
  if (broadcast_counter_must_store(&app->counter, &store) && board_keep(store)) {
    broadcast_counter_stored(&app->counter, store);
  }
  *counter = broadcast_counter_take(&app->counter);
  return *counter != 0;
}

static bool worth_saying(const app_t *app, int16_t centidegrees) {
  int32_t change = (int32_t)centidegrees - app->said_centidegrees;
  if (!app->said || app->silent_seconds >= app->config.heartbeat_seconds) return true;
  return (change < 0 ? -change : change) >= app->config.step_centidegrees;
}

/* True: it is being sent. */
static bool say(app_t *app, const measurement_t *measurement) {
  uint8_t advertisement[BROADCAST_ADVERTISEMENT_BYTES];
  char text[16];
  size_t bytes;
  uint32_t counter;
  size_t text_bytes = app_text(measurement->centidegrees, measurement->millivolts, text);
  if (!next_counter(app, &counter)) return false;
  bytes = broadcast_encode(&app->config.sender, counter, (const uint8_t *)text, text_bytes, advertisement);
  if (bytes == 0) return false;
  board_advertise(advertisement, bytes, app->config.interval_ms);
  app->said = true;
  app->said_centidegrees = measurement->centidegrees;
  app->silent_seconds = 0;
  return true;
}

void app_round(app_t *app) {
  const app_config_t *config = &app->config;
  uint32_t rest_seconds = config->measure_seconds;
  measurement_t measurement;
  if (board_measure(&measurement) && worth_saying(app, measurement.centidegrees) && say(app, &measurement)) {
    board_sleep(config->advertise_seconds * 1000U);
    board_quiet();
    rest_seconds -= config->advertise_seconds;
  }
  app->silent_seconds += config->measure_seconds;
  board_sleep(rest_seconds * 1000U);
}
