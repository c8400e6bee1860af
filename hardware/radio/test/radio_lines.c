/*
 * The remote radio's application for tests: what happened in, a line each, and what it asks for out.
 *
 *   seen MS KIND:ADDRESS connectable|answer HEX    linked MS A    unlinked MS A    octets MS A HEX    gateway MS HEX
 *   poll MS    deaf MS (its port has no room for writes)    counts
 *
 * An address is 14 digits: 01c0ffee000001. Out: connect A, hang up A, write A HEX, up HEX, and "." after each line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radio.h"

static radio_t radio;
static bool is_deaf;

static void print_hex(const uint8_t *octets, size_t count) {
  for (size_t i = 0; i < count; i++) printf("%02x", octets[i]);
}

static void print_about(const char *what, const radio_address_t *device) {
  printf("%s ", what);
  print_hex(device->octets, sizeof device->octets);
}

static void on_connect(void *context, const radio_address_t *device) {
  (void)context;
  print_about("connect", device);
  printf("\n");
}

static void on_hang_up(void *context, const radio_address_t *device) {
  (void)context;
  print_about("hang up", device);
  printf("\n");
}

static bool on_write(void *context, const radio_address_t *device, const uint8_t *message, size_t bytes) {
  (void)context;
  if (is_deaf) return false;
  print_about("write", device);
  printf(" ");
  print_hex(message, bytes);
  printf("\n");
  return true;
}

static void on_up(void *context, const uint8_t *encapsulated, size_t bytes) {
  (void)context;
  printf("up ");
  print_hex(encapsulated, bytes);
  printf("\n");
}

static size_t octets_of(const char *hex, uint8_t *octets, size_t room) {
  size_t count = 0;
  unsigned octet;
  while (count < room && sscanf(hex + 2 * count, "%2x", &octet) == 1) octets[count++] = (uint8_t)octet;
  return count;
}

int main(void) {
  static char line[8192], hex[8192];
  static uint8_t octets[4096];
  radio_config_t config;
  radio_defaults(&config);
  config.connect = on_connect;
  config.hang_up = on_hang_up;
  config.write = on_write;
  config.up = on_up;
  radio_init(&radio, &config);
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    char word[16] = "", address[32] = "", kind[16] = "";
    unsigned now = 0;
    radio_address_t device;
    memset(&device, 0, sizeof device);
    hex[0] = 0;
    (void)sscanf(line, "%15s %u %31s", word, &now, address);
    (void)octets_of(address, device.octets, sizeof device.octets);
    if (strcmp(word, "seen") == 0) {
      (void)sscanf(line, "%*s %*u %*s %15s %8190s", kind, hex);
      radio_seen(&radio, &device, strcmp(kind, "answer") == 0 ? RADIO_SCAN_ANSWER : RADIO_CONNECTABLE, octets,
                 octets_of(hex, octets, sizeof octets), now);
    } else if (strcmp(word, "octets") == 0) {
      (void)sscanf(line, "%*s %*u %*s %8190s", hex);
      radio_octets(&radio, &device, octets, octets_of(hex, octets, sizeof octets), now);
    } else if (strcmp(word, "gateway") == 0) {
      (void)sscanf(line, "%*s %*u %8190s", hex);
      radio_from_gateway(&radio, octets, octets_of(hex, octets, sizeof octets), now);
    } else if (strcmp(word, "linked") == 0) {
      radio_linked(&radio, &device, now);
    } else if (strcmp(word, "unlinked") == 0) {
      radio_unlinked(&radio, &device, now);
    } else if (strcmp(word, "poll") == 0) {
      radio_poll(&radio, now);
    } else if (strcmp(word, "deaf") == 0) {
      is_deaf = now != 0;
    } else if (strcmp(word, "counts") == 0) {
      const radio_counts_t *n = &radio.counts;
      printf("up %u down %u held %u expired %u no_room %u too_long %u not_ours %u nested %u links %u failed %u turns %u discarded %u\n",
             n->up, n->down, n->held, n->expired, n->no_room, n->too_long, n->not_ours, n->nested, n->links, n->failed,
             n->turns, n->discarded);
    }
    printf(".\n");
  }
  return 0;
}
