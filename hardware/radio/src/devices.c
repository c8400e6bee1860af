#include "devices.h"

#include <string.h>

enum {
  HEARD_MS = 8000,     /* who is not heard for so long does not wait any more: a scan has pauses */
  REST_MS = 1000,      /* after the first failure */
  REST_MS_MAX = 300000,
  FAILURES_MAX = 10,
  AD_SOME_UUIDS = 0x06, /* lists of 128-bit UUIDs: some of them, all of them */
  AD_ALL_UUIDS = 0x07,
  UUID_BYTES = 16,
};

bool devices_same(const radio_address_t *one, const radio_address_t *other) {
  return memcmp(one->octets, other->octets, sizeof one->octets) == 0;
}

static radio_known_t *find(radio_t *radio, const radio_address_t *device) {
  for (size_t i = 0; i < RADIO_KNOWN; i++) {
    if (radio->known[i].used && devices_same(&radio->known[i].device, device)) return &radio->known[i];
  }
  return NULL;
}

/* A free place, or that of whoever was not heard for longest; of those without the service first. */
static radio_known_t *place(radio_t *radio, uint32_t now) {
  radio_known_t *worst = &radio->known[0];
  for (size_t i = 0; i < RADIO_KNOWN; i++) {
    radio_known_t *each = &radio->known[i];
    if (!each->used) return each;
    if (each->has_service != worst->has_service) {
      if (!each->has_service) worst = each;
    } else if (now - each->seen_at > now - worst->seen_at) {
      worst = each;
    }
  }
  return worst;
}

/* Elements of length, type and content. What is cut off ends the search. [Bluetooth Core, 3.C.11] */
static bool names_service(const uint8_t service[UUID_BYTES], const uint8_t *data, size_t bytes) {
  for (size_t at = 0; at + 1 < bytes;) {
    size_t length = data[at];
    if (length == 0 || at + 1 + length > bytes) return false;
    if (data[at + 1] == AD_SOME_UUIDS || data[at + 1] == AD_ALL_UUIDS) {
      for (size_t each = 1; each + UUID_BYTES <= length; each += UUID_BYTES) {
        if (memcmp(data + at + 1 + each, service, UUID_BYTES) == 0) return true;
      }
    }
    at += 1 + length;
  }
  return false;
}

void devices_seen(radio_t *radio, const radio_address_t *device, radio_report_t report, const uint8_t *data,
                  size_t bytes, uint32_t now) {
  radio_known_t *known = find(radio, device);
  if (known == NULL) {
    known = place(radio, now);
    memset(known, 0, sizeof *known);
    known->used = true;
    known->device = *device;
  }
  if (report == RADIO_CONNECTABLE) known->connectable = true;
  if (names_service(radio->config.service, data, bytes)) known->has_service = true;
  if (!known->waits || now - known->seen_at >= HEARD_MS) known->waits_since = now;
  known->waits = true;
  known->seen_at = now;
}

void devices_taken(radio_t *radio, const radio_address_t *device) {
  radio_known_t *known = find(radio, device);
  if (known != NULL) known->waits = false;
}

void devices_worked(radio_t *radio, const radio_address_t *device) {
  radio_known_t *known = find(radio, device);
  if (known == NULL) return;
  known->failures = 0;
  known->rest_ms = 0;
}

void devices_failed(radio_t *radio, const radio_address_t *device, uint32_t rest_ms_min, uint32_t now) {
  radio_known_t *known = find(radio, device);
  uint32_t rest;
  if (known == NULL) return;
  rest = (uint32_t)REST_MS << known->failures;
  if (known->failures < FAILURES_MAX) known->failures++;
  if (rest > REST_MS_MAX) rest = REST_MS_MAX;
  known->rest_ms = rest > rest_ms_min ? rest : rest_ms_min;
  known->rest_since = now;
}

const radio_address_t *devices_next(radio_t *radio, uint32_t now) {
  const radio_known_t *next = NULL;
  for (size_t i = 0; i < RADIO_KNOWN; i++) {
    radio_known_t *each = &radio->known[i];
    if (!each->used || !each->waits || !each->connectable || !each->has_service) continue;
    if (now - each->seen_at >= HEARD_MS) continue;
    if (each->rest_ms > 0 && now - each->rest_since < each->rest_ms) continue;
    each->rest_ms = 0;
    if (next == NULL || now - each->waits_since > now - next->waits_since) next = each;
  }
  return next == NULL ? NULL : &next->device;
}
