/* A Bluetooth controller behind a Unix socket (H4, as of BlueZ's btvirt): packets out, events and data in. */
#ifndef CONTROLLER_H
#define CONTROLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTROLLER_DATA_BYTES = 512, CONTROLLER_WAITING = 64 };

/* Opens it and gives its file descriptor; -1: it is not there. */
int controller_open(const char *path);

void controller_command(uint16_t opcode, const uint8_t *parameters, uint8_t bytes);

/* One L2CAP packet of a link. It waits for room in the controller. False: too many wait. */
bool controller_data(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes);

/* Reads what is there and hands it over. False: the controller is gone. */
bool controller_read(void (*on_event)(uint8_t code, const uint8_t *data, size_t bytes),
                     void (*on_data)(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes));

/* The controller has room for so many data packets of so many octets. */
void controller_room(uint16_t bytes, uint8_t packets);

/* It has sent so many packets of this link; or the link is gone, with all that waited for it. */
void controller_sent(uint16_t handle, uint16_t packets);
void controller_link_gone(uint16_t handle);

uint16_t get16(const uint8_t *at);
void put16(uint8_t *at, unsigned value);

#endif
