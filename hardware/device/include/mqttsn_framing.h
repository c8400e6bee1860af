/*
 * MQTT-SN messages in a stream of octets (Bluetooth LE, a serial line): one behind the other, each beginning with its
 * Length, nothing in between. [MQTT-SN 1.2 §5.2.1; docs/guide/ble-profile.md, section 3]
 *
 * A part of a message that does not go on for `resync_ms` is thrown away, and so is the rest of what came at once when it
 * cannot begin a message.
 */
#ifndef MQTTSN_FRAMING_H
#define MQTTSN_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *buffer; /* the caller's, as long as the longest message that is taken */
  size_t room;
  size_t count; /* octets of a message that is not complete */
  uint32_t resync_ms;
  uint32_t last_at;
  uint32_t discarded; /* octets that were no message, for whoever wants to know */
} mqttsn_framing_t;

void mqttsn_framing_init(mqttsn_framing_t *framing, uint8_t *buffer, size_t room, uint32_t resync_ms);

/* A new link begins at the head of a message. */
void mqttsn_framing_reset(mqttsn_framing_t *framing);

/* Octets came. `on_message` is called for each message that is complete with them; the bytes are valid during the call. */
void mqttsn_framing_take(mqttsn_framing_t *framing, const uint8_t *bytes, size_t count, uint32_t now,
                         void (*on_message)(void *context, const uint8_t *message, size_t message_bytes),
                         void *context);

#endif
