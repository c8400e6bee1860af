/*
 * Anything at all happens to the remote radio's application, in any order: with sanitizers nothing may be touched that is not its
 * own, and after each step what it promises must hold: one attempt at a time, nobody linked twice, and nothing passed
 * on that is no message. fuzz RUNS SEED
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "radio.h"

enum { DEVICES = 12, STEPS = 400 };

static radio_t radio;
static uint32_t dice_state;
static unsigned failures;

static uint32_t dice(uint32_t below) {
  dice_state = dice_state * 1664525u + 1013904223u;
  return (dice_state >> 8) % below;
}

static void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  failures++;
}

static void on_connect(void *context, const radio_address_t *device) {
  (void)context, (void)device;
}

static void on_hang_up(void *context, const radio_address_t *device) {
  (void)context;
  /* Some ports answer at once. */
  if (dice(2) == 0) radio_unlinked(&radio, device, *(const uint32_t *)context);
}

static bool on_write(void *context, const radio_address_t *device, const uint8_t *message, size_t bytes) {
  (void)context, (void)device;
  must(bytes >= 2 && bytes <= RADIO_MESSAGE_BYTES, "written: no message");
  must(message[0] == 1 ? ((size_t)message[1] << 8 | message[2]) == bytes : message[0] == bytes, "written: its Length");
  return dice(8) != 0;
}

static void on_up(void *context, const uint8_t *encapsulated, size_t bytes) {
  (void)context;
  must(bytes > RADIO_HEAD_BYTES && bytes <= RADIO_DATAGRAM_BYTES, "up: its size");
  must(encapsulated[0] == RADIO_HEAD_BYTES && encapsulated[1] == 0xfe && encapsulated[2] == 0, "up: its head");
}

static void check(void) {
  unsigned connecting = 0;
  for (size_t i = 0; i < RADIO_LINKS; i++) {
    const radio_link_t *link = &radio.links[i];
    if (link->state == RADIO_CONNECTING) connecting++;
    must(link->framing.count <= RADIO_MESSAGE_BYTES, "a part that is too long");
    for (size_t other = 0; link->state != RADIO_FREE && other < i; other++) {
      must(radio.links[other].state == RADIO_FREE ||
               memcmp(&radio.links[other].device, &link->device, sizeof link->device) != 0,
           "one device, two links");
    }
  }
  must(connecting <= 1, "two attempts at once");
}

static void step(uint32_t now) {
  uint8_t octets[700];
  size_t count = dice(sizeof octets);
  radio_address_t device = {{(uint8_t)dice(2), 0xc0, 0, 0, 0, 0, (uint8_t)dice(DEVICES)}};
  for (size_t i = 0; i < count; i++) octets[i] = (uint8_t)dice(256);
  switch (dice(8)) {
    case 0:
    case 1:
      if (dice(4) != 0) {
        octets[0] = 17, octets[1] = 7;
        memcpy(octets + 2, radio.config.service, 16);
        count = dice(8) == 0 ? dice(18) : 18;
      }
      radio_seen(&radio, &device, dice(4) == 0 ? RADIO_SCAN_ANSWER : RADIO_CONNECTABLE, octets, count, now);
      return;
    case 2:
      for (size_t i = 0; i < RADIO_LINKS && dice(4) != 0; i++) {
        if (radio.links[i].state == RADIO_CONNECTING) device = radio.links[i].device;
      }
      radio_linked(&radio, &device, now);
      return;
    case 3:
      radio_unlinked(&radio, &device, now);
      return;
    case 4:
      for (size_t i = dice(RADIO_LINKS); i < RADIO_LINKS && dice(4) != 0; i++) {
        if (radio.links[i].state == RADIO_LINKED) device = radio.links[i].device;
      }
      /* Often a message, or one behind another. */
      if (count >= 2 && dice(2) == 0) octets[0] = (uint8_t)(2 + dice(20)), octets[1] = (uint8_t)(0x16 + dice(3));
      radio_octets(&radio, &device, octets, count, now);
      return;
    case 5:
    case 6: {
      uint8_t datagram[800] = {RADIO_HEAD_BYTES, 0xfe, 0};
      size_t bytes = dice(4) == 0 ? dice(400) : 2 + dice(40);
      memcpy(datagram + 3, device.octets, sizeof device.octets);
      for (size_t i = 0; i < bytes; i++) datagram[RADIO_HEAD_BYTES + i] = (uint8_t)dice(256);
      if (bytes < 256) datagram[RADIO_HEAD_BYTES] = (uint8_t)bytes;
      else datagram[RADIO_HEAD_BYTES] = 1, datagram[RADIO_HEAD_BYTES + 1] = (uint8_t)(bytes >> 8), datagram[RADIO_HEAD_BYTES + 2] = (uint8_t)bytes;
      if (dice(3) == 0) datagram[RADIO_HEAD_BYTES + 1] = (uint8_t)(0x17 + dice(2));
      radio_from_gateway(&radio, datagram, dice(8) == 0 ? dice(sizeof datagram) : RADIO_HEAD_BYTES + bytes, now);
      return;
    }
    default:
      radio_poll(&radio, now);
  }
}

int main(int count, char **words) {
  unsigned long runs = count > 1 ? strtoul(words[1], NULL, 10) : 1000;
  unsigned long seed = count > 2 ? strtoul(words[2], NULL, 10) : 1;
  uint32_t now = 0;
  radio_config_t config;
  radio_counts_t all;
  memset(&all, 0, sizeof all);
  radio_defaults(&config);
  config.context = &now;
  config.connect = on_connect;
  config.hang_up = on_hang_up;
  config.write = on_write;
  config.up = on_up;
  for (unsigned long run = 0; run < runs && failures == 0; run++) {
    dice_state = (uint32_t)(seed + run * 7919u);
    config.turn_ms = dice(2) == 0 ? 100 : 15000;
    now = 0xffff0000u + dice(0xffffu); /* the clock goes round in some of them */
    radio_init(&radio, &config);
    for (int i = 0; i < STEPS && failures == 0; i++) {
      now += dice(20) == 0 ? dice(70000) : dice(300);
      step(now);
      check();
    }
    all.up += radio.counts.up, all.down += radio.counts.down, all.links += radio.counts.links;
    all.turns += radio.counts.turns, all.expired += radio.counts.expired, all.discarded += radio.counts.discarded;
    if (failures > 0) fprintf(stderr, "run %lu of seed %lu\n", run, seed);
  }
  printf("up %u down %u links %u turns %u expired %u\n", all.up, all.down, all.links, all.turns, all.expired);
  return failures > 0;
}
