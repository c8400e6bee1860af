/*
 * The sensor on a PC, over UDP: what the ESP32 does, with a made-up thermometer and a lamp of words.
 *
 *   sensor-udp ID GATEWAY PORT INTERVAL [sleeps] [searches]
 *
 * GATEWAY: an IPv4 address; with `searches` where SEARCHGW goes (a multicast group or a host).
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../app/board.h"
#include "../app/sensor.h"
#include "pc.h"

static sensor_t sensor;
static int udp;
static struct sockaddr_in gateway;
static struct sockaddr_in everybody;
static struct sockaddr_in sender;

void board_send(const uint8_t *message, size_t bytes, bool to_everybody) {
  const struct sockaddr_in *to = to_everybody ? &everybody : &gateway;
  if (pc_radio_is_on()) (void)sendto(udp, message, bytes, 0, (const struct sockaddr *)to, sizeof *to);
}

void board_gateway_is_sender(void) { gateway = sender; }

static bool has(int argc, char **argv, const char *word) {
  for (int i = 5; i < argc; i++) {
    if (strcmp(argv[i], word) == 0) return true;
  }
  return false;
}

int main(int argc, char **argv) {
  sensor_config_t config = {.retry_seconds = 2};
  if (argc < 5 || strlen(argv[1]) == 0 || strlen(argv[1]) > SENSOR_ID_BYTES_MAX) {
    fprintf(stderr, "sensor-udp ID GATEWAY PORT INTERVAL [sleeps] [searches]\n");
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  everybody.sin_family = AF_INET;
  everybody.sin_port = htons((uint16_t)atoi(argv[3]));
  if (inet_pton(AF_INET, argv[2], &everybody.sin_addr) != 1) return 2;
  if (!has(argc, argv, "searches")) gateway = everybody;
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  if (udp < 0) return 1;
  config.id = argv[1];
  config.interval_seconds = (uint16_t)atoi(argv[4]);
  config.sleeps = has(argc, argv, "sleeps");
  config.searches = has(argc, argv, "searches");
  config.seed = (uint32_t)getpid();
  sensor_start(&sensor, &config, pc_millis());
  for (;;) {
    struct pollfd ready = {.fd = udp, .events = POLLIN};
    uint32_t wait;
    sensor_link(&sensor, pc_radio_is_on(), pc_millis()); /* this radio is on at once */
    sensor_poll(&sensor, pc_millis());
    sensor_link(&sensor, pc_radio_is_on(), pc_millis());
    wait = sensor_wait(&sensor, pc_millis());
    if (poll(&ready, 1, wait > 1000 ? 1000 : (int)wait) > 0) {
      uint8_t datagram[1500];
      socklen_t from_bytes = sizeof sender;
      ssize_t bytes = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *)&sender, &from_bytes);
      if (bytes > 0 && pc_radio_is_on()) sensor_receive(&sensor, datagram, (size_t)bytes, pc_millis());
    }
  }
}
