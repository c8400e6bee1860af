/*
 * The sensor on a PC, as the nRF52 has it: its messages are a stream of octets that comes and goes with a Bluetooth link. The
 * link is whoever started this program: lines on standard input
 *
 *   up MTU | down | in HEX
 *
 * and on standard output
 *
 *   out HEX | radio on | radio off | led on | led off
 *
 *   sensor-ble ID INTERVAL [sleeps]
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../app/board.h"
#include "../app/sensor.h"
#include "pc.h"
#include "mqttsn_framing.h"

enum { MTU_MIN = 23, MTU_HEAD = 3 };

static sensor_t sensor;
static size_t piece_bytes_max = MTU_MIN - MTU_HEAD;
static mqttsn_framing_t framing;
static uint8_t assembly[1024];

/* A message in notifications of at most MTU - 3 octets. */
void board_send(const uint8_t *message, size_t bytes, bool to_everybody) {
  (void)to_everybody;
  for (size_t at = 0; at < bytes; at += piece_bytes_max) {
    size_t piece = bytes - at < piece_bytes_max ? bytes - at : piece_bytes_max;
    printf("out ");
    for (size_t i = 0; i < piece; i++) printf("%02x", message[at + i]);
    printf("\n");
  }
}

void board_gateway_is_sender(void) {}

static void on_message(void *context, const uint8_t *message, size_t bytes) {
  (void)context;
  sensor_receive(&sensor, message, bytes, pc_millis());
}

static void on_line(char *line) {
  uint32_t now = pc_millis();
  if (strncmp(line, "up ", 3) == 0) {
    int mtu = atoi(line + 3);
    piece_bytes_max = (size_t)(mtu < MTU_MIN ? MTU_MIN : mtu) - MTU_HEAD;
    mqttsn_framing_reset(&framing); /* a link begins at the head of a message */
    sensor_link(&sensor, true, now);
  } else if (strcmp(line, "down") == 0) {
    sensor_link(&sensor, false, now);
  } else if (strncmp(line, "in ", 3) == 0) {
    uint8_t bytes[600];
    size_t count = 0;
    unsigned octet;
    for (const char *at = line + 3; count < sizeof bytes && sscanf(at, "%2x", &octet) == 1; at += 2) {
      bytes[count++] = (uint8_t)octet;
    }
    mqttsn_framing_take(&framing, bytes, count, now, on_message, NULL);
  }
}

int main(int argc, char **argv) {
  sensor_config_t config = {.retry_seconds = 2};
  char text[4096];
  size_t count = 0;
  if (argc < 3 || strlen(argv[1]) == 0 || strlen(argv[1]) > SENSOR_ID_BYTES_MAX) {
    fprintf(stderr, "sensor-ble ID INTERVAL [sleeps]\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  config.id = argv[1];
  config.interval_seconds = (uint16_t)atoi(argv[2]);
  config.sleeps = argc > 3 && strcmp(argv[3], "sleeps") == 0;
  config.seed = (uint32_t)getpid();
  mqttsn_framing_init(&framing, assembly, sizeof assembly, 8000);
  sensor_start(&sensor, &config, pc_millis());
  for (;;) {
    struct pollfd ready = {.fd = 0, .events = POLLIN};
    uint32_t wait = sensor_wait(&sensor, pc_millis());
    if (poll(&ready, 1, wait > 1000 ? 1000 : (int)wait) > 0) {
      ssize_t bytes = read(0, text + count, sizeof text - 1 - count);
      char *end;
      if (bytes <= 0) return 0;
      count += (size_t)bytes;
      text[count] = '\0';
      while ((end = strchr(text, '\n')) != NULL) {
        *end = '\0';
        on_line(text);
        count -= (size_t)(end + 1 - text);
        memmove(text, end + 1, count + 1);
        sensor_poll(&sensor, pc_millis());
      }
      if (count == sizeof text - 1) count = 0; /* no line is that long */
    }
    sensor_poll(&sensor, pc_millis());
  }
}
