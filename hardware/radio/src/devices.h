/* Advertisers that are remembered, and which of them is to be connected to next. */
#ifndef DEVICES_H
#define DEVICES_H

#include "radio.h"

bool devices_same(const radio_address_t *one, const radio_address_t *other);

/* An advertisement of a device that has no link. */
void devices_seen(radio_t *radio, const radio_address_t *device, radio_report_t report, const uint8_t *data,
                  size_t bytes, uint32_t now);

/* Its link begins to be made. */
void devices_taken(radio_t *radio, const radio_address_t *device);

/* It was of use; or it is left alone for a while, twice as long each time, at least for so long. */
void devices_worked(radio_t *radio, const radio_address_t *device);
void devices_failed(radio_t *radio, const radio_address_t *device, uint32_t rest_ms_min, uint32_t now);

/* The device that has waited longest, of those that were heard recently; NULL: none waits. */
const radio_address_t *devices_next(radio_t *radio, uint32_t now);

#endif
