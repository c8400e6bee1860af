/* The gateway over DTLS with a key, on a UDP socket of Linux or lwIP; for hardware/esp32-dtls-sensor and host/dtls.c. One link
 * in a program. */
#ifndef SECURE_LINK_H
#define SECURE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqttsn_dtls.h"

typedef struct {
  const char *identity;
  const char *key;     /* in hexadecimal: 16 to 64 octets */
  const char *gateway; /* an IPv4 address */
  uint16_t port;
  uint32_t (*now)(void); /* milliseconds, as in mqttsn.h */
  /* See mqttsn_dtls_config_t. */
  int (*random)(void *context, unsigned char *to, size_t count);
  void (*on_message)(const uint8_t *message, size_t bytes);
  void (*on_change)(mqttsn_dtls_result_t result);
} secure_link_config_t;

/* False: what is configured is no key or address, or there is no memory or socket. */
bool secure_link_open(const secure_link_config_t *config);

void secure_link_send(const uint8_t *message, size_t bytes);

/* One datagram, or the time is over; and what is due then. */
void secure_link_wait(uint32_t ms);

/* This device has another address. */
void secure_link_moved(void);

#endif
