#include "mqttsn_framing.h"

#include <string.h>

void mqttsn_framing_init(mqttsn_framing_t *framing, uint8_t *buffer, size_t room, uint32_t resync_ms) {
  memset(framing, 0, sizeof *framing);
  framing->buffer = buffer;
  framing->room = room;
  framing->resync_ms = resync_ms;
}

void mqttsn_framing_reset(mqttsn_framing_t *framing) {
  framing->discarded += (uint32_t)framing->count;
  framing->count = 0;
}

/* Size of the message that begins so; 0: more octets are needed, 1: none begins so. */
static size_t size_of(const uint8_t *bytes, size_t count) {
  size_t size;
  if (count == 0) return 0;
  if (bytes[0] == 0) return 1;
  if (bytes[0] != 1) return bytes[0];
  if (count < 3) return 0;
  size = (size_t)bytes[1] << 8 | bytes[2];
  return size >= 4 ? size : 1;
}

void mqttsn_framing_take(mqttsn_framing_t *framing, const uint8_t *bytes, size_t count, uint32_t now,
                         void (*on_message)(void *context, const uint8_t *message, size_t message_bytes),
                         void *context) {
  if (framing->count > 0 && now - framing->last_at >= framing->resync_ms) mqttsn_framing_reset(framing);
  framing->last_at = now;
  while (count > 0) {
    size_t size;
    size_t wanted;
    /* The head tells the size; then the rest of the message at once. */
    size = size_of(framing->buffer, framing->count);
    if (size == 0) {
      framing->buffer[framing->count++] = *bytes++;
      count--;
      size = size_of(framing->buffer, framing->count);
      if (size == 0 && framing->count < framing->room) continue;
      if (size < 2 || size > framing->room) {
        /* Not the head of a message, or of one that is too long: what came with it is no better. */
        framing->discarded += (uint32_t)(framing->count + count);
        framing->count = 0;
        return;
      }
    }
    wanted = size - framing->count;
    if (wanted > count) wanted = count;
    memcpy(framing->buffer + framing->count, bytes, wanted);
    framing->count += wanted;
    bytes += wanted;
    count -= wanted;
    if (framing->count < size) return;
    framing->count = 0;
    on_message(context, framing->buffer, size);
  }
}
