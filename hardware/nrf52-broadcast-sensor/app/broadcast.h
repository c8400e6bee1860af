/* A reading as advertising data: PUBLISH at QoS -1 without a connection, as docs/guide/ble-profile.md, section 6, lays it out.
 * Arithmetic only: no radio, no clock, no heap. */
#ifndef BROADCAST_H
#define BROADCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  BROADCAST_ADVERTISEMENT_BYTES = 31, /* a legacy advertisement */
  BROADCAST_DATA_BYTES_MAX = 22,      /* of a reading, not authenticated */
  BROADCAST_DATA_BYTES_MAX_AUTHENTICATED = 16,
  BROADCAST_COMPANY_TEST = 0xFFFF, /* kept by the Bluetooth SIG for tests and closed networks */
};

typedef struct {
  uint16_t company_id; /* as `broadcast.companyId` in the gateway's configuration */
  bool short_topic;    /* topic: two characters, the first in the high octet; else a predefined topic id */
  uint16_t topic;
  bool retain;
  /* NULL: not authenticated. Else the key that the gateway has for this address, 16 to 64 octets. */
  const uint8_t *key;
  size_t key_bytes;
  uint8_t address[6]; /* as it is written, c0:98:... first; only used with a key */
} broadcast_sender_t;

/* Writes one advertisement, without flags: it is not connectable. `counter`: one more for each new reading; 16 bits of
 * it are used without a key, 32 with one. Returns its size in octets; 0 when the data does not fit. */
size_t broadcast_encode(const broadcast_sender_t *sender, uint32_t counter, const uint8_t *data, size_t data_bytes,
                        uint8_t advertisement[BROADCAST_ADVERTISEMENT_BYTES]);

/* The counter of an authenticated sender may never come twice, not even after a loss of power, and flash must not be
 * written for each reading: so a block of numbers is reserved, and the end of it is what is kept. */
typedef struct {
  uint32_t next;
  uint32_t reserved; /* numbers below this one may be used */
} broadcast_counter_t;

enum { BROADCAST_RESERVE = 1000 };

/* `kept`: what was stored last, 0 on a new device. */
void broadcast_counter_start(broadcast_counter_t *counter, uint32_t kept);

/* Must something be stored before the next number is taken? Then `*store` is what: store it, and tell `..._stored`. */
bool broadcast_counter_must_store(const broadcast_counter_t *counter, uint32_t *store);
void broadcast_counter_stored(broadcast_counter_t *counter, uint32_t stored);

/* The next number; 0 when none may be used (never stored, or all 2^32 are used up: the device needs a new key). */
uint32_t broadcast_counter_take(broadcast_counter_t *counter);

#endif
