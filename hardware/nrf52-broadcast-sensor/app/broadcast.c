#include "broadcast.h"

#include <string.h>

#include "sha256.h"

enum { AD_MANUFACTURER = 0xFF, MARKER = 0xA0, AUTHENTICATED = 0x08, RETAIN = 0x04, PREDEFINED = 1, SHORT_NAME = 2 };
enum { TAG_BYTES = 4, AD_HEAD_BYTES = 4 /* length, type, company id */ };

size_t broadcast_encode(const broadcast_sender_t *sender, uint32_t counter, const uint8_t *data, size_t data_bytes,
                        uint8_t advertisement[BROADCAST_ADVERTISEMENT_BYTES]) {
  bool authenticated = sender->key != NULL;
  size_t data_bytes_max = authenticated ? BROADCAST_DATA_BYTES_MAX_AUTHENTICATED : BROADCAST_DATA_BYTES_MAX;
  size_t at = AD_HEAD_BYTES;
  if (data_bytes > data_bytes_max) return 0;
  advertisement[1] = AD_MANUFACTURER;
  advertisement[2] = (uint8_t)(sender->company_id & 0xFFU); /* Bluetooth writes the low octet first */
  advertisement[3] = (uint8_t)(sender->company_id >> 8);
  advertisement[at++] = (uint8_t)(MARKER | (authenticated ? AUTHENTICATED : 0) | (sender->retain ? RETAIN : 0) |
                                  (sender->short_topic ? SHORT_NAME : PREDEFINED));
  advertisement[at++] = (uint8_t)(sender->topic >> 8); /* MQTT-SN writes the high octet first */
  advertisement[at++] = (uint8_t)(sender->topic & 0xFFU);
  if (authenticated) {
    advertisement[at++] = (uint8_t)(counter >> 24);
    advertisement[at++] = (uint8_t)(counter >> 16);
  }
  advertisement[at++] = (uint8_t)(counter >> 8);
  advertisement[at++] = (uint8_t)counter;
  if (data_bytes > 0) memcpy(advertisement + at, data, data_bytes);
  at += data_bytes;
  if (authenticated) {
    uint8_t tag[SHA256_BYTES];
    hmac_sha256(sender->key, sender->key_bytes, sender->address, sizeof sender->address,
                advertisement + AD_HEAD_BYTES, at - AD_HEAD_BYTES, tag);
    memcpy(advertisement + at, tag, TAG_BYTES);
    at += TAG_BYTES;
  }
  advertisement[0] = (uint8_t)(at - 1);
  return at;
}

void broadcast_counter_start(broadcast_counter_t *counter, uint32_t kept) {
  counter->next = kept == 0 ? 1 : kept;
  counter->reserved = counter->next;
}

bool broadcast_counter_must_store(const broadcast_counter_t *counter, uint32_t *store) {
  if (counter->next < counter->reserved || counter->next > UINT32_MAX - BROADCAST_RESERVE) return false;
  *store = counter->next + BROADCAST_RESERVE;
  return true;
}

void broadcast_counter_stored(broadcast_counter_t *counter, uint32_t stored) { counter->reserved = stored; }

uint32_t broadcast_counter_take(broadcast_counter_t *counter) {
  return counter->next < counter->reserved ? counter->next++ : 0;
}
