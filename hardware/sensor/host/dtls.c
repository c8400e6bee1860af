/*
 * The sensor on a PC, over DTLS: what hardware/esp32-dtls-sensor does, with a made-up thermometer and a lamp of words.
 *
 *   sensor-dtls ID KEY-FILE GATEWAY PORT INTERVAL [sleeps]
 *
 * ID is the identity, too; KEY-FILE holds the key in hexadecimal. GATEWAY: an IPv4 address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../app/board.h"
#include "../app/secure_link.h"
#include "../app/sensor.h"
#include "pc.h"

static sensor_t sensor;

void board_send(const uint8_t *message, size_t bytes, bool to_everybody) {
  if (pc_radio_is_on() && !to_everybody) secure_link_send(message, bytes);
}

void board_gateway_is_sender(void) {}

static void on_message(const uint8_t *message, size_t bytes) {
  if (pc_radio_is_on()) sensor_receive(&sensor, message, bytes, pc_millis());
}

/* The sensor itself continues to try, with growing pauses. */
static void on_change(mqttsn_dtls_result_t result) {
  if (result == MQTTSN_DTLS_OK) printf("secure\n");
  else if (result == MQTTSN_DTLS_WRONG_KEY) printf("the gateway does not know this key\n");
  else printf("not secure: %d\n", result);
}

static int on_random(void *context, unsigned char *to, size_t count) {
  (void)context;
  return getrandom(to, count, 0) == (ssize_t)count ? 0 : -1;
}

int main(int argc, char **argv) {
  char key[130] = "";
  sensor_config_t config = {.retry_seconds = 2};
  secure_link_config_t link = {.key = key, .now = pc_millis, .random = on_random, .on_message = on_message, .on_change = on_change};
  FILE *file = argc > 5 ? fopen(argv[2], "r") : NULL;
  if (file == NULL || fscanf(file, "%129s", key) != 1 || strlen(argv[1]) > SENSOR_ID_BYTES_MAX) {
    fprintf(stderr, "sensor-dtls ID KEY-FILE GATEWAY PORT INTERVAL [sleeps]\n");
    return 2;
  }
  fclose(file);
  setvbuf(stdout, NULL, _IOLBF, 0);
  config.id = link.identity = argv[1];
  link.gateway = argv[3];
  link.port = (uint16_t)atoi(argv[4]);
  config.interval_seconds = (uint16_t)atoi(argv[5]);
  config.sleeps = argc > 6;
  if (on_random(NULL, (unsigned char *)&config.seed, sizeof config.seed) != 0 || !secure_link_open(&link)) return 1;
  sensor_start(&sensor, &config, pc_millis());
  for (;;) {
    uint32_t wait;
    sensor_link(&sensor, pc_radio_is_on(), pc_millis()); /* this radio is on at once */
    sensor_poll(&sensor, pc_millis());
    sensor_link(&sensor, pc_radio_is_on(), pc_millis());
    wait = sensor_wait(&sensor, pc_millis());
    secure_link_wait(wait > 1000 ? 1000 : wait);
  }
}
