#include "held.h"

#include <string.h>

#include "devices.h"

/* The places in use are the first ones, in order of age. */
static void remove_at(radio_t *radio, size_t at) {
  radio_held_t taken = radio->held[at];
  memmove(&radio->held[at], &radio->held[at + 1], (RADIO_HELD - 1 - at) * sizeof radio->held[0]);
  taken.used = false;
  radio->held[RADIO_HELD - 1] = taken; /* still readable there, and free */
}

void held_keep(radio_t *radio, const radio_address_t *device, const uint8_t *message, size_t bytes, uint32_t now) {
  size_t at = 0;
  if (radio->held[RADIO_HELD - 1].used) {
    remove_at(radio, 0);
    radio->counts.expired++;
  }
  while (radio->held[at].used) at++;
  radio->held[at].used = true;
  radio->held[at].device = *device;
  radio->held[at].since = now;
  radio->held[at].bytes = bytes;
  memcpy(radio->held[at].message, message, bytes);
}

const radio_held_t *held_take(radio_t *radio, const radio_address_t *device) {
  for (size_t at = 0; at < RADIO_HELD && radio->held[at].used; at++) {
    if (!devices_same(&radio->held[at].device, device)) continue;
    remove_at(radio, at);
    return &radio->held[RADIO_HELD - 1];
  }
  return NULL;
}

void held_expire(radio_t *radio, uint32_t now) {
  while (radio->held[0].used && now - radio->held[0].since >= radio->config.hold_ms) {
    remove_at(radio, 0);
    radio->counts.expired++;
  }
}
