/*
 * The remote radio as a program: a controller behind a Unix socket, the gateway by UDP or at the other end of a serial line.
 *
 *   radio SOCKET GATEWAY PORT      by UDP
 *   radio SOCKET LINE              a serial line, raw
 *
 * SIGUSR1: it says its counts. SIGTERM ends it. It ends by itself, with 1, when the controller or the line is gone.
 */
#define _DEFAULT_SOURCE
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "central.h"
#include "controller.h"
#include "radio.h"
#include "signals.h"
#include "stream.h"

static radio_t radio;
static struct stream stream;
static int gateway = -1;
static bool is_line;
static uint32_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

/* A line that is full, or a gateway that is away: lost, and repeated by the device. */
static void up(void *context, const uint8_t *encapsulated, size_t bytes) {
  (void)context;
  if (write(gateway, encapsulated, bytes) < 0) return;
}

static void on_piece(void *context, const uint8_t *piece, size_t length) {
  (void)context;
  radio_from_gateway(&radio, piece, length, now_ms());
}

/* False: the line is gone. A gateway by UDP that is away may come back. */
static bool read_gateway(void) {
  uint8_t octets[STREAM_PIECE_MAX + 1];
  ssize_t got = read(gateway, octets, sizeof octets);
  if (got < 0 || (got == 0 && !is_line)) return !is_line;
  if (got == 0) return false;
  if (is_line) stream_take(&stream, octets, (size_t)got, now_ms(), 200, on_piece, NULL);
  else radio_from_gateway(&radio, octets, (size_t)got, now_ms());
  return true;
}

static int open_udp(const char *host, const char *port) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found = NULL;
  int fd = -1;
  if (getaddrinfo(host, port, &hints, &found) != 0) return -1;
  fd = socket(found->ai_family, SOCK_DGRAM, 0);
  if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) fd = -1;
  freeaddrinfo(found);
  return fd;
}

static int open_line(const char *path) {
  struct termios line;
  int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
  if (fd < 0 || tcgetattr(fd, &line) != 0) return -1;
  cfmakeraw(&line);
  return tcsetattr(fd, TCSANOW, &line) == 0 ? fd : -1;
}

static void report(void) {
  const radio_counts_t *n = &radio.counts;
  fprintf(stderr, "up %u, down %u; held %u, expired %u, no room %u, too long %u, not ours %u, nested %u; links %u, failed %u, turns %u; noise %u octets\n",
          n->up, n->down, n->held, n->expired, n->no_room, n->too_long, n->not_ours, n->nested, n->links, n->failed,
          n->turns, n->discarded);
}

int main(int count, char **words) {
  radio_config_t config;
  int controller;
  if (count != 3 && count != 4) {
    fprintf(stderr, "usage: radio SOCKET GATEWAY PORT | radio SOCKET LINE\n");
    return 2;
  }
  signals_catch();
  is_line = count == 3;
  gateway = is_line ? open_line(words[2]) : open_udp(words[2], words[3]);
  controller = controller_open(words[1]);
  if (gateway < 0 || controller < 0) {
    fprintf(stderr, "%s: cannot be opened\n", gateway < 0 ? words[2] : words[1]);
    return 1;
  }
  radio_defaults(&config);
  /* For trials that shall not take minutes. */
  if (getenv("RADIO_TURN_MS") != NULL) config.turn_ms = (uint32_t)atoi(getenv("RADIO_TURN_MS"));
  config.connect = central_connect;
  config.hang_up = central_hang_up;
  config.write = central_write;
  config.up = up;
  radio_init(&radio, &config);
  central_start(&radio);
  while (!signals_ending) {
    struct pollfd ready[2] = {{.fd = controller, .events = POLLIN}, {.fd = gateway, .events = POLLIN}};
    int events = poll(ready, 2, RADIO_TICK_MS);
    central_poll(now_ms());
    if (signals_asked()) {
      report();
    }
    if (events > 0 && ready[0].revents != 0 && !controller_read(central_event, central_data)) return 1;
    if (events > 0 && ready[1].revents != 0 && !read_gateway()) return 1;
    radio_poll(&radio, now_ms());
  }
  report();
  return 0;
}
