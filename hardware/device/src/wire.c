#include "wire.h"

#include <string.h>

/* What follows the type: F flags, C one octet, T topic id, M message id, D duration, R the rest; after a question mark all
 * of it or nothing. */
static const char *layout_of(uint8_t type) {
  switch (type) {
    case ADVERTISE: return "CD";
    case SEARCHGW: return "C";
    case GWINFO: return "CR";
    case CONNECT: return "FCDR";
    case CONNACK: return "C";
    case WILLTOPICREQ: return "";
    case WILLTOPIC: return "?FR";
    case WILLMSGREQ: return "";
    case WILLMSG: return "R";
    case REGISTER: return "TMR";
    case REGACK: return "TMC";
    case PUBLISH: return "FTMR";
    case PUBACK: return "TMC";
    case PUBCOMP: return "M";
    case PUBREC: return "M";
    case PUBREL: return "M";
    case SUBSCRIBE: return "FMR";
    case SUBACK: return "FTMC";
    case UNSUBSCRIBE: return "FMR";
    case UNSUBACK: return "M";
    case PINGREQ: return "R";
    case PINGRESP: return "";
    case DISCONNECT: return "?D";
    case WILLTOPICUPD: return "?FR";
    case WILLTOPICRESP: return "C";
    case WILLMSGUPD: return "R";
    case WILLMSGRESP: return "C";
    default: return NULL;
  }
}

static size_t width_of(char field) { return field == 'F' || field == 'C' ? 1 : field == 'R' ? 0 : 2; }

static uint16_t *word_of(message_t *message, char field) {
  return field == 'T' ? &message->topic_id : field == 'M' ? &message->msg_id : &message->duration;
}

size_t sn_wire_encode(const message_t *message, uint8_t *to, size_t room) {
  const char *layout = layout_of(message->type);
  message_t copy = *message;
  size_t size = 2;
  size_t at = 0;
  if (layout == NULL) return 0;
  if (*layout == '?') {
    layout = message->is_short ? "" : layout + 1;
  }
  for (const char *field = layout; *field != '\0'; field++) {
    size += *field == 'R' ? message->rest_bytes : width_of(*field);
  }
  if (size > 255) size += 2;
  if (size > room || size > UINT16_MAX) return 0;
  if (size > 255) {
    to[at++] = 1;
    to[at++] = (uint8_t)(size >> 8);
  }
  to[at++] = (uint8_t)size;
  to[at++] = message->type;
  for (const char *field = layout; *field != '\0'; field++) {
    if (*field == 'R') {
      if (message->rest_bytes > 0) memcpy(to + at, message->rest, message->rest_bytes);
      at += message->rest_bytes;
    } else if (width_of(*field) == 1) {
      to[at++] = *field == 'F' ? message->flags : message->code;
    } else {
      uint16_t word = *word_of(&copy, *field);
      to[at++] = (uint8_t)(word >> 8);
      to[at++] = (uint8_t)word;
    }
  }
  return size;
}

size_t sn_wire_length_bytes(const uint8_t *bytes) { return bytes[0] == 1 ? 3 : 1; }

/* Some types are narrower than their layout. */
static bool is_sound(const message_t *message) {
  switch (message->type) {
    case SUBSCRIBE:
    case UNSUBSCRIBE: return (message->flags & FLAG_TOPIC) == 0 || message->rest_bytes == 2;
    case WILLTOPIC:
    case WILLTOPICUPD: return message->is_short || message->rest_bytes > 0;
    default: return true;
  }
}

bool sn_wire_decode(const uint8_t *bytes, size_t count, message_t *message) {
  size_t at;
  size_t size;
  const char *layout;
  memset(message, 0, sizeof *message);
  if (count < 2) return false;
  at = sn_wire_length_bytes(bytes);
  if (count <= at) return false;
  size = at == 1 ? bytes[0] : (size_t)bytes[1] << 8 | bytes[2];
  if (size != count) return false;
  message->type = bytes[at++];
  layout = layout_of(message->type);
  if (layout == NULL) return false;
  if (*layout == '?') {
    message->is_short = at == count;
    layout = message->is_short ? "" : layout + 1;
  }
  for (; *layout != '\0'; layout++) {
    size_t width = width_of(*layout);
    if (count - at < width) return false;
    if (*layout == 'R') {
      message->rest = bytes + at;
      message->rest_bytes = count - at;
      at = count;
    } else if (width == 1) {
      *(*layout == 'F' ? &message->flags : &message->code) = bytes[at++];
    } else {
      *word_of(message, *layout) = (uint16_t)((uint16_t)bytes[at] << 8 | bytes[at + 1]);
      at += 2;
    }
  }
  return at == count && is_sound(message);
}
