/* Messages for devices that have no link now: few, and for a short time. The gateway repeats what matters. */
#ifndef HELD_H
#define HELD_H

#include "radio.h"

/* Full: the oldest one of all is pushed out, and counted. */
void held_keep(radio_t *radio, const radio_address_t *device, const uint8_t *message, size_t bytes, uint32_t now);

/* The oldest one for this device, which may be used until the next call here; NULL: there is none. */
const radio_held_t *held_take(radio_t *radio, const radio_address_t *device);

void held_expire(radio_t *radio, uint32_t now);

#endif
