/* The part of a Bluetooth host that a remote radio needs: scans, connects, finds the service, subscribes, writes. On a board the
 * vendor's stack does this (NimBLE, Zephyr). */
#ifndef CENTRAL_H
#define CENTRAL_H

#include "radio.h"

/* Resets the controller and begins to scan. `radio` is told what happens. */
void central_start(radio_t *radio);

/* The controller said something. */
void central_event(uint8_t code, const uint8_t *data, size_t bytes);
void central_data(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes);

/* At least every RADIO_TICK_MS. */
void central_poll(uint32_t now);

/* What `radio` asks for; see radio_config_t. */
void central_connect(void *context, const radio_address_t *device);
void central_hang_up(void *context, const radio_address_t *device);
bool central_write(void *context, const radio_address_t *device, const uint8_t *message, size_t bytes);

#endif
