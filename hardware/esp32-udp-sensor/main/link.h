/* How board.c reaches the gateway: in clear by udp.c, or with a key by hardware/esp32-dtls-sensor/main/dtls.c. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void link_open(void);

/* Where the gateway is, is not in the settings. */
bool link_searches(void);

void link_send(const uint8_t *message, size_t bytes, bool to_everybody);

/* The sender of the message that is being received is the gateway from now on. */
void link_gateway_is_sender(void);

/* One datagram, or the time is over. A message in it is handed to `on_message`. */
void link_wait(uint32_t ms, void (*on_message)(const uint8_t *message, size_t bytes));

/* This device has another address. */
void link_moved(void);

#endif
